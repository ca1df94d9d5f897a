#include "poller.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "thread.h"

namespace linkwright {

namespace {

// The letter id of the eventfd that ends the thread; listeners begin at 1.
constexpr uint64_t kWake = 0;

Failure EpollControl(int epoll, int operation, int fd, uint32_t events, uint64_t id) {
  epoll_event event{};
  event.events = events | EPOLLONESHOT;
  event.data.u64 = id;
  return epoll_ctl(epoll, operation, fd, &event) < 0 ? LastFailure("epoll_ctl") : Failure{};
}

}  // namespace

Failure Poller::Start(const std::shared_ptr<Mailbox>& mailbox) {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return LastFailure("epoll_create1");
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return LastFailure("eventfd");
  if (const Failure failure = EpollControl(epoll.get(), EPOLL_CTL_ADD, wake.get(), EPOLLIN, kWake)) return failure;
  epoll_ = std::move(epoll);
  wake_ = std::move(wake);
  mailbox_ = mailbox;
  const auto run = [](void* self) -> void* {
    static_cast<Poller*>(self)->Run();
    return nullptr;
  };
  const Failure failure = StartThread(run, this, false, &thread_);
  if (failure) {
    epoll_.Reset();
    wake_.Reset();
  }
  return failure;
}

void Poller::Run() {
  epoll_event ready[16];
  for (;;) {
    // Can fail with EINTR only (a debugger, a stopped process): the descriptor and the array are ours.
    const int count = epoll_wait(epoll_.get(), ready, std::size(ready), -1);
    for (int index = 0; index < count; index++) {
      if (ready[index].data.u64 == kWake) return;
      mailbox_->Post({ready[index].data.u64, static_cast<uint16_t>(ready[index].events)});
    }
  }
}

Failure Poller::Add(const std::shared_ptr<Mailbox>& mailbox, int fd, uint32_t events, uint64_t id) {
  const bool first = !epoll_.valid();
  if (first) {
    if (const Failure failure = Start(mailbox)) return failure;
  }
  const Failure failure = EpollControl(epoll_.get(), EPOLL_CTL_ADD, fd, events, id);
  if (failure && first) Stop();
  return failure;
}

Failure Poller::Rearm(int fd, uint32_t events, uint64_t id) {
  return EpollControl(epoll_.get(), EPOLL_CTL_MOD, fd, events, id);
}

void Poller::Remove(int fd) {
  // Fails only if somebody else closed the number, and then it has left the set by itself.
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void Poller::Stop() {
  if (!epoll_.valid()) return;
  eventfd_write(wake_.get(), 1);
  pthread_join(thread_, nullptr);
  epoll_.Reset();
  wake_.Reset();
}

}  // namespace linkwright
