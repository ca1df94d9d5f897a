// What the doorman's thread and JavaScript share, and how the thread speaks to who comes.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "descriptor.h"

namespace linkwright {

// Of question and answer.
constexpr size_t kMostBytes = 64;

struct Arrival {
  UniqueFd fd;
  bool answered;
};

enum class Said { kQuestion, kNothing, kOther };

struct Hall {
  std::vector<uint8_t> question;
  std::vector<uint8_t> answer;
  uid_t uid = 0;
  // Connections that wait for JavaScript, from which on nothing more is accepted.
  size_t ahead = 0;

  std::mutex mutex;
  std::deque<Arrival> waiting;
  // Nothing more is accepted: the end has come; or until JavaScript has seen to what waits, or to what went wrong.
  bool ended = false;
  bool paused = false;
  bool failed = false;

  bool Knows(int fd) const;
  Said Hear(int fd) const;
  bool Answer(int fd) const;
};

}  // namespace linkwright
