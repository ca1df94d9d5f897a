#include "daemon.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <cstring>

namespace linkwright {

namespace {

constexpr char kMagic[8] = {'L', 'N', 'K', 'W', 'R', 'G', 'H', 'T'};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kExecute = 1;
constexpr uint32_t kOwnNetns = 1;
constexpr uint32_t kCniNetns = 2;
constexpr uint32_t kAskedToAcknowledge = 1;
// Status, flags, and two lengths.
constexpr uint32_t kShortestAnswer = 16;

// For the connection and the daemon's greeting together.
constexpr int64_t kGreetingTime = 50 * kMillisecond;
// For the daemon to undo an ADD. It does that whether anybody waits or not; who waits knows that it is over.
constexpr int64_t kUndoTime = 10 * kSecond;

struct Greeting {
  char magic[8];
  // Launcher: the lowest and highest version it speaks. Daemon: the version chosen, and flags that keep it from serving.
  uint32_t first;
  uint32_t second;
};

uint32_t Word(const char* from) {
  uint32_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

iovec Piece(const void* from, size_t size) { return {const_cast<void*>(from), size}; }

// Takes `size` bytes off the front.
void Advance(msghdr* message, size_t size) {
  while (message->msg_iovlen > 0 && size >= message->msg_iov->iov_len) {
    size -= message->msg_iov->iov_len;
    message->msg_iov++;
    message->msg_iovlen--;
  }
  if (message->msg_iovlen == 0) return;
  message->msg_iov->iov_base = static_cast<char*>(message->msg_iov->iov_base) + size;
  message->msg_iov->iov_len -= size;
}

// Reads an answer's body. False where its lengths are not those of its parts.
bool Parse(std::string_view body, Answer* answer) {
  const uint32_t output = Word(body.data() + 8);
  const size_t rest = body.size() - kShortestAnswer;
  if (output > rest) return false;
  const uint32_t errors = Word(body.data() + 12 + output);
  if (errors != rest - output) return false;
  answer->status = Word(body.data());
  answer->acknowledge = (Word(body.data() + 4) & kAskedToAcknowledge) != 0;
  answer->output = {body.data() + 12, output};
  answer->errors = {body.data() + kShortestAnswer + output, errors};
  // An exit status has eight bits.
  return answer->status <= 255;
}

}  // namespace

bool Daemon::Connect(std::string_view path) {
  sockaddr_un address{};
  if (path.empty() || path[0] != '/' || path.size() >= sizeof address.sun_path) return false;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  fd_ = static_cast<int>(Call(__NR_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd_ < 0) return false;
  greeting_ = Deadline::After(kGreetingTime);
  // For connect(), which waits where the daemon's queue is full; everything else goes without waiting.
  const timeval patience{0, kGreetingTime / 1000};
  ucred peer{};
  socklen_t size = sizeof peer;
  Greeting greeting{{}, kVersion, kVersion};
  std::memcpy(greeting.magic, kMagic, sizeof kMagic);
  if (Call(__NR_setsockopt, fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0 &&
      Retry(__NR_connect, fd_, &address, offsetof(sockaddr_un, sun_path) + path.size() + 1) == 0 &&
      Call(__NR_getsockopt, fd_, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
      (peer.uid == 0 || peer.uid == static_cast<uid_t>(Call(__NR_geteuid))) &&
      Call(__NR_sendto, fd_, &greeting, sizeof greeting, MSG_DONTWAIT | MSG_NOSIGNAL, nullptr, 0) ==
          static_cast<long>(sizeof greeting))
    return true;
  Disconnect();
  return false;
}

bool Daemon::IsGreeted() {
  Greeting greeting;
  Signals none;
  Outcome outcome;
  const bool spoken = Receive(reinterpret_cast<char*>(&greeting), sizeof greeting, none, greeting_, &outcome) &&
                      std::memcmp(greeting.magic, kMagic, sizeof kMagic) == 0 && greeting.first == kVersion &&
                      greeting.second == 0;
  if (!spoken) Disconnect();
  return spoken;
}

bool Daemon::Send(const Request& request, Signals& signals, const Deadline& deadline, Outcome* outcome) {
  const uint32_t type_size = static_cast<uint32_t>(request.type.size());
  const uint32_t environment_size = static_cast<uint32_t>(request.environment.size());
  const uint32_t input_size = static_cast<uint32_t>(request.input.size());
  const bool has_netns = request.netns >= 0;
  const uint32_t tail[] = {kOwnNetns | (has_netns ? kCniNetns : 0), request.netns_errno};
  const uint32_t body = static_cast<uint32_t>(6 * sizeof(uint32_t)) + type_size + environment_size + input_size;
  const uint32_t head[] = {body, kExecute, type_size};
  iovec pieces[] = {Piece(head, sizeof head),
                    Piece(request.type.data(), type_size),
                    Piece(&environment_size, sizeof environment_size),
                    Piece(request.environment.data(), environment_size),
                    Piece(&input_size, sizeof input_size),
                    Piece(request.input.data(), input_size),
                    Piece(tail, sizeof tail)};
  const int descriptors[] = {request.own_netns, request.netns};
  const size_t carried = (has_netns ? 2 : 1) * sizeof(int);
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptors)] = {};
  cmsghdr header{};
  header.cmsg_len = CMSG_LEN(carried);
  header.cmsg_level = SOL_SOCKET;
  header.cmsg_type = SCM_RIGHTS;
  std::memcpy(control, &header, sizeof header);
  std::memcpy(control + CMSG_LEN(0), descriptors, carried);
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = sizeof pieces / sizeof *pieces;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(carried);

  *outcome = Outcome::kUntouched;
  while (message.msg_iovlen > 0) {
    const long sent = Retry(__NR_sendmsg, fd_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
      // Descriptors went with the first bytes, and are not to go again.
      message.msg_control = nullptr;
      message.msg_controllen = 0;
      Advance(&message, static_cast<size_t>(sent));
      continue;
    }
    if (sent != -EAGAIN) return false;
    const Woken woken = Wait(fd_, POLLOUT, signals, deadline);
    if (woken == Woken::kLate) return false;
    if (woken == Woken::kSignal && signals.Take() != 0) {
      *outcome = Outcome::kStopped;
      return false;
    }
  }
  return true;
}

// `outcome` is what is to be told where it fails.
bool Daemon::Receive(char* to, size_t size, Signals& signals, const Deadline& deadline, Outcome* outcome) {
  *outcome = Outcome::kLost;
  while (size > 0) {
    const long received = Retry(__NR_recvfrom, fd_, to, size, MSG_DONTWAIT, nullptr, nullptr);
    if (received > 0) {
      to += received;
      size -= static_cast<size_t>(received);
      continue;
    }
    // Linux tells so where the peer closed a socket with something in it that it had not read, and what it had to read
    // is the request, unless a byte has followed that.
    if (received == -ECONNRESET && !cancelled_) *outcome = Outcome::kUntouched;
    if (received != -EAGAIN) return false;
    const short events = cancel_waits_ ? POLLIN | POLLOUT : POLLIN;
    const Woken woken = Wait(fd_, events, signals, deadline);
    if (woken == Woken::kLate) return false;
    if (woken == Woken::kSignal && signals.Take() != 0) {
      if (signals.again()) {
        *outcome = Outcome::kStopped;
        return false;
      }
      cancelled_ = cancel_waits_ = true;
    }
    // It waits on where the daemon has not read what came before. After any other failure there is nobody to tell, or
    // this end has said its last word already.
    if (cancel_waits_ && SendByte('C') != -EAGAIN) cancel_waits_ = false;
  }
  return true;
}

Outcome Daemon::Ask(const Request& request, Signals& signals, const Deadline& deadline, Answer* answer) {
  Outcome outcome;
  if (!Send(request, signals, deadline, &outcome)) return outcome;
  char length[sizeof(uint32_t)];
  if (!Receive(length, sizeof length, signals, deadline, &outcome)) return outcome;
  const uint32_t size = Word(length);
  if (size < kShortestAnswer || size > kLongestAnswer) return Outcome::kLost;
  char* const body = Reserve(size);
  if (body == nullptr) return Outcome::kLost;
  if (!Receive(body, size, signals, deadline, &outcome))
    // A daemon that has begun to answer has had the request.
    return outcome == Outcome::kUntouched ? Outcome::kLost : outcome;
  return Parse({body, size}, answer) ? Outcome::kAnswered : Outcome::kLost;
}

long Daemon::SendByte(char byte) {
  return Retry(__NR_sendto, fd_, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL, nullptr, 0);
}

bool Daemon::Acknowledge() { return SendByte('A') == 1; }

void Daemon::Abandon(Signals& signals) {
  Call(__NR_shutdown, fd_, SHUT_WR);
  const Deadline deadline = Deadline::After(kUndoTime);
  char byte;
  Outcome outcome;
  // More would be no answer that anybody has asked for.
  Receive(&byte, 1, signals, deadline, &outcome);
  Disconnect();
}

void Daemon::Disconnect() {
  Close(fd_);
  fd_ = -1;
}

}  // namespace linkwright
