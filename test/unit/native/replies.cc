// Feeds the parser of netlink replies with datagrams in memory of exactly their size, so that the sanitizers see any
// read or write outside: honest ones, and honest ones with bytes changed.
#include "../../../native/src/replies.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

uint64_t state = 88172645463325252;
uint32_t Random(uint32_t below) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return static_cast<uint32_t>(state >> 11) % below;
}

void Check(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

std::vector<uint8_t> Datagram(uint32_t* closings) {
  std::vector<uint8_t> bytes;
  const uint32_t count = Random(4);
  for (uint32_t index = 0; index < count; index++) {
    constexpr uint16_t kTypes[] = {NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, 16, 24};
    nlmsghdr header{};
    header.nlmsg_type = kTypes[Random(5)];
    header.nlmsg_seq = 10 + Random(4);
    header.nlmsg_len = sizeof header + 4 + Random(30);
    if (header.nlmsg_seq < 12 && (header.nlmsg_type == NLMSG_ERROR || header.nlmsg_type == NLMSG_DONE)) {
      ++*closings;
    }
    const size_t at = bytes.size();
    // The last message of a datagram may come without its padding.
    bytes.resize(at + (index + 1 == count && Random(2) ? header.nlmsg_len : NLMSG_ALIGN(header.nlmsg_len)), 0xee);
    std::memcpy(&bytes[at], &header, sizeof header);
    std::memset(&bytes[at + sizeof header], 0, 4);
  }
  return bytes;
}

void Run(bool honest) {
  linkwright::Replies replies({10, 11, UINT32_MAX, honest ? -1 : 12});
  uint32_t closings = 0;
  const std::vector<uint8_t> bytes = Datagram(&closings);
  std::vector<uint8_t> changed = bytes;
  if (!honest && !changed.empty()) {
    for (uint32_t index = Random(8); index > 0; index--) {
      changed[Random(static_cast<uint32_t>(changed.size()))] = static_cast<uint8_t>(Random(256));
    }
    changed.resize(changed.size() - Random(static_cast<uint32_t>(changed.size())));
  }
  auto* memory = static_cast<uint8_t*>(std::malloc(changed.size() + 3));
  if (!changed.empty()) std::memcpy(memory, changed.data(), changed.size());
  const int64_t kept = replies.Take(memory, memory, changed.size());
  Check(kept <= static_cast<int64_t>(NLMSG_ALIGN(changed.size())), "more kept than there was");
  if (honest) Check(kept >= 0, "an honest datagram is refused");
  uint32_t seen = 0;
  for (int64_t at = 0; at < kept;) {
    nlmsghdr header;
    std::memcpy(&header, memory + at, sizeof header);
    Check(header.nlmsg_seq == 10 || header.nlmsg_seq == 11 || !honest, "a stray message is kept");
    Check(header.nlmsg_type != NLMSG_NOOP || !honest, "a NOOP is kept");
    Check(at + header.nlmsg_len <= kept, "a message reaches past what was kept");
    seen += header.nlmsg_type == NLMSG_ERROR || header.nlmsg_type == NLMSG_DONE;
    at += NLMSG_ALIGN(header.nlmsg_len);
  }
  if (honest) Check(seen == closings, "closing messages are missing");
  std::free(memory);
}

}  // namespace

int main() {
  for (int round = 0; round < 200000; round++) Run(round % 2 == 0);
  linkwright::Replies none({1, 1, 0, -1});
  Check(none.Complete(), "nothing expected, and yet not complete");
}
