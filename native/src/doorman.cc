// Accepting connections on a thread of its own, which answers the one question that most of them begin with: a caller
// who has milliseconds gets an answer however busy JavaScript is.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <optional>

#include "arguments.h"
#include "clock.h"
#include "environment.h"
#include "functions.h"
#include "hall.h"
#include "object.h"
#include "thread.h"

namespace linkwright {

namespace {

// Connections that may wait for JavaScript; more wait in the kernel's queue.
constexpr int kMostAhead = 256;
// In which the question has to come; who is slower is JavaScript's.
constexpr int64_t kPatience = 10 * kMillisecond;
// Those who have not said anything yet. Where there are more the first of them are JavaScript's at once.
constexpr size_t kMostSilent = 64;

struct Silent {
  UniqueFd fd;
  int64_t until;
};

class Doorman final : public Listener, public Dependent, public std::enable_shared_from_this<Doorman> {
 public:
  Doorman(Environment& environment, Descriptor& listener, std::unique_ptr<Hall> hall)
      : environment_(environment), listener_(listener), hall_(std::move(hall)), fd_(listener.fd()) {}

  Failure Start(napi_value descriptor, napi_value callback) {
    wake_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_.valid()) return LastFailure("eventfd");
    if (const Failure failure = environment_.Listen(shared_from_this(), &id_)) return failure;
    mailbox_ = environment_.mailbox;
    const auto run = [](void* self) -> void* {
      static_cast<Doorman*>(self)->Run();
      return nullptr;
    };
    if (const Failure failure = StartThread(run, this, false, &thread_)) {
      environment_.Forget(id_);
      return failure;
    }
    napi_create_reference(environment_.env, descriptor, 1, &descriptor_object_);
    napi_create_reference(environment_.env, callback, 1, &callback_);
    listener_.Attach(this);
    open_ = true;
    environment_.mailbox->Ref(environment_.env);
    return {};
  }

  // Those who have been answered are handed over before it returns: nobody is forgotten.
  void Close() {
    if (!open_) return;
    const std::shared_ptr<Doorman> self = shared_from_this();
    Join();
    Deliver();
    if (open_) {
      listener_.Detach(this);
      DescriptorClosed();
    }
  }

  void DescriptorClosed() override {
    Join();
    Release();
    // May destroy this.
    environment_.Forget(id_);
  }

  void Receive(uint16_t) override {
    const std::shared_ptr<Doorman> self = shared_from_this();
    const bool failed = Deliver();
    if (open_ && failed) Tell(nullptr, false);
    if (!open_) return;
    const std::lock_guard lock(hall_->mutex);
    if (!std::exchange(hall_->paused, false)) return;
    eventfd_write(wake_.get(), 1);
  }

  void Abandon() override {
    Join();
    listener_.Detach(this);
    Release();
  }

 private:
  // The thread.
  void Run() {
    std::vector<pollfd> fds;
    while (const std::optional<bool> paused = Look()) {
      fds.assign({{wake_.get(), POLLIN, 0}, {*paused ? -1 : fd_, POLLIN, 0}});
      for (const Silent& one : silent_) fds.push_back({one.fd.get(), POLLIN, 0});
      if (poll(fds.data(), fds.size(), Patience()) < 0) continue;
      eventfd_t count;
      if (fds[0].revents) eventfd_read(wake_.get(), &count);
      HearSilent(fds);
      if (fds[1].revents) Accept();
    }
    while (!silent_.empty()) HandOverFirst();
  }

  // Whether it is paused; nothing at the end.
  std::optional<bool> Look() {
    const std::lock_guard lock(hall_->mutex);
    return hall_->ended ? std::nullopt : std::optional(hall_->paused);
  }

  // Milliseconds until one has been silent for too long; -1 where there is none.
  int Patience() const {
    if (silent_.empty()) return -1;
    return WholeMilliseconds(std::max<int64_t>(0, silent_.front().until - Now()));
  }

  // Those of the silent ones that have said something by now, or are too late. The first two of `fds` are not theirs.
  void HearSilent(const std::vector<pollfd>& fds) {
    const int64_t now = Now();
    std::deque<Silent> all;
    all.swap(silent_);
    for (size_t i = 0; i < all.size(); i++) {
      if (fds[i + 2].revents) Greet(std::move(all[i].fd));
      else if (all[i].until <= now) HandOver(std::move(all[i].fd), false);
      else silent_.push_back(std::move(all[i]));
    }
  }

  void Accept() {
    UniqueFd fd(accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid() && (errno == EINTR || errno == ECONNABORTED || errno == EAGAIN)) return;
    if (!fd.valid()) {
      {
        const std::lock_guard lock(hall_->mutex);
        hall_->failed = hall_->paused = true;
      }
      mailbox_->Post({id_, 0});
    } else if (!hall_->Knows(fd.get())) {
      HandOver(std::move(fd), false);
    } else if (hall_->Hear(fd.get()) == Said::kNothing) {
      silent_.push_back({std::move(fd), Now() + kPatience});
      if (silent_.size() > kMostSilent) HandOverFirst();
    } else {
      Greet(std::move(fd));
    }
  }

  // Whoever is greeted while as many wait as may is counted by JavaScript before it is answered.
  void Greet(UniqueFd fd) {
    const std::optional<bool> paused = Look();
    const bool answered =
        paused && !*paused && hall_->Hear(fd.get()) == Said::kQuestion && hall_->Answer(fd.get());
    HandOver(std::move(fd), answered);
  }

