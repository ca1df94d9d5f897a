// Executes programs as a container runtime does and says how long each took, from before its process is made until it
// has been waited for. Small, so that making the process costs what it costs a runtime at best, and not what it costs
// a JavaScript engine. One line of fields between tabs a command:
//
//   PROGRAM STDIN-FILE STDOUT-FILE NAME=VALUE...      answered by `ok NANOSECONDS STATUS`, or `error WORDS`
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_VARIABLES = 64 };

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void launch(char* program, const char* input, const char* output, char** environment) {
  char* arguments[] = {program, NULL};
  posix_spawn_file_actions_t actions;
  pid_t pid;
  int status = 0;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int64_t start = now();
  const int number = posix_spawn(&pid, program, &actions, NULL, arguments, environment);
  if (number == 0) {
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
  }
  const int64_t end = now();
  posix_spawn_file_actions_destroy(&actions);
  if (number != 0) printf("error %s: %s\n", program, strerror(number));
  else printf("ok %lld %d\n", (long long)(end - start), WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int main(void) {
  char* line = NULL;
  size_t room = 0;
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (getline(&line, &room, stdin) > 0) {
    char *environment[MOST_VARIABLES + 1], *rest = NULL;
    int count = 0;
    char* program = strtok_r(line, "\t\n", &rest);
    const char* input = strtok_r(NULL, "\t\n", &rest);
    const char* output = strtok_r(NULL, "\t\n", &rest);
    if (!output) return 3;
    for (char* one = strtok_r(NULL, "\t\n", &rest); one && count < MOST_VARIABLES; one = strtok_r(NULL, "\t\n", &rest))
      environment[count++] = one;
    environment[count] = NULL;
    launch(program, input, output, environment);
  }
  return 0;
}
