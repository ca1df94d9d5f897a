// Signals that mean "give up": read from a descriptor, so that none is missed between a look and a wait.
#pragma once

#include <cstdint>
#include <string_view>

#include "system.h"

namespace linkwright {

// "SIGTERM" for 15.
std::string_view SignalName(int signal);

class Signals {
 public:
  // From now on SIGTERM, SIGINT and SIGHUP are only seen by Take() and at `fd`, but those that whoever started this
  // process had ignored stay ignored. SIGPIPE is ignored. Where the kernel refuses, signals go on ending the process.
  // Safe to repeat.
  void Hold();
  // Puts everything back as it was, for a program that is executed. What came meanwhile and was not taken is delivered.
  void Release();

  // Readable when a signal waits; -1 where none is held.
  int fd() const { return fd_; }
  // The next one, or 0 where none waits.
  int Take();
  // The first that was taken, or 0.
  int first() const { return first_; }
  // Whether the caller has asked more than once.
  bool again() const { return count_ > 1; }

  // Before a child is made: its end is to be seen, though whoever started this process may have ignored that.
  void ExpectChild();
  // Waits until a child has ended, or a signal has come, which is taken, or `deadline`. False at the deadline.
  bool AwaitChild(const Deadline& deadline);

  // Ends the process as the first signal would have.
  [[noreturn]] void DieOfFirst();

 private:
  int Count(int signal);

  bool held_ = false;
  int fd_ = -1;
  int first_ = 0;
  int count_ = 0;
  uint64_t awaited_ = 0;
  uint64_t mask_before_ = 0;
  uintptr_t pipe_before_ = 0;
};

enum class Woken { kReady, kSignal, kLate };

// Waits until `fd` is ready for `events` or has an error, which comes first where a signal waits too.
Woken Wait(int fd, short events, const Signals& signals, const Deadline& deadline);

}  // namespace linkwright
