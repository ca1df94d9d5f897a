// What a process costs that is made and waited for, whatever it does.
int main(void) { return 0; }
