// Which of the netlink messages received belong to an exchange, and when it is over. Knows nothing but nlmsghdr.
#pragma once

#include <linux/netlink.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace linkwright {

class Replies {
 public:
  struct Expectation {
    uint32_t first = 0;
    uint32_t last = 0;
    uint32_t closings = 0;
    // The sequence number whose error ends the exchange at once, or -1.
    int64_t abort = -1;
  };

  explicit Replies(const Expectation& expected) : expected_(expected) {}

  bool Complete() const { return aborted_ || closings_ >= expected_.closings; }

  // Takes a datagram of `size` bytes at `data` and moves the messages that belong to the exchange to `kept`, which
  // lies at or before it. Returns how many bytes those are now, or -1 when the datagram is malformed. Three bytes
  // after the datagram must be writable: the last message is padded to NLMSG_ALIGNTO too.
  int64_t Take(uint8_t* kept, const uint8_t* data, size_t size) {
    uint8_t* target = kept;
    while (size > 0) {
      nlmsghdr header;
      if (size < sizeof header) return -1;
      std::memcpy(&header, data, sizeof header);
      if (header.nlmsg_len < sizeof header || header.nlmsg_len > size) return -1;
      int error = 0;
      if (header.nlmsg_type == NLMSG_ERROR) {
        if (header.nlmsg_len < sizeof header + sizeof error) return -1;
        std::memcpy(&error, data + sizeof header, sizeof error);
      }
      const size_t aligned = NLMSG_ALIGN(size_t{header.nlmsg_len});
      if (Belongs(header, error)) {
        std::memmove(target, data, header.nlmsg_len);
        // Only past the message itself, where the rest of the datagram is not.
        if (aligned > size) std::memset(target + header.nlmsg_len, 0, aligned - header.nlmsg_len);
        else std::memmove(target + header.nlmsg_len, data + header.nlmsg_len, aligned - header.nlmsg_len);
        target += aligned;
      }
      const size_t step = std::min(aligned, size);
      data += step;
      size -= step;
    }
    return target - kept;
  }

 private:
  bool Belongs(const nlmsghdr& header, int error) {
    const bool is_error = header.nlmsg_type == NLMSG_ERROR;
    if (is_error && error != 0 && header.nlmsg_seq == expected_.abort) return aborted_ = true;
    // Counted from the first one, because sequence numbers wrap around. Others belong to an exchange that was given
    // up, or are notifications.
    if (header.nlmsg_seq - expected_.first > expected_.last - expected_.first) return false;
    if (is_error || header.nlmsg_type == NLMSG_DONE) closings_++;
    return header.nlmsg_type != NLMSG_NOOP;
  }

  const Expectation expected_;
  uint32_t closings_ = 0;
  bool aborted_ = false;
};

}  // namespace linkwright
