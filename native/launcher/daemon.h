// The daemon's side of the launcher: protocol version 1, as docs/daemon.md has it.
#pragma once

#include <cstdint>
#include <string_view>

#include "environment.h"
#include "signals.h"
#include "system.h"

namespace linkwright {

// What the protocol allows, in bytes.
constexpr size_t kLongestEnvironment = 256 << 10;
constexpr size_t kLongestInput = 1 << 20;
constexpr uint32_t kLongestAnswer = 16 << 20;

// An execution of a plugin, as this process was asked for it.
struct Request {
  std::string_view type;
  std::string_view environment;
  std::string_view input;
  // The namespace that this process is in.
  int own_netns = -1;
  // CNI_NETNS, or -1 and why it could not be opened.
  int netns = -1;
  uint32_t netns_errno = 0;
};

// Views into what was received.
struct Answer {
  uint32_t status = 0;
  // The daemon waits until everything is printed, and undoes the ADD where that is not so.
  bool acknowledge = false;
  std::string_view output;
  std::string_view errors;
};

enum class Outcome {
  kAnswered,
  // The daemon can't have begun: it has not read the whole request.
  kUntouched,
  // It ended, or nothing sensible came, or nothing before the deadline.
  kLost,
  // The caller has asked for the second time to give up, or for the first time before the daemon had everything.
  kStopped,
};

class Daemon {
 public:
  // Connects to the daemon's socket and greets, without waiting for its greeting. False where nobody is there who may be
  // asked: a peer that is neither root nor this process's user may not.
  bool Connect(std::string_view path);
  // Whether the daemon's greeting came in time, in a version that is spoken here, and it takes requests.
  bool IsGreeted();
  // Sends the request and waits for the answer. A signal is passed on to the daemon, whose answer is waited for all the
  // same. What was received is in `answer`, where it is kAnswered.
  Outcome Ask(const Request& request, Signals& signals, const Deadline& deadline, Answer* answer);
  // Tells that everything is printed. False where the daemon is gone.
  bool Acknowledge();
  // Leaves without an acknowledgement, and gives the daemon a little time to undo the ADD.
  void Abandon(Signals& signals);
  void Disconnect();

 private:
  bool Send(const Request& request, Signals& signals, const Deadline& deadline, Outcome* outcome);
  bool Receive(char* to, size_t size, Signals& signals, const Deadline& deadline, Outcome* outcome);
  // 1 or -errno.
  long SendByte(char byte);

  int fd_ = -1;
  bool cancelled_ = false;
  bool cancel_waits_ = false;
  Deadline greeting_ = Deadline::After(0);
};

}  // namespace linkwright
