// Sockets of every family: addresses and options are bytes, TypeScript knows their structs.
#include <linux/filter.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "arguments.h"
#include "environment.h"
#include "functions.h"

namespace linkwright {

namespace {

// SCM_MAX_FD of the kernel.
constexpr size_t kMostDescriptors = 253;

// A struct sockaddr of any family; JavaScript's bytes need not be aligned for one.
struct Address {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;

  Address() = default;
  Address(Arguments& arguments, napi_value value) {
    const std::span<const uint8_t> bytes = arguments.Bytes(value, "address");
    if (bytes.size() > sizeof storage) {
      arguments.Refuse("address", "a struct sockaddr of at most 128 bytes");
      return;
    }
    size = static_cast<socklen_t>(bytes.size());
    // Not memcpy: the bytes of an empty Uint8Array are a null pointer.
    std::ranges::copy(bytes, reinterpret_cast<uint8_t*>(&storage));
  }

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

using Control = std::array<uint8_t, CMSG_SPACE(kMostDescriptors * sizeof(int))>;

int Fd(Arguments& arguments) { return arguments.DescriptorOf(arguments[0], "socket").fd(); }

// The descriptors that came with a message; every one is owned, whatever becomes of the message.
std::vector<UniqueFd> Passed(msghdr& message) {
  std::vector<UniqueFd> result;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    for (size_t offset = 0; offset + sizeof(int) <= part->cmsg_len - CMSG_LEN(0); offset += sizeof(int)) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + offset, sizeof fd);
      result.emplace_back(fd);
    }
  }
  return result;
}

}  // namespace

Napi::Value Bind(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "bind");
  Address address(arguments, arguments[1]);
  const int fd = Fd(arguments);
  if (!arguments.ok()) return {};
  if (bind(fd, address.get(), address.size) < 0) return arguments.Throw(LastFailure("bind"));
  return arguments.Undefined();
}

Napi::Value Connect(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "connect");
  Address address(arguments, arguments[1]);
  const int fd = Fd(arguments);
  if (!arguments.ok()) return {};
  if (connect(fd, address.get(), address.size) < 0) return arguments.Throw(LastFailure("connect"));
  return arguments.Undefined();
}

Napi::Value Listen(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "listen");
  const int backlog = arguments.Int(arguments[1], "backlog");
  const int fd = Fd(arguments);
  if (!arguments.ok()) return {};
  if (listen(fd, backlog) < 0) return arguments.Throw(LastFailure("listen"));
  return arguments.Undefined();
}

Napi::Value Shutdown(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "shutdown");
  const int how = arguments.Int(arguments[1], "how");
  const int fd = Fd(arguments);
  if (!arguments.ok()) return {};
  if (shutdown(fd, how) < 0) return arguments.Throw(LastFailure("shutdown"));
  return arguments.Undefined();
}

Napi::Value Accept(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "accept");
  const int fd = Fd(arguments);
  if (!arguments.ok()) return {};
  UniqueFd connection;
  do {
    connection.Reset(accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    // A peer that was gone before we came is nobody's error.
  } while (!connection.valid() && (errno == EINTR || errno == ECONNABORTED));
  if (!connection.valid() && errno == EAGAIN) return info.Env().Null();
  if (!connection.valid()) return arguments.Throw(LastFailure("accept4"));
  return arguments.Return(Environment::Of(info.Env()).NewDescriptor(std::move(connection)));
}

Napi::Value GetSockName(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "getsockname");
  Address address;
  const int fd = Fd(arguments);
  if (!arguments.ok()) return {};
  if (getsockname(fd, address.get(), &address.size) < 0) return arguments.Throw(LastFailure("getsockname"));
  return arguments.Return(NewBytes(info.Env(), &address.storage, address.size));
}

Napi::Value Send(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "send");
  std::vector<napi_value> passed;
  if (!arguments.IsNullish(arguments[3])) passed = arguments.List(arguments[3], "descriptors");
  if (passed.size() > kMostDescriptors) arguments.Refuse("descriptors", "at most 253");
  std::vector<int> fds;
  for (napi_value value : passed) fds.push_back(arguments.DescriptorOf(value, "descriptors[]").fd());
  Address address;
  const bool to = !arguments.IsNullish(arguments[2]);
  if (to) address = Address(arguments, arguments[2]);
  const int fd = Fd(arguments);
  const std::span<uint8_t> data = arguments.Bytes(arguments[1], "data");
  if (!arguments.ok()) return {};

  iovec vector{data.data(), data.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (to) {
    message.msg_name = address.get();
    message.msg_namelen = address.size;
  }
  alignas(cmsghdr) Control control{};
  if (!fds.empty()) {
    const size_t size = fds.size() * sizeof(int);
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(size);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    std::memcpy(CMSG_DATA(header), fds.data(), size);
  }
  const ssize_t sent = Retry([&] { return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL); });
  if (sent < 0 && errno != EAGAIN) return arguments.Throw(LastFailure("sendmsg"));
  return Napi::Number::New(info.Env(), static_cast<double>(sent));
}

