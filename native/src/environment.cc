#include "environment.h"

#include <cstring>

#include "object.h"

namespace linkwright {

Environment::~Environment() {
  napi_delete_reference(env, descriptor_class);
  napi_delete_reference(env, watch_class);
}

Environment& Environment::Of(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return *static_cast<Environment*>(data);
}

napi_value Environment::NewDescriptor(UniqueFd fd) {
  return Wrapped<Descriptor>::New(env, descriptor_class, std::make_unique<Descriptor>(std::move(fd)));
}

Buffer Environment::TakeBuffer() {
  if (spare_buffers_.empty()) return {};
  Buffer buffer = std::move(spare_buffers_.back());
  spare_buffers_.pop_back();
  return buffer;
}

void Environment::ReturnBuffer(Buffer buffer) {
  // One for each thread of libuv's default pool. One that had to grow is let go: it was touched to its end.
  if (spare_buffers_.size() < 4 && buffer.size == Buffer::kInitial) spare_buffers_.push_back(std::move(buffer));
}

Failure Environment::Listen(std::shared_ptr<Listener> listener, uint64_t* id) {
  if (!mailbox->IsOpen()) {
    if (mailbox->Open(env, Deliver, this) != napi_ok) return {ENOMEM, "napi_create_threadsafe_function"};
    // Hooks run in the reverse order of their making: this one before the thread-safe function's own, so that no
    // thread is left to call it.
    napi_add_env_cleanup_hook(env, End, this);
  }
  *id = ++last_id_;
  listeners_.emplace(*id, std::move(listener));
  return {};
}

void Environment::Deliver(napi_env env, napi_value, void* context, void* data) {
  if (!env) return;
  auto* self = static_cast<Environment*>(context);
  const Letter letter = Letter::Of(data);
  const auto found = self->listeners_.find(letter.id);
  // Closed while the letter was under way.
  if (found == self->listeners_.end()) return;
  const std::shared_ptr<Listener> listener = found->second;
  listener->Receive(letter.value);
}

void Environment::End(void* data) {
  auto* self = static_cast<Environment*>(data);
  self->poller.Stop();
  for (const auto& [id, listener] : self->listeners_) listener->Abandon();
  self->listeners_.clear();
  self->mailbox->Close();
}

napi_value NewBytes(napi_env env, const void* data, size_t size) {
  void* target = nullptr;
  napi_value buffer = nullptr, bytes = nullptr;
  if (napi_create_arraybuffer(env, size, &target, &buffer) != napi_ok) return nullptr;
  if (size > 0) std::memcpy(target, data, size);
  napi_create_typedarray(env, napi_uint8_array, size, buffer, 0, &bytes);
  return bytes;
}

}  // namespace linkwright
