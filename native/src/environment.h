// What one environment (the main thread or a worker) of one loaded copy of the addon owns. There are no globals.
#pragma once

#include <napi.h>

#include <cstdlib>
#include <memory>
#include <unordered_map>
#include <vector>

#include "closer.h"
#include "descriptor.h"
#include "error.h"
#include "mailbox.h"
#include "poller.h"

namespace linkwright {

// Memory to receive into. Large, but the kernel gives pages only where something was written.
struct Buffer {
  static constexpr size_t kInitial = 1 << 20;

  Buffer() = default;
  Buffer(Buffer&& other) noexcept
      : data(std::exchange(other.data, nullptr)), size(std::exchange(other.size, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data, other.data);
    std::swap(size, other.size);
    return *this;
  }
  ~Buffer() { std::free(data); }

  // False when there is no memory.
  bool Reserve(size_t wanted) {
    if (wanted <= size) return true;
    size_t grown = std::max(size, kInitial);
    while (grown < wanted) grown *= 2;
    auto* moved = static_cast<uint8_t*>(std::realloc(data, grown));
    if (!moved) return false;
    data = moved;
    size = grown;
    return true;
  }

  uint8_t* data = nullptr;
  size_t size = 0;
};

class Environment;

// What waits for messages of a helper thread. Lives on the JavaScript thread.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual void Receive(uint16_t value) = 0;
  // The environment ends: let go of what lies outside it, without JavaScript.
  virtual void Abandon() = 0;
};

class Environment {
 public:
  explicit Environment(napi_env owner) : env(owner) {}
  ~Environment();
  static Environment& Of(napi_env env);

  // A Descriptor object; null (with the descriptor closed) when the environment is ending.
  napi_value NewDescriptor(UniqueFd fd);

  Buffer TakeBuffer();
  void ReturnBuffer(Buffer buffer);

  // Opens the mailbox, at first use, and gives the listener its number.
  Failure Listen(std::shared_ptr<Listener> listener, uint64_t* id);
  void Forget(uint64_t id) { listeners_.erase(id); }

  const napi_env env;
  napi_ref descriptor_class = nullptr;
  napi_ref watch_class = nullptr;
  std::shared_ptr<Mailbox> mailbox = std::make_shared<Mailbox>();
  Poller poller;
  const std::shared_ptr<Closer> closer = std::make_shared<Closer>();

 private:
  static void Deliver(napi_env env, napi_value, void* context, void* letter);
  static void End(void* self);

  std::vector<Buffer> spare_buffers_;
  std::unordered_map<uint64_t, std::shared_ptr<Listener>> listeners_;
  uint64_t last_id_ = 0;
};

// A new Uint8Array with a copy of the bytes; null when there is no memory for it.
napi_value NewBytes(napi_env env, const void* data, size_t size);

}  // namespace linkwright