Napi::Value Receive(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "receive");
  const napi_env env = info.Env();
  const auto size = static_cast<size_t>(arguments.Integer(arguments[1], "size", 1, Buffer::kInitial));
  const int fd = Fd(arguments);
  if (!arguments.ok()) return {};
  Environment& environment = Environment::Of(env);
  Buffer buffer = environment.TakeBuffer();
  if (!buffer.Reserve(size)) return arguments.Throw({ENOMEM, "malloc"});

  Address address;
  alignas(cmsghdr) Control control;
  iovec vector{buffer.data, size};
  msghdr message{};
  message.msg_name = address.get();
  message.msg_namelen = address.size;
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const auto receive = [&](int flags) { return Retry([&] { return recvmsg(fd, &message, flags); }); };
  ssize_t received = receive(MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  // Packet sockets pass no descriptors and refuse the flag for them.
  if (received < 0 && errno == EINVAL) received = receive(MSG_DONTWAIT);
  const int number = received < 0 ? errno : 0;
  napi_value bytes = number ? nullptr : NewBytes(env, buffer.data, static_cast<size_t>(received));
  environment.ReturnBuffer(std::move(buffer));
  if (number == EAGAIN) return info.Env().Null();
  if (number) return arguments.Throw({number, "recvmsg"});

  std::vector<UniqueFd> passed = Passed(message);
  napi_value result = nullptr, descriptors = nullptr, flags = nullptr;
  napi_create_array_with_length(env, passed.size(), &descriptors);
  for (uint32_t index = 0; index < passed.size(); index++) {
    napi_set_element(env, descriptors, index, environment.NewDescriptor(std::move(passed[index])));
  }
  // The kernel leaves our own request among them.
  napi_create_int32(env, message.msg_flags & ~MSG_CMSG_CLOEXEC, &flags);
  napi_create_object(env, &result);
  napi_set_named_property(env, result, "data", bytes);
  napi_set_named_property(env, result, "address", NewBytes(env, &address.storage, message.msg_namelen));
  napi_set_named_property(env, result, "descriptors", descriptors);
  napi_set_named_property(env, result, "flags", flags);
  return arguments.Return(result);
}

Napi::Value SetSockOpt(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "setsockopt");
  const int level = arguments.Int(arguments[1], "level");
  const int name = arguments.Int(arguments[2], "name");
  const int fd = Fd(arguments);
  const std::span<uint8_t> value = arguments.Bytes(arguments[3], "value");
  if (!arguments.ok()) return {};
  if (setsockopt(fd, level, name, value.data(), static_cast<socklen_t>(value.size())) < 0) {
    return arguments.Throw(LastFailure("setsockopt"));
  }
  return arguments.Undefined();
}

Napi::Value GetSockOpt(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "getsockopt");
  const int level = arguments.Int(arguments[1], "level");
  const int name = arguments.Int(arguments[2], "name");
  auto size = static_cast<socklen_t>(arguments.Integer(arguments[3], "size", 0, 65536));
  const int fd = Fd(arguments);
  if (!arguments.ok()) return {};
  std::vector<uint8_t> value(size);
  if (getsockopt(fd, level, name, value.data(), &size) < 0) return arguments.Throw(LastFailure("getsockopt"));
  return arguments.Return(NewBytes(info.Env(), value.data(), std::min<size_t>(size, value.size())));
}

Napi::Value AttachFilter(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "attachFilter");
  const int fd = Fd(arguments);
  const std::span<uint8_t> bytes = arguments.Bytes(arguments[1], "program");
  if (bytes.empty() || bytes.size() % sizeof(sock_filter) || bytes.size() / sizeof(sock_filter) > BPF_MAXINSNS) {
    arguments.Refuse("program", "1 to 4096 instructions of 8 bytes");
  }
  if (!arguments.ok()) return {};
  std::vector<sock_filter> program(bytes.size() / sizeof(sock_filter));
  std::memcpy(program.data(), bytes.data(), bytes.size());
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) < 0) {
    return arguments.Throw(LastFailure("setsockopt"));
  }
  return arguments.Undefined();
}

}  // namespace linkwright
