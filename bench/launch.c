// Executes programs as a container runtime does and says how long each took, from before its process is made until it
// has been waited for. Small, so that making the process costs what it costs a runtime at best, and not what it costs
// a JavaScript engine. One line of fields between tabs a command:
//
//   PROGRAM STDIN-FILE STDOUT-FILE NAME=VALUE...      answered by `ok NANOSECONDS STATUS`, or `error WORDS`
//   + and the same                                    not waited for, and not answered: noted for
//   !                                                 runs all that were noted at once; answered by `ok NANOSECONDS FAILED`
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_VARIABLES = 64, MOST_NOTED = 1024 };

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void take(const char* path, int flags, int as) {
  const int fd = open(path, flags | O_CLOEXEC, 0600);
  if (fd < 0 || dup2(fd, as) < 0) _exit(127);
}

// Not posix_spawn, which restores 64 signals one by one in each process: runtimes are Go programs, and do not.
static int start(pid_t* pid, char* program, const char* input, const char* output, char** environment) {
  char* arguments[] = {program, NULL};
  // Of the memory that both have until the program is there.
  volatile int number = 0;
  *pid = vfork();
  if (*pid < 0) return errno;
  if (*pid == 0) {
    take(input, O_RDONLY, 0);
    take(output, O_WRONLY | O_CREAT | O_TRUNC, 1);
    execve(program, arguments, environment);
    number = errno;
    _exit(127);
  }
  if (number != 0) waitpid(*pid, NULL, 0);
  return number;
}

// Who has asked still has to do what led to the question, which is not to be counted where it shares the processor.
static void let_others_finish(void) {
  const struct timespec pause = {0, 1000000};
  nanosleep(&pause, NULL);
}

static void launch(char* program, const char* input, const char* output, char** environment) {
  pid_t pid;
  int status = 0;
  let_others_finish();
  const int64_t start_time = now();
  const int number = start(&pid, program, input, output, environment);
  if (number == 0) {
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
  }
  const int64_t end = now();
  if (number != 0) printf("error %s: %s\n", program, strerror(number));
  else printf("ok %lld %d\n", (long long)(end - start_time), WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/** A line taken apart. */
struct command {
  char *line, *program, *input, *output;
  char* environment[MOST_VARIABLES + 1];
};

/** Takes `line` apart, in place. */
static int parse(char* line, struct command* command) {
  char* rest = NULL;
  int count = 0;
  command->line = line;
  command->program = strtok_r(line, "\t\n", &rest);
  command->input = strtok_r(NULL, "\t\n", &rest);
  command->output = strtok_r(NULL, "\t\n", &rest);
  for (char* one = strtok_r(NULL, "\t\n", &rest); one && count < MOST_VARIABLES; one = strtok_r(NULL, "\t\n", &rest))
    command->environment[count++] = one;
  command->environment[count] = NULL;
  return command->output != NULL;
}

static struct command noted[MOST_NOTED];
static int notes = 0;

static void launch_noted(void) {
  let_others_finish();
  const int64_t start_time = now();
  int failed = 0, running = 0;
  for (int i = 0; i < notes; i++) {
    pid_t pid;
    if (start(&pid, noted[i].program, noted[i].input, noted[i].output, noted[i].environment) == 0) running++;
    else failed++;
  }
  while (running > 0) {
    int status;
    if (wait(&status) < 0) {
      if (errno == EINTR) continue;
      break;
    }
    running--;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) failed++;
  }
  const int64_t end = now();
  while (notes > 0) free(noted[--notes].line);
  printf("ok %lld %d\n", (long long)(end - start_time), failed);
}

int main(void) {
  char* line = NULL;
  size_t room = 0;
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (getline(&line, &room, stdin) > 0) {
    struct command command;
    if (line[0] == '!') {
      launch_noted();
    } else if (line[0] == '+') {
      if (notes == MOST_NOTED || !parse(strdup(line + 1), &noted[notes++])) return 3;
    } else {
      if (!parse(line, &command)) return 3;
      launch(command.program, command.input, command.output, command.environment);
    }
  }
  return 0;
}
