#include "descriptors.h"

#include <limits.h>
#include <linux/limits.h>

#include <cstring>

namespace linkwright {

namespace {

constexpr int kStandard = 3;

// As getdents64(2) has it, up to the name.
struct Entry {
  uint64_t inode;
  int64_t offset;
  uint16_t length;
  uint8_t type;
};
constexpr size_t kNameOffset = 19;

// -1 for a name that is no number.
int ToNumber(const char* name) {
  int number = 0;
  if (*name == '\0') return -1;
  for (; *name != '\0'; name++) {
    if (*name < '0' || *name > '9' || number > INT_MAX / 10 - 1) return -1;
    number = number * 10 + (*name - '0');
  }
  return number;
}

// For Linux before 5.9, by the directory that has a name for each.
void CloseListed() {
  const int directory = static_cast<int>(Open("/proc/self/fd", O_RDONLY | O_DIRECTORY));
  if (directory < 0) return;
  alignas(8) char entries[4096];
  for (;;) {
    const long size = Call(__NR_getdents64, directory, entries, sizeof entries);
    if (size <= 0) break;
    for (long at = 0; at < size;) {
      Entry entry;
      std::memcpy(&entry, entries + at, kNameOffset);
      const int fd = ToNumber(entries + at + kNameOffset);
      if (fd >= kStandard && fd != directory) Close(fd);
      at += entry.length;
    }
  }
  Close(directory);
}

}  // namespace

void CloseOthers() {
  if (Call(__NR_close_range, kStandard, ~0U, 0) == -ENOSYS) CloseListed();
}

void FillStandard() {
  pollfd polled[kStandard] = {{0, 0, 0}, {1, 0, 0}, {2, 0, 0}};
  const timespec none{};
  Call(__NR_ppoll, polled, kStandard, &none, nullptr, 0);
  for (const pollfd& one : polled)
    // The lowest number that is free is the one that is looked at.
    if ((one.revents & POLLNVAL) != 0 && Open("/dev/null", O_RDONLY) < 0) Open("/", O_RDONLY | O_DIRECTORY);
}

long ReadInput(char* to, size_t room, const Deadline& deadline) {
  const Signals none;
  size_t size = 0;
  while (size < room) {
    if (Wait(0, POLLIN, none, deadline) == Woken::kLate) return -ETIMEDOUT;
    const long taken = Retry(__NR_read, 0, to + size, room - size);
    if (taken == 0) break;
    // Somebody else reads from it too, and was quicker.
    if (taken == -EAGAIN) continue;
    if (taken < 0) return taken;
    size += static_cast<size_t>(taken);
  }
  return static_cast<long>(size);
}

long Write(int fd, std::string_view text, Signals& signals, const Deadline& deadline) {
  while (!text.empty()) {
    const Woken woken = Wait(fd, POLLOUT, signals, deadline);
    if (woken == Woken::kLate) return -ETIMEDOUT;
    if (woken == Woken::kSignal) {
      if (signals.Take() != 0) return -EINTR;
      continue;
    }
    // A pipe that is ready has room for as much, so that this does not wait where nobody sees signals.
    const long written = Retry(__NR_write, fd, text.data(), text.size() < PIPE_BUF ? text.size() : PIPE_BUF);
    if (written == -EAGAIN) continue;
    if (written < 0) return written;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

}  // namespace linkwright
