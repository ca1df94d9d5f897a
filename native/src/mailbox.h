// How helper threads reach the JavaScript thread of one environment: one thread-safe function, small letters.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <mutex>

namespace linkwright {

// A letter is a number of 16 bits for a listener of 48; both travel inside the pointer that a thread-safe function
// carries, so sending one allocates nothing here.
struct Letter {
  uint64_t id;
  uint16_t value;

  static Letter Of(void* data) {
    const auto bits = reinterpret_cast<uintptr_t>(data);
    return {bits >> 16, static_cast<uint16_t>(bits)};
  }
  void* Data() const { return reinterpret_cast<void*>(id << 16 | value); }
};

static_assert(sizeof(void*) == 8, "letters need 64-bit pointers");

// Threads hold it by shared pointer and may outlive the environment: closed, it refuses letters.
class Mailbox {
 public:
  bool IsOpen() const { return function_ != nullptr; }
  napi_status Open(napi_env env, napi_threadsafe_function_call_js deliver, void* context);
  void Close();

  // The event loop stays alive while there are references.
  void Ref(napi_env env);
  void Unref(napi_env env);

  // From any thread. False when nobody will ever read it.
  bool Post(Letter letter);

 private:
  std::mutex mutex_;
  napi_threadsafe_function function_ = nullptr;
  int references_ = 0;
};

}  // namespace linkwright
