// Accepting connections on a thread of its own, which answers the one question that most of them begin with: a caller
// who has milliseconds gets an answer however busy JavaScript is.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cstring>
#include <deque>
#include <mutex>

#include "arguments.h"
#include "environment.h"
#include "functions.h"
#include "object.h"
#include "thread.h"

namespace linkwright {

namespace {

// Connections that wait for JavaScript at most; more wait in the kernel's queue.
constexpr size_t kMostWaiting = 256;
// Milliseconds in which the question has to come; who is slower is JavaScript's.
constexpr int kPatience = 10;
constexpr size_t kMostBytes = 64;

struct Arrival {
  UniqueFd fd;
  bool answered;
};

// What the thread and JavaScript share.
struct Hall {
  std::vector<uint8_t> question;
  std::vector<uint8_t> answer;
  uid_t uid = 0;

  std::mutex mutex;
  std::deque<Arrival> waiting;
  // Nothing more is accepted: the end has come; or until JavaScript has seen to what waits, or to what went wrong.
  bool ended = false;
  bool paused = false;
  bool failed = false;

  bool Answer(int fd) const;
};

bool Hall::Answer(int fd) const {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid != uid) return false;
  pollfd ready{fd, POLLIN, 0};
  if (Retry([&] { return poll(&ready, 1, kPatience); }) <= 0) return false;
  uint8_t said[kMostBytes];
  iovec vector{said, question.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  // A look only: descriptors that came along and everything else that is odd are left for JavaScript to find.
  const ssize_t length = recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (length != static_cast<ssize_t>(question.size()) || (message.msg_flags & MSG_CTRUNC) ||
      std::memcmp(said, question.data(), question.size()) != 0) {
    return false;
  }
  // Where this fails the peer is gone, which JavaScript notices by reading.
  if (recv(fd, said, question.size(), MSG_DONTWAIT) != length) return false;
  send(fd, answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return true;
}

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
    for (;;) {
      bool paused;
      {
        const std::lock_guard lock(hall_->mutex);
        if (hall_->ended) return;
        paused = hall_->paused;
      }
      pollfd fds[] = {{wake_.get(), POLLIN, 0}, {fd_, POLLIN, 0}};
      if (poll(fds, paused ? 1 : 2, -1) < 0) continue;
      eventfd_t count;
      if (fds[0].revents) eventfd_read(wake_.get(), &count);
      if (!paused && fds[1].revents) Accept();
    }
  }

  void Accept() {
    UniqueFd fd(accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid() && (errno == EINTR || errno == ECONNABORTED || errno == EAGAIN)) return;
    const bool answered = fd.valid() && hall_->Answer(fd.get());
    {
      const std::lock_guard lock(hall_->mutex);
      if (fd.valid()) hall_->waiting.push_back({std::move(fd), answered});
      else hall_->failed = true;
      if (hall_->failed || hall_->waiting.size() >= kMostWaiting) hall_->paused = true;
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
  const napi_value callback = arguments.Callback(arguments[4], "callback");
  Descriptor& listener = arguments.DescriptorOf(arguments[0], "listener");
  auto hall = std::make_unique<Hall>();
  hall->uid = uid;
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
