// System calls, time and memory, with the kernel alone: the launcher has no C library, whose start costs more than all
// that the launcher does. A call returns what the kernel does: -errno where it fails.
#pragma once

#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#ifdef LINKWRIGHT_HOSTED
#include <unistd.h>
#endif

namespace linkwright {

#if defined(LINKWRIGHT_HOSTED)

// Sanitizers need a C library, and so do processors that start.cc does not know.
inline long RawCall(long number, long a, long b, long c, long d, long e, long f) {
  const long result = syscall(number, a, b, c, d, e, f);
  return result == -1 ? -errno : result;
}

#elif defined(__x86_64__)

inline long RawCall(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

#elif defined(__aarch64__)

inline long RawCall(long number, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}

#else
#error "build with LINKWRIGHT_HOSTED: how this processor makes system calls is not known here"
#endif

template <typename T>
long Argument(T value) {
  if constexpr (std::is_null_pointer_v<T>) return 0;
  else if constexpr (std::is_pointer_v<T>) return reinterpret_cast<long>(value);
  else return static_cast<long>(value);
}

template <typename... Values>
long Call(long number, Values... values) {
  const long all[6] = {Argument(values)...};
  return RawCall(number, all[0], all[1], all[2], all[3], all[4], all[5]);
}

// Repeats a call that a signal has interrupted: one that is not ours to see, SIGCONT for one.
template <typename... Values>
long Retry(long number, Values... values) {
  long result;
  do result = Call(number, values...);
  while (result == -EINTR);
  return result;
}

[[noreturn]] inline void Exit(int status) {
  for (;;) Call(__NR_exit_group, status);
}

inline long Open(const char* path, int flags) { return Retry(__NR_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0); }

// Never repeated on EINTR: Linux has let go of the number by then.
inline void Close(int fd) {
  if (fd >= 0) Call(__NR_close, fd);
}

constexpr int64_t kMillisecond = 1'000'000;
constexpr int64_t kSecond = 1'000 * kMillisecond;

// A moment on the monotonic clock, in nanoseconds.
class Deadline {
 public:
  static Deadline After(int64_t nanoseconds) { return Deadline(Now() + nanoseconds); }

  // Zero once it has passed.
  timespec Left() const {
    const int64_t left = at_ - Now();
    if (left <= 0) return {0, 0};
    return {static_cast<time_t>(left / kSecond), static_cast<long>(left % kSecond)};
  }

 private:
  explicit Deadline(int64_t at) : at_(at) {}
  static int64_t Now() {
    timespec time{};
    Call(__NR_clock_gettime, CLOCK_MONOTONIC, &time);
    return time.tv_sec * kSecond + time.tv_nsec;
  }

  int64_t at_;
};

#ifndef LINKWRIGHT_HOSTED
// Of the page that the program's variables are in: to touch another one for the first time costs as much as a dozen
// system calls, in a virtual machine.
inline constexpr size_t kArena = 3840;
alignas(16) inline char arena[kArena];
inline size_t arena_used = 0;
#endif

// Zeroed memory for as long as the program runs; null where there is none. What is not touched costs nothing.
inline char* Reserve(size_t size) {
#ifdef LINKWRIGHT_HOSTED
  // So that AddressSanitizer sees where it ends.
  return static_cast<char*>(__builtin_calloc(size, 1));
#else
  if (size <= kArena - arena_used) {
    char* const place = arena + arena_used;
    arena_used += (size + 15) & ~size_t{15};
    return place;
  }
  const long at = Call(__NR_mmap, nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return at < 0 && at > -4096 ? nullptr : reinterpret_cast<char*>(at);
#endif
}

}  // namespace linkwright
