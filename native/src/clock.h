// The kernel's clock. That of C++ is in its library, which prebuilt addons do without.
#pragma once

#include <time.h>

#include <cstdint>

namespace linkwright {

constexpr int64_t kMillisecond = 1'000'000;

// Nanoseconds of CLOCK_MONOTONIC.
inline int64_t Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 * kMillisecond + now.tv_nsec;
}

// For poll(2): not a moment less than so many nanoseconds.
constexpr int WholeMilliseconds(int64_t nanoseconds) {
  return static_cast<int>((nanoseconds + kMillisecond - 1) / kMillisecond);
}

}  // namespace linkwright
