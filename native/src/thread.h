// Helper threads. They never touch JavaScript, and no signal is ever delivered to them.
#pragma once

#include <pthread.h>
#include <signal.h>

#include "error.h"

namespace linkwright {

// Enough for system calls and Node's thread-local storage; the kernel gives pages only where they are touched.
constexpr size_t kStackSize = 256 * 1024;

// pthread_create that fails (EAGAIN at a task limit) instead of aborting as std::thread does without exceptions.
inline Failure StartThread(void* (*run)(void*), void* argument, bool detached, pthread_t* thread) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackSize);
  pthread_attr_setdetachstate(&attributes, detached ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE);
  // A new thread inherits the mask, so there is no moment at which a signal could reach it.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int number = pthread_create(thread, &attributes, run, argument);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  return {number, "pthread_create"};
}

// Runs `work` (which returns a Failure) in a new thread and waits for it. What the thread did to itself, such as
// entering a namespace, ends with it.
template <typename Work>
Failure RunInThread(Work& work) {
  struct Call {
    Work& work;
    Failure failure;
  } call{work, {}};
  pthread_t thread;
  const auto run = [](void* argument) -> void* {
    auto* inner = static_cast<Call*>(argument);
    inner->failure = inner->work();
    return nullptr;
  };
  if (const Failure failure = StartThread(run, &call, false, &thread)) return failure;
  pthread_join(thread, nullptr);
  return call.failure;
}

}  // namespace linkwright
