// Watches: a descriptor, a callback, and the poller between them.
#include "arguments.h"
#include "environment.h"
#include "functions.h"
#include "object.h"

namespace linkwright {

namespace {

class Watch final : public Listener, public Dependent, public std::enable_shared_from_this<Watch> {
 public:
  Watch(Environment& environment, Descriptor& descriptor, uint32_t events)
      : environment_(environment), descriptor_(descriptor), events_(events) {}

  // Holds the callback, and the Descriptor object too: it must not be collected while it is watched.
  Failure Start(napi_value descriptor, napi_value callback) {
    if (const Failure failure = environment_.Listen(shared_from_this(), &id_)) return failure;
    fd_ = descriptor_.fd();
    if (const Failure failure = environment_.poller.Add(environment_.mailbox, fd_, events_, id_)) {
      environment_.Forget(id_);
      return failure;
    }
    napi_create_reference(environment_.env, descriptor, 1, &descriptor_object_);
    napi_create_reference(environment_.env, callback, 1, &callback_);
    descriptor_.Attach(this);
    open_ = true;
    Ref();
    return {};
  }

  void Close() {
    if (!open_) return;
    descriptor_.Detach(this);
    DescriptorClosed();
  }

  void Ref() {
    if (open_ && !std::exchange(referenced_, true)) environment_.mailbox->Ref(environment_.env);
  }

  void Unref() {
    if (std::exchange(referenced_, false)) environment_.mailbox->Unref(environment_.env);
  }

  void DescriptorClosed() override {
    Unref();
    environment_.poller.Remove(fd_);
    Release();
    // May destroy this.
    environment_.Forget(id_);
  }

  void Receive(uint16_t events) override {
    const napi_env env = environment_.env;
    napi_value callback = nullptr, argument = nullptr, undefined = nullptr;
    napi_get_undefined(env, &undefined);
    napi_create_uint32(env, events, &argument);
    if (napi_get_reference_value(env, callback_, &callback) == napi_ok &&
        napi_call_function(env, undefined, callback, 1, &argument, nullptr) == napi_pending_exception) {
      napi_value error = nullptr;
      if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
    }
    if (!open_) return;
    if (const Failure failure = environment_.poller.Rearm(fd_, events_, id_)) {
      // Somebody else closed the number under us.
      Close();
      if (napi_value error = MakeSystemError(env, failure)) napi_fatal_exception(env, error);
    }
  }

  void Abandon() override {
    descriptor_.Detach(this);
    Release();
  }

 private:
  void Release() {
    open_ = referenced_ = false;
    napi_delete_reference(environment_.env, callback_);
    napi_delete_reference(environment_.env, descriptor_object_);
  }

  Environment& environment_;
  Descriptor& descriptor_;
  const uint32_t events_;
  uint64_t id_ = 0;
  int fd_ = -1;
  bool open_ = false;
  bool referenced_ = false;
  napi_ref callback_ = nullptr;
  napi_ref descriptor_object_ = nullptr;
};

// The native half of a Watch object. The watch itself goes on when the object is collected.
using WatchObject = std::shared_ptr<Watch>;

template <void (Watch::*method)()>
napi_value Method(napi_env env, napi_callback_info info) {
  napi_value self = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, &self, nullptr);
  if (auto* object = Wrapped<WatchObject>::Unwrap(env, self)) {
    const WatchObject watch = *object;
    (*watch.*method)();
  } else {
    ThrowTypeError(env, "not a Watch of this addon");
  }
  return nullptr;
}

}  // namespace

napi_value DefineWatch(napi_env env) {
  const napi_property_descriptor properties[] = {
      {"close", nullptr, Method<&Watch::Close>, nullptr, nullptr, nullptr, napi_default_method, nullptr},
      {"ref", nullptr, Method<&Watch::Ref>, nullptr, nullptr, nullptr, napi_default_method, nullptr},
      {"unref", nullptr, Method<&Watch::Unref>, nullptr, nullptr, nullptr, napi_default_method, nullptr},
  };
  return Wrapped<WatchObject>::Define(env, "Watch", std::size(properties), properties);
}

Napi::Value StartWatch(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "watch");
  // Every EPOLL* bit that says when; not the flags that say how (EPOLLET, EPOLLONESHOT).
  const auto events = static_cast<uint32_t>(arguments.Integer(arguments[1], "events", 0, UINT16_MAX));
  const napi_value callback = arguments.Callback(arguments[2], "callback");
  Descriptor& descriptor = arguments.DescriptorOf(arguments[0], "descriptor");
  if (!arguments.ok()) return {};
  Environment& environment = Environment::Of(info.Env());
  const auto watch = std::make_shared<Watch>(environment, descriptor, events);
  if (const Failure failure = watch->Start(arguments[0], callback)) return arguments.Throw(failure);
  napi_value object =
      Wrapped<WatchObject>::New(info.Env(), environment.watch_class, std::make_unique<WatchObject>(watch));
  if (!object) watch->Close();
  return arguments.Return(object);
}

}  // namespace linkwright
