// Closes files whose closing waits in the kernel, on threads of its own.
#pragma once

#include <deque>
#include <memory>
#include <mutex>

#include "descriptor.h"

namespace linkwright {

class Closer {
 public:
  // Does not wait. Threads may outlive the environment: they hold what they need.
  static void Close(const std::shared_ptr<Closer>& self, std::shared_ptr<Handle> handle);

 private:
  // Until nothing is left to close.
  void Run();

  std::mutex mutex_;
  std::deque<std::shared_ptr<Handle>> waiting_;
  size_t threads_ = 0;
};

}  // namespace linkwright
