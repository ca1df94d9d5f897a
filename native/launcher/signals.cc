#include "signals.h"

#include <signal.h>
#include <sys/signalfd.h>

namespace linkwright {

namespace {

// The kernel's sets of signals have 64 bits, and so no need of functions.
constexpr uint64_t SetOf(int signal) { return uint64_t{1} << (signal - 1); }

// As the kernel has it, which is not as a C library has it.
struct KernelAction {
  uintptr_t handler;
  unsigned long flags;
#if !defined(__riscv) && !defined(__loongarch__)
  uintptr_t restorer;
#endif
  uint64_t mask;
};

constexpr uintptr_t kDefault = 0;
constexpr uintptr_t kIgnore = 1;

uintptr_t Handler(int signal) {
  KernelAction action{};
  Call(__NR_rt_sigaction, signal, nullptr, &action, sizeof action.mask);
  return action.handler;
}

void SetHandler(int signal, uintptr_t handler) {
  KernelAction action{};
  action.handler = handler;
  Call(__NR_rt_sigaction, signal, &action, nullptr, sizeof action.mask);
}

void SetMask(uint64_t mask) { Call(__NR_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, sizeof mask); }

constexpr int kAsked[] = {SIGTERM, SIGINT, SIGHUP};

}  // namespace

std::string_view SignalName(int signal) {
  switch (signal) {
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    case SIGHUP:
      return "SIGHUP";
    default:
      return "a signal";
  }
}

void Signals::Hold() {
  if (held_) return;
  for (const int signal : kAsked)
    if (Handler(signal) != kIgnore) awaited_ |= SetOf(signal);
  fd_ = static_cast<int>(Call(__NR_signalfd4, -1, &awaited_, sizeof awaited_, O_CLOEXEC | O_NONBLOCK));
  if (fd_ < 0) awaited_ = 0;
  Call(__NR_rt_sigprocmask, SIG_BLOCK, &awaited_, &mask_before_, sizeof awaited_);
  pipe_before_ = Handler(SIGPIPE);
  SetHandler(SIGPIPE, kIgnore);
  held_ = true;
}

void Signals::Release() {
  if (!held_) return;
  held_ = false;
  SetHandler(SIGPIPE, pipe_before_);
  SetMask(mask_before_);
}

int Signals::Count(int signal) {
  if (first_ == 0) first_ = signal;
  count_++;
  return signal;
}

int Signals::Take() {
  signalfd_siginfo info;
  if (fd_ < 0 || Call(__NR_read, fd_, &info, sizeof info) != static_cast<long>(sizeof info)) return 0;
  return Count(static_cast<int>(info.ssi_signo));
}

void Signals::ExpectChild() {
  SetHandler(SIGCHLD, kDefault);
  const uint64_t child = SetOf(SIGCHLD);
  Call(__NR_rt_sigprocmask, SIG_BLOCK, &child, nullptr, sizeof child);
}

bool Signals::AwaitChild(const Deadline& deadline) {
  const uint64_t all = awaited_ | SetOf(SIGCHLD);
  const timespec left = deadline.Left();
  const long signal = Call(__NR_rt_sigtimedwait, &all, nullptr, &left, sizeof all);
  if (signal > 0 && signal != SIGCHLD) Count(static_cast<int>(signal));
  return signal != -EAGAIN;
}

void Signals::DieOfFirst() {
  SetHandler(first_, kDefault);
  SetMask(0);
  Call(__NR_kill, Call(__NR_getpid), first_);
  Exit(128 + first_);
}

Woken Wait(int fd, short events, const Signals& signals, const Deadline& deadline) {
  pollfd polled[] = {{fd, events, 0}, {signals.fd(), POLLIN, 0}};
  for (;;) {
    // The kernel writes to it.
    timespec left = deadline.Left();
    const long ready = Call(__NR_ppoll, polled, 2, &left, nullptr, 0);
    if (ready > 0 && polled[0].revents != 0) return Woken::kReady;
    if (ready > 0) return Woken::kSignal;
    if (ready != -EINTR) return Woken::kLate;
  }
}

}  // namespace linkwright
