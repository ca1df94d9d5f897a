// flock(2) with and without waiting.
#include <sys/file.h>

#include "arguments.h"
#include "environment.h"
#include "functions.h"
#include "thread.h"

namespace linkwright {

namespace {

// Zero or errno.
int Lock(int fd, int operation) {
  return Retry([&] { return flock(fd, operation); }) < 0 ? errno : 0;
}

// What the waiting thread owns. It can't be woken, so it may outlive the descriptor and the environment, and does
// nothing then but let go of the lock that nobody wants any more.
struct Waiter {
  std::shared_ptr<Handle> handle;
  int operation;
  std::shared_ptr<Mailbox> mailbox;
  uint64_t id;

  static void* Run(void* data) {
    const std::unique_ptr<Waiter> self(static_cast<Waiter*>(data));
    const int number = Lock(self->handle->fd.get(), self->operation);
    // Whoever comes second sees what the first did: either this sees `closed`, or the closing side, which sets it
    // before it unlocks, unlocks what was got here. Closing the number alone would not do, the open file that holds
    // the lock may be shared with other processes.
    if (self->handle->closed || !self->mailbox->Post({self->id, static_cast<uint16_t>(number)})) {
      if (number == 0) Lock(self->handle->fd.get(), LOCK_UN);
    }
    return nullptr;
  }
};

// The promise of a lock that somebody else holds.
class PendingLock final : public Listener, public Dependent, public std::enable_shared_from_this<PendingLock> {
 public:
  PendingLock(Environment& environment, Descriptor& descriptor)
      : environment_(environment), descriptor_(descriptor), handle_(descriptor.handle()) {}

  Failure Start(napi_value descriptor, int operation, napi_value* promise) {
    if (const Failure failure = environment_.Listen(shared_from_this(), &id_)) return failure;
    auto waiter = std::make_unique<Waiter>(Waiter{handle_, operation, environment_.mailbox, id_});
    pthread_t thread;
    if (const Failure failure = StartThread(Waiter::Run, waiter.get(), true, &thread)) {
      environment_.Forget(id_);
      return failure;
    }
    waiter.release();
    napi_create_promise(environment_.env, &deferred_, promise);
    napi_create_reference(environment_.env, descriptor, 1, &descriptor_object_);
    descriptor_.Attach(this);
    environment_.mailbox->Ref(environment_.env);
    return {};
  }

  void Receive(uint16_t number) override {
    descriptor_.Detach(this);
    Settle({number, "flock"});
  }

  void DescriptorClosed() override {
    Lock(handle_->fd.get(), LOCK_UN);
    Settle({EBADF, "flock"});
  }

  void Abandon() override {
    descriptor_.Detach(this);
    handle_->closed = true;
    Lock(handle_->fd.get(), LOCK_UN);
    napi_delete_reference(environment_.env, descriptor_object_);
  }

 private:
  void Settle(const Failure& failure) {
    const napi_env env = environment_.env;
    napi_handle_scope scope = nullptr;
    napi_open_handle_scope(env, &scope);
    napi_value undefined = nullptr;
    napi_get_undefined(env, &undefined);
    if (failure) {
      napi_reject_deferred(env, deferred_, MakeSystemError(env, failure));
    } else {
      napi_resolve_deferred(env, deferred_, undefined);
    }
    napi_delete_reference(env, descriptor_object_);
    napi_close_handle_scope(env, scope);
    environment_.mailbox->Unref(env);
    // May destroy this.
    environment_.Forget(id_);
  }

  Environment& environment_;
  Descriptor& descriptor_;
  const std::shared_ptr<Handle> handle_;
  uint64_t id_ = 0;
  napi_deferred deferred_ = nullptr;
  napi_ref descriptor_object_ = nullptr;
};

int ReadOperation(Arguments& arguments) {
  const int operation = arguments.Int(arguments[1], "operation");
  if (operation == LOCK_SH || operation == LOCK_EX || operation == LOCK_UN) return operation;
  arguments.Refuse("operation", "1 (LOCK_SH), 2 (LOCK_EX) or 8 (LOCK_UN)");
  return LOCK_UN;
}

}  // namespace

Napi::Value TryFlock(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "tryFlock");
  const int operation = ReadOperation(arguments);
  const int fd = arguments.DescriptorOf(arguments[0], "descriptor").fd();
  if (!arguments.ok()) return {};
  const int number = Lock(fd, operation | LOCK_NB);
  if (number != 0 && number != EWOULDBLOCK) return arguments.Throw({number, "flock"});
  return Napi::Boolean::New(info.Env(), number == 0);
}

Napi::Value Flock(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "flock");
  const int operation = ReadOperation(arguments);
  Descriptor& descriptor = arguments.DescriptorOf(arguments[0], "descriptor");
  if (!arguments.ok()) return {};
  const napi_env env = info.Env();
  Failure failure{Lock(descriptor.fd(), operation | LOCK_NB), "flock"};
  napi_value promise = nullptr;
  if (failure.number == EWOULDBLOCK) {
    const auto lock = std::make_shared<PendingLock>(Environment::Of(env), descriptor);
    failure = lock->Start(arguments[0], operation, &promise);
    if (!failure) return arguments.Return(promise);
  }
  napi_deferred deferred = nullptr;
  if (napi_create_promise(env, &deferred, &promise) != napi_ok) return {};
  if (failure) {
    napi_reject_deferred(env, deferred, MakeSystemError(env, failure));
  } else {
    napi_resolve_deferred(env, deferred, arguments.Undefined());
  }
  return arguments.Return(promise);
}

}  // namespace linkwright
