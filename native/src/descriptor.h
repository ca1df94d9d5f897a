// File descriptors, and how JavaScript holds them.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>
#include <vector>

namespace linkwright {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) Reset(other.Release());
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd = -1) {
    // Never repeated on EINTR: Linux has let go of the number by then.
    if (const int old = std::exchange(fd_, fd); old >= 0) close(old);
  }

 private:
  int fd_ = -1;
};

// The open file, shared by a Descriptor object and the work in flight on other threads: the number can't be closed,
// and so not be given to another file, under a thread that uses it.
struct Handle {
  explicit Handle(UniqueFd owned) : fd(std::move(owned)) {}

  const UniqueFd fd;
  // Set when JavaScript closed it or the environment ended, though a thread may hold it still.
  std::atomic<bool> closed{false};
};

// What is told when a Descriptor closes. Lives on the JavaScript thread.
class Dependent {
 public:
  virtual ~Dependent() = default;
  virtual void DescriptorClosed() = 0;
};

// The native half of a Descriptor object.
class Descriptor {
 public:
  explicit Descriptor(UniqueFd fd) : handle_(std::make_shared<Handle>(std::move(fd))) {}
  ~Descriptor() { Close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  // -1 once closed, which every system call answers with EBADF: closed descriptors need no check of their own.
  int fd() const { return handle_ ? handle_->fd.get() : -1; }
  // Null once closed.
  const std::shared_ptr<Handle>& handle() const { return handle_; }

  void Close() {
    if (!handle_) return;
    handle_->closed = true;
    while (!dependents_.empty()) {
      Dependent* last = dependents_.back();
      dependents_.pop_back();
      last->DescriptorClosed();
    }
    handle_.reset();
  }

  // Closes it for JavaScript. The file is closed with what this returns, which is null where it was closed before.
  std::shared_ptr<Handle> Take() {
    std::shared_ptr<Handle> handle = handle_;
    Close();
    return handle;
  }

  void Attach(Dependent* dependent) { dependents_.push_back(dependent); }
  void Detach(Dependent* dependent) { std::erase(dependents_, dependent); }

 private:
  std::shared_ptr<Handle> handle_;
  std::vector<Dependent*> dependents_;
};

}  // namespace linkwright
