// The one thread of an environment that waits for descriptors to become ready.
#pragma once

#include <pthread.h>

#include <memory>

#include "descriptor.h"
#include "error.h"
#include "mailbox.h"

namespace linkwright {

class Poller {
 public:
  explicit Poller() = default;
  ~Poller() { Stop(); }

  // Starts the thread with the first descriptor; it stays when there are none: a server has one connection after the
  // other, and making and ending a thread for each costs more than all that a short answer does. One readiness is one
  // letter; nothing more is told until Rearm().
  Failure Add(const std::shared_ptr<Mailbox>& mailbox, int fd, uint32_t events, uint64_t id);
  Failure Rearm(int fd, uint32_t events, uint64_t id);
  void Remove(int fd);
  // Ends the thread.
  void Stop();

 private:
  Failure Start(const std::shared_ptr<Mailbox>& mailbox);
  void Run();

  UniqueFd epoll_;
  UniqueFd wake_;
  pthread_t thread_{};
  std::shared_ptr<Mailbox> mailbox_;
};

}  // namespace linkwright
