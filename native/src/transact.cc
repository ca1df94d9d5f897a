// One datagram of netlink requests, and all the replies to it.
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include "arguments.h"
#include "clock.h"
#include "environment.h"
#include "functions.h"
#include "replies.h"

namespace linkwright {

namespace {

// No netlink datagram comes near it: dumps are cut at 32 KiB, and one link with 256 virtual functions has about 100.
constexpr size_t kLargestDatagram = 512 * 1024;

struct Exchange {
  int fd;
  std::span<const uint8_t> datagram;
  Replies replies;
  int64_t timeout;
  Buffer buffer;
  // Bytes of replies at the buffer's beginning.
  size_t used = 0;

  Failure Run();
  Failure Receive();
  Failure Wait(int64_t deadline) const;
  void Drain(int64_t deadline) const;
};

Failure Exchange::Run() {
  const int64_t deadline = Now() + timeout;
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const auto send = [&] {
    return sendto(fd, datagram.data(), datagram.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
  };
  if (Retry(send) < 0) return LastFailure("sendto");
  // The kernel answers most requests before sendto returns, so waiting is the exception.
  while (!replies.Complete()) {
    Failure failure = Receive();
    if (failure.number == EAGAIN) failure = Wait(deadline);
    if (failure.number == ENOBUFS) Drain(deadline);
    if (failure) return failure;
  }
  return {};
}

Failure Exchange::Receive() {
  if (!buffer.Reserve(used + kLargestDatagram + NLMSG_ALIGNTO)) return {ENOMEM, "malloc"};
  uint8_t* data = buffer.data + used;
  sockaddr_nl sender{};
  iovec vector{data, kLargestDatagram};
  msghdr message{};
  message.msg_name = &sender;
  message.msg_namelen = sizeof sender;
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  const ssize_t size = Retry([&] { return recvmsg(fd, &message, MSG_DONTWAIT); });
  if (size < 0) return LastFailure("recvmsg");
  if (message.msg_flags & MSG_TRUNC) return {EMSGSIZE, "recvmsg"};
  // Any process may send to our port; only the kernel sends from port 0.
  if (message.msg_namelen < sizeof sender || sender.nl_family != AF_NETLINK || sender.nl_pid != 0) return {};
  const int64_t kept = replies.Take(data, data, static_cast<size_t>(size));
  if (kept < 0) return {EBADMSG, "recvmsg"};
  used += static_cast<size_t>(kept);
  return {};
}

Failure Exchange::Wait(int64_t deadline) const {
  const int64_t left = deadline - Now();
  if (left <= 0) return {ETIMEDOUT, "recvmsg"};
  pollfd wanted{fd, POLLIN, 0};
  const int ready = poll(&wanted, 1, WholeMilliseconds(left));
  return ready < 0 && errno != EINTR ? LastFailure("poll") : Failure{};
}

// Once its receive buffer has overrun, a socket silently gets nothing more until it was read empty: the next exchange
// would hear no answer.
void Exchange::Drain(int64_t deadline) const {
  uint8_t byte;
  while (recv(fd, &byte, sizeof byte, MSG_DONTWAIT) >= 0 && Now() < deadline) {
  }
}

// Reads the arguments of both functions; `datagram` and `fd` come last because they must outlast no JavaScript.
struct Request {
  Replies::Expectation expected;
  int64_t timeout;
  Descriptor& socket;
  std::span<const uint8_t> datagram;

  explicit Request(Arguments& arguments)
      : expected(ReadExpectation(arguments)),
        timeout(arguments.Milliseconds(arguments.Property(arguments[2], "timeout"), "options.timeout")),
        socket(arguments.DescriptorOf(arguments[0], "socket")),
        datagram(arguments.Bytes(arguments[1], "datagram")) {}

  static Replies::Expectation ReadExpectation(Arguments& arguments) {
    const napi_value options = arguments.Object(arguments[2], "options");
    const auto read = [&](const char* name, const char* what, int64_t least) {
      return arguments.Integer(arguments.Property(options, name), what, least, UINT32_MAX);
    };
    Replies::Expectation expected;
    expected.first = static_cast<uint32_t>(read("firstSeq", "options.firstSeq", 0));
    expected.last = static_cast<uint32_t>(read("lastSeq", "options.lastSeq", 0));
    expected.closings = static_cast<uint32_t>(read("expected", "options.expected", 0));
    expected.abort = read("abortSeq", "options.abortSeq", -1);
    return expected;
  }
};

// The thread works on a copy of the bytes and holds the file open, whatever JavaScript does meanwhile.
struct Work {
  Work(const Request& request, Buffer buffer)
      : handle(request.socket.handle()),
        datagram(request.datagram.begin(), request.datagram.end()),
        exchange{request.socket.fd(), datagram, Replies(request.expected), request.timeout, std::move(buffer)} {}

  const std::shared_ptr<Handle> handle;
  const std::vector<uint8_t> datagram;
  Exchange exchange;
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
  Failure failure;
};

void Execute(napi_env, void* data) {
  auto* work = static_cast<Work*>(data);
  work->failure = work->exchange.Run();
}

void Complete(napi_env env, napi_status, void* data) {
  const std::unique_ptr<Work> work(static_cast<Work*>(data));
  Exchange& exchange = work->exchange;
  // All of this fails, and may, where the environment ended meanwhile.
  napi_delete_async_work(env, work->work);
  if (work->failure) {
    napi_reject_deferred(env, work->deferred, MakeSystemError(env, work->failure));
  } else {
    napi_resolve_deferred(env, work->deferred, NewBytes(env, exchange.buffer.data, exchange.used));
  }
  Environment::Of(env).ReturnBuffer(std::move(exchange.buffer));
}

}  // namespace

Napi::Value TransactSync(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "transactSync");
  const Request request(arguments);
  if (!arguments.ok()) return {};
  Environment& environment = Environment::Of(info.Env());
  Exchange exchange{request.socket.fd(), request.datagram, Replies(request.expected), request.timeout,
                    environment.TakeBuffer()};
  const Failure failure = exchange.Run();
  napi_value result = failure ? nullptr : NewBytes(info.Env(), exchange.buffer.data, exchange.used);
  environment.ReturnBuffer(std::move(exchange.buffer));
  return failure ? arguments.Throw(failure) : arguments.Return(result);
}

Napi::Value Transact(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "transact");
  const napi_env env = info.Env();
  const Request request(arguments);
  if (!arguments.ok()) return {};
  auto work = std::make_unique<Work>(request, Environment::Of(env).TakeBuffer());
  napi_value promise = nullptr, name = nullptr;
  napi_create_string_utf8(env, "linkwright.transact", NAPI_AUTO_LENGTH, &name);
  if (napi_create_promise(env, &work->deferred, &promise) != napi_ok ||
      napi_create_async_work(env, nullptr, name, Execute, Complete, work.get(), &work->work) != napi_ok ||
      napi_queue_async_work(env, work->work) != napi_ok) {
    return arguments.Throw({ENOMEM, "napi_queue_async_work"});
  }
  work.release();
  return arguments.Return(promise);
}

}  // namespace linkwright