  void HandOverFirst() {
    HandOver(std::move(silent_.front().fd), false);
    silent_.pop_front();
  }

  void HandOver(UniqueFd fd, bool answered) {
    {
      const std::lock_guard lock(hall_->mutex);
      hall_->waiting.push_back({std::move(fd), answered});
      if (hall_->waiting.size() >= hall_->ahead) hall_->paused = true;
    }
    mailbox_->Post({id_, 0});
  }

  // JavaScript's. Returns whether accepting has failed.
  bool Deliver() {
    bool failed;
    {
      const std::lock_guard lock(hall_->mutex);
      for (Arrival& arrival : hall_->waiting) arrived_.push_back(std::move(arrival));
      hall_->waiting.clear();
      failed = std::exchange(hall_->failed, false);
    }
    // A callback may close this, which then hands over the rest.
    while (!arrived_.empty()) {
      Arrival arrival = std::move(arrived_.front());
      arrived_.pop_front();
      Tell(environment_.NewDescriptor(std::move(arrival.fd)), arrival.answered);
    }
    return failed;
  }

  void Tell(napi_value socket, bool answered) {
    const napi_env env = environment_.env;
    napi_value callback = nullptr, undefined = nullptr, arguments[2] = {socket, nullptr};
    napi_get_undefined(env, &undefined);
    if (!socket) napi_get_null(env, &arguments[0]);
    napi_get_boolean(env, answered, &arguments[1]);
    if (!callback_ || napi_get_reference_value(env, callback_, &callback) != napi_ok) return;
    if (napi_call_function(env, undefined, callback, 2, arguments, nullptr) != napi_pending_exception) return;
    napi_value error = nullptr;
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
  }

  // Ends the thread: the listener is not touched after.
  void Join() {
    if (std::exchange(joined_, true)) return;
    {
      const std::lock_guard lock(hall_->mutex);
      hall_->ended = true;
    }
    eventfd_write(wake_.get(), 1);
    pthread_join(thread_, nullptr);
  }

  void Release() {
    if (!std::exchange(open_, false)) return;
    environment_.mailbox->Unref(environment_.env);
    napi_delete_reference(environment_.env, std::exchange(callback_, nullptr));
    napi_delete_reference(environment_.env, descriptor_object_);
  }

  Environment& environment_;
  Descriptor& listener_;
  const std::unique_ptr<Hall> hall_;
  const int fd_;
  std::shared_ptr<Mailbox> mailbox_;
  UniqueFd wake_;
  pthread_t thread_{};
  uint64_t id_ = 0;
  // The thread's alone.
  std::deque<Silent> silent_;
  // On their way to JavaScript.
  std::deque<Arrival> arrived_;
  bool open_ = false;
  bool joined_ = false;
  napi_ref callback_ = nullptr;
  napi_ref descriptor_object_ = nullptr;
};

using DoormanObject = std::shared_ptr<Doorman>;

napi_value CloseDoorman(napi_env env, napi_callback_info info) {
  napi_value self = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, &self, nullptr);
  if (auto* object = Wrapped<DoormanObject>::Unwrap(env, self)) {
    const DoormanObject doorman = *object;
    doorman->Close();
  } else {
    ThrowTypeError(env, "not a Doorman of this addon");
  }
  return nullptr;
}

napi_value NewDoorman(napi_env env, const DoormanObject& doorman) {
  const napi_property_descriptor close = {"close", nullptr, CloseDoorman, nullptr, nullptr,
                                          nullptr, napi_default_method, nullptr};
  napi_ref constructor = nullptr;
  napi_value type = Wrapped<DoormanObject>::Define(env, "Doorman", 1, &close);
  if (!type || napi_create_reference(env, type, 1, &constructor) != napi_ok) return nullptr;
  napi_value object = Wrapped<DoormanObject>::New(env, constructor, std::make_unique<DoormanObject>(doorman));
  napi_delete_reference(env, constructor);
  return object;
}

}  // namespace

Napi::Value AcceptAnswering(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "acceptAnswering");
  const auto uid = static_cast<uid_t>(arguments.Integer(arguments[3], "uid", 0, UINT32_MAX));
  const auto ahead = static_cast<size_t>(arguments.Integer(arguments[4], "ahead", 1, kMostAhead));
  const napi_value callback = arguments.Callback(arguments[5], "callback");
  Descriptor& listener = arguments.DescriptorOf(arguments[0], "listener");
  auto hall = std::make_unique<Hall>();
  hall->uid = uid;
  hall->ahead = ahead;
  const auto copy = [&](size_t index, const char* what, std::vector<uint8_t>* to) {
    const std::span<uint8_t> bytes = arguments.Bytes(arguments[index], what);
    if (bytes.empty() || bytes.size() > kMostBytes) arguments.Refuse(what, "1 to 64 bytes");
    else to->assign(bytes.begin(), bytes.end());
  };
  copy(1, "question", &hall->question);
  copy(2, "answer", &hall->answer);
  if (!arguments.ok()) return {};
  if (listener.fd() < 0) return arguments.Throw({EBADF, "accept4"});
  Environment& environment = Environment::Of(info.Env());
  const auto doorman = std::make_shared<Doorman>(environment, listener, std::move(hall));
  if (const Failure failure = doorman->Start(arguments[0], callback)) return arguments.Throw(failure);
  napi_value object = NewDoorman(info.Env(), doorman);
  if (!object) doorman->Close();
  return arguments.Return(object);
}

}  // namespace linkwright
