// What a C library would do before main() and for the compiler: the entry point, memory functions, the stack protector's
// canary. Built without the stack protector, which is not there yet. There is no address in the program's data, so
// that it runs wherever the kernel has put it: on x86-64 nothing is relocated, which CMakeLists.txt sees to.
#ifndef LINKWRIGHT_HOSTED

#include <elf.h>
#include <signal.h>

#include "system.h"

namespace linkwright {
int Main(int argc, char** argv, char** envp);
}

extern "C" {

// Called by what the compiler writes. `rep movsb` and a plain loop are fast enough for kilobytes.
void* memcpy(void* __restrict to, const void* __restrict from, size_t size) {
  void* const result = to;
#ifdef __x86_64__
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
#else
  auto* target = static_cast<volatile char*>(to);
  auto* source = static_cast<const char*>(from);
  while (size-- > 0) *target++ = *source++;
#endif
  return result;
}

void* memset(void* to, int value, size_t size) {
  auto* target = static_cast<volatile char*>(to);
  while (size-- > 0) *target++ = static_cast<char>(value);
  return to;
}

int memcmp(const void* a, const void* b, size_t size) {
  auto* left = static_cast<const unsigned char*>(a);
  auto* right = static_cast<const unsigned char*>(b);
  for (; size > 0; size--, left++, right++)
    if (*left != *right) return *left - *right;
  return 0;
}

size_t strlen(const char* text) {
  const char* end = text;
  // Volatile, or the compiler finds that this is strlen().
  while (*const_cast<const volatile char*>(end) != 0) end++;
  return static_cast<size_t>(end - text);
}

uintptr_t __stack_chk_guard;

[[noreturn]] void __stack_chk_fail() {
  linkwright::Call(__NR_kill, linkwright::Call(__NR_getpid), SIGABRT);
  linkwright::Exit(128 + SIGABRT);
}

#ifdef __aarch64__
// Hidden, so that finding them takes no relocation.
__attribute__((visibility("hidden"))) extern const Elf64_Dyn _DYNAMIC[];
__attribute__((visibility("hidden"))) extern const Elf64_Ehdr __ehdr_start;

// The compiler looks for the canary's address in a table, which has to be told where the kernel has put the program.
static void Relocate() {
  const auto base = reinterpret_cast<uintptr_t>(&__ehdr_start);
  const Elf64_Rela* table = nullptr;
  size_t size = 0;
  for (const Elf64_Dyn* entry = _DYNAMIC; entry->d_tag != DT_NULL; entry++) {
    if (entry->d_tag == DT_RELA) table = reinterpret_cast<const Elf64_Rela*>(base + entry->d_un.d_ptr);
    if (entry->d_tag == DT_RELASZ) size = entry->d_un.d_val;
  }
  for (size_t i = 0; i < size / sizeof *table; i++)
    *reinterpret_cast<uintptr_t*>(base + table[i].r_offset) = base + static_cast<uintptr_t>(table[i].r_addend);
}
#endif

[[noreturn]] __attribute__((used)) void LinkwrightStart(const uintptr_t* stack) {
#ifdef __aarch64__
  Relocate();
#endif
  const int argc = static_cast<int>(*stack);
  char** argv = reinterpret_cast<char**>(const_cast<uintptr_t*>(stack + 1));
  char** envp = argv + argc + 1;
  char** end = envp;
  while (*end != nullptr) end++;
  for (auto* entry = reinterpret_cast<const Elf64_auxv_t*>(end + 1); entry->a_type != AT_NULL; entry++)
    // 16 random bytes. The lowest one of the canary is zero, where a string ends.
    if (entry->a_type == AT_RANDOM)
      __stack_chk_guard = *reinterpret_cast<const uintptr_t*>(entry->a_un.a_val) & ~static_cast<uintptr_t>(0xff);
  linkwright::Exit(linkwright::Main(argc, argv, envp));
}

}  // extern "C"

#if defined(__x86_64__)
__asm__(
    ".globl _start\n.type _start, @function\n_start:\n"
    "xor %ebp, %ebp\nmov %rsp, %rdi\nand $-16, %rsp\ncall LinkwrightStart\nhlt\n");
#elif defined(__aarch64__)
__asm__(
    ".globl _start\n.type _start, %function\n_start:\n"
    "mov x29, #0\nmov x30, #0\nmov x0, sp\nbl LinkwrightStart\nbrk #0\n");
#endif

#endif
