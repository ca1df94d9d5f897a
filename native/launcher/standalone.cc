#include "standalone.h"

#include <linux/memfd.h>
#include <signal.h>
#include <sys/wait.h>

#include <cstring>

#include "system.h"

namespace linkwright {

namespace {

constexpr char kProgram[] = "linkwright-cni";
constexpr int64_t kUndoTime = 60 * kSecond;
// As the kernel has it; longer ones can't be executed.
constexpr size_t kLongestPath = 4096;
// A status that only this file gives.
constexpr int kNotExecuted = 127;

using Path = Text<kLongestPath>;

struct Places {
  // errno of reading where this program lies.
  long failure = 0;
  Path beside;
  // Where the links in bin/ were copied as files, and this is one of them.
  Path above;
};

// Nothing that this process was given has a part in it: the kernel knows which file it executes.
void Find(Places* places) {
  char own[kLongestPath];
  const long size = Call(__NR_readlinkat, AT_FDCWD, "/proc/self/exe", own, sizeof own);
  size_t folder = size < 0 ? 0 : static_cast<size_t>(size);
  // A file that was replaced has " (deleted)" after its name; its folder is the same.
  while (folder > 0 && own[folder - 1] != '/') folder--;
  if (folder == 0) {
    places->failure = size < 0 ? -size : ENOENT;
    return;
  }
  const std::string_view prefix{own, folder};
  places->beside.Add(prefix).Add(kProgram);
  places->above.Add(prefix).Add("../").Add(kProgram);
}

bool WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const long written = Retry(__NR_write, fd, text.data(), text.size());
    if (written <= 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

// A pipe that holds all of the text, where no file in memory may be made. 0 or -errno.
long PipeInput(std::string_view text) {
  int ends[2];
  const long made = Call(__NR_pipe2, ends, O_CLOEXEC);
  if (made < 0) return made;
  const long size = Call(__NR_fcntl, ends[1], F_SETPIPE_SZ, text.size());
  const bool fits = text.size() <= 65536 || size >= static_cast<long>(text.size());
  long result = fits ? 0 : size < 0 ? size : -ENOSPC;
  if (fits && !WriteAll(ends[1], text)) result = -EIO;
  if (result == 0) result = Call(__NR_dup3, ends[0], 0, 0);
  return result < 0 ? result : 0;
}

// Puts what was read back on descriptor 0. 0 or -errno.
long RestoreInput(const Input& input) {
  if (!input.read) return 0;
  const long file = Call(__NR_memfd_create, "stdin", MFD_CLOEXEC);
  if (file < 0) return PipeInput(input.text);
  const int fd = static_cast<int>(file);
  if (!WriteAll(fd, input.text)) return -EIO;
  const long sought = Call(__NR_lseek, fd, 0, 0);
  if (sought < 0) return sought;
  const long duplicated = Call(__NR_dup3, fd, 0, 0);
  return duplicated < 0 ? duplicated : 0;
}

// The standalone program copies and makes some megabytes of which it knows at once that it needs them: with huge pages
// for malloc(3), where the host has them on request, a call takes a twentieth less. glibc's manual, Memory Allocation
// Tunables. What lives on does without: its memory would be counted in pieces of 2 MiB.
const char kTunables[] = "GLIBC_TUNABLES=glibc.malloc.hugetlb=1";

// What is passed on, with the tunables behind it. A variable of that name that the caller had is not among it.
char** WithTunables(const Environment& environment, char* tunables) {
  char** const variables = environment.variables();
  size_t count = 0;
  while (variables[count] != nullptr) count++;
  char** const more = reinterpret_cast<char**>(Reserve((count + 2) * sizeof(char*)));
  if (more == nullptr || environment.Get("CNI_COMMAND").empty()) return variables;
  std::memcpy(more, variables, count * sizeof(char*));
  more[count] = tunables;
  return more;
}

// Returns -errno.
long Replace(Places& places, char** arguments, const Environment& environment) {
  char name[sizeof kProgram] = {};
  std::memcpy(name, kProgram, sizeof kProgram);
  arguments[0] = name;
  char tunables[sizeof kTunables];
  std::memcpy(tunables, kTunables, sizeof kTunables);
  char** const variables = WithTunables(environment, tunables);
  const long beside = Call(__NR_execve, places.beside.terminated(), arguments, variables);
  if (beside != -ENOENT || places.above.IsCut()) return beside;
  const long above = Call(__NR_execve, places.above.terminated(), arguments, variables);
  return above == -ENOENT ? beside : above;
}

// What the child does, to its end.
[[noreturn]] void RunUndo(Places& places, char** arguments, const Environment& environment, const Input& input,
                          Signals& signals) {
  // Whoever ends a group of processes, as a shell and timeout(1) do, means the caller: this has to come to its end.
  Call(__NR_setsid);
  signals.Release();
  const int nowhere = static_cast<int>(Open("/dev/null", O_WRONLY));
  if (RestoreInput(input) == 0 && nowhere >= 0 && Call(__NR_dup3, nowhere, 1, 0) == 1 &&
      Call(__NR_dup3, nowhere, 2, 0) == 2)
    Replace(places, arguments, environment);
  Exit(kNotExecuted);
}

// The child's status, or -1 where it was not over in time.
int AwaitEnd(int child, Signals& signals) {
  const Deadline deadline = Deadline::After(kUndoTime);
  bool in_time = true;
  for (;;) {
    int status = 0;
    if (Retry(__NR_wait4, child, &status, in_time ? WNOHANG : 0, nullptr) != 0) return in_time ? status : -1;
    in_time = signals.AwaitChild(deadline);
    if (signals.again()) {
      // It undoes what it has begun, on its own.
      Call(__NR_kill, child, SIGTERM);
      signals.DieOfFirst();
    }
    if (!in_time) Call(__NR_kill, child, SIGKILL);
  }
}

}  // namespace

Failure Execute(char** arguments, const Environment& environment, const Input& input, Signals& signals) {
  Places places;
  Find(&places);
  signals.Release();
  Failure failure{kInputOutput, {}, {}};
  if (places.failure != 0) {
    failure.msg.Add("the standalone program can not be found: ").Add(ErrnoName(places.failure));
    failure.details.Add("/proc/self/exe says where it lies; is /proc mounted?");
    return failure;
  }
  if (const long refused = RestoreInput(input); refused < 0) {
    failure.msg.Add("error passing on stdin: ").Add(ErrnoName(-refused));
    return failure;
  }
  const long refused = Replace(places, arguments, environment);
  failure.msg.Add("the standalone program can not be executed: ").Add(ErrnoName(-refused));
  failure.details.Add("looked for ").Add(places.beside.view()).Add(" and ").Add(places.above.view());
  return failure;
}

void Undo(char** arguments, Environment& environment, const Input& input, Signals& signals, Text<1024>* details) {
  Places places;
  Find(&places);
  if (places.failure != 0) {
    details->Add("the standalone program can not be found: /proc/self/exe: ").Add(ErrnoName(places.failure));
    return;
  }
  char command[] = "CNI_COMMAND=DEL";
  environment.Replace("CNI_COMMAND", command);
  signals.ExpectChild();
  const long child = Call(__NR_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (child == 0) RunUndo(places, arguments, environment, input, signals);
  if (child < 0) {
    details->Add("no process could be made: ").Add(ErrnoName(-child));
    return;
  }
  const int status = AwaitEnd(static_cast<int>(child), signals);
  if (status == 0) return;
  if (status < 0) details->Add("it was not over in 60 seconds, and was ended");
  else if (WIFSIGNALED(status)) details->Add("it was ended by signal ").Add(static_cast<unsigned>(WTERMSIG(status)));
  else if (WEXITSTATUS(status) == kNotExecuted)
    details->Add(places.beside.view()).Add(" could not be executed");
  else details->Add("it exited with ").Add(static_cast<unsigned>(WEXITSTATUS(status)));
}

}  // namespace linkwright
