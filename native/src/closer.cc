#include "closer.h"

#include "thread.h"

namespace linkwright {

namespace {

// They wait for one grace period of RCU together, where one alone would wait for one after the other.
constexpr size_t kMostThreads = 8;

}  // namespace

void Closer::Close(const std::shared_ptr<Closer>& self, std::shared_ptr<Handle> handle) {
  {
    const std::lock_guard lock(self->mutex_);
    self->waiting_.push_back(std::move(handle));
    if (self->threads_ >= kMostThreads) return;
    self->threads_++;
  }
  const auto run = [](void* data) -> void* {
    const std::unique_ptr<std::shared_ptr<Closer>> closer(static_cast<std::shared_ptr<Closer>*>(data));
    (*closer)->Run();
    return nullptr;
  };
  auto closer = std::make_unique<std::shared_ptr<Closer>>(self);
  pthread_t thread;
  // At a limit of tasks, this thread waits itself.
  if (StartThread(run, closer.get(), true, &thread)) self->Run();
  else closer.release();
}

void Closer::Run() {
  for (;;) {
    // Closed at the end of each turn, when the lock is free again.
    std::shared_ptr<Handle> next;
    const std::lock_guard lock(mutex_);
    if (waiting_.empty()) {
      threads_--;
      return;
    }
    next = std::move(waiting_.front());
    waiting_.pop_front();
  }
}

}  // namespace linkwright
