#include "hall.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "error.h"

namespace linkwright {

bool Hall::Knows(int fd) const {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == uid;
}

// A look only: descriptors that came along and everything else that is odd are left for JavaScript to find.
Said Hall::Hear(int fd) const {
  uint8_t said[kMostBytes];
  iovec vector{said, question.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  const ssize_t length = Retry([&] { return recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC); });
  if (length < 0 && errno == EAGAIN) return Said::kNothing;
  const bool asked = length == static_cast<ssize_t>(question.size()) && !(message.msg_flags & MSG_CTRUNC) &&
                     std::memcmp(said, question.data(), question.size()) == 0;
  return asked ? Said::kQuestion : Said::kOther;
}

// What was heard is taken. Where that fails the peer is gone, which JavaScript notices by reading.
bool Hall::Answer(int fd) const {
  uint8_t said[kMostBytes];
  if (recv(fd, said, question.size(), MSG_DONTWAIT) != static_cast<ssize_t>(question.size())) return false;
  send(fd, answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return true;
}

}  // namespace linkwright
