// Descriptors of files, and what every descriptor can do.
#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "arguments.h"
#include "environment.h"
#include "functions.h"
#include "object.h"

namespace linkwright {

namespace {

// V8 checks the receiver of methods but not of accessors, so both check it here.
Descriptor* Receiver(napi_env env, napi_callback_info info) {
  napi_value self = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, &self, nullptr);
  auto* descriptor = Wrapped<Descriptor>::Unwrap(env, self);
  if (!descriptor) ThrowTypeError(env, "not a Descriptor of this addon");
  return descriptor;
}

napi_value GetFd(napi_env env, napi_callback_info info) {
  const Descriptor* self = Receiver(env, info);
  napi_value result = nullptr;
  if (self) napi_create_int32(env, self->fd(), &result);
  return result;
}

napi_value Close(napi_env env, napi_callback_info info) {
  if (Descriptor* self = Receiver(env, info)) self->Close();
  return nullptr;
}

}  // namespace

napi_value DefineDescriptor(napi_env env) {
  const napi_property_descriptor properties[] = {
      {"fd", nullptr, nullptr, GetFd, nullptr, nullptr, napi_enumerable, nullptr},
      {"close", nullptr, Close, nullptr, nullptr, nullptr, napi_default_method, nullptr},
  };
  return Wrapped<Descriptor>::Define(env, "Descriptor", std::size(properties), properties);
}

Napi::Value Open(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "open");
  const std::string path = arguments.Path(arguments[0], "path");
  const int flags = arguments.Int(arguments[1], "flags");
  const auto mode = static_cast<mode_t>(arguments.Integer(arguments[2], "mode", 0, 07777));
  if (!arguments.ok()) return {};
  const int fd = Retry([&] { return open(path.c_str(), flags | O_CLOEXEC, mode); });
  if (fd < 0) return arguments.Throw(LastFailure("open"));
  return arguments.Return(Environment::Of(info.Env()).NewDescriptor(UniqueFd(fd)));
}

Napi::Value Adopt(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "adopt");
  const auto fd = static_cast<int>(arguments.Integer(arguments[0], "fd", 0, INT32_MAX));
  if (!arguments.ok()) return {};
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) return arguments.Throw(LastFailure("fcntl"));
  return arguments.Return(Environment::Of(info.Env()).NewDescriptor(UniqueFd(fd)));
}

Napi::Value Ioctl(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "ioctl");
  const auto request = static_cast<unsigned long>(arguments.Integer(arguments[1], "request", 0, UINT32_MAX));
  const int fd = arguments.DescriptorOf(arguments[0], "descriptor").fd();
  // Some requests (TUNSETOWNER) take a number where others take an address.
  if (info[2].IsNumber()) {
    const auto value = static_cast<unsigned long>(arguments.Integer(arguments[2], "argument", 0, UINT32_MAX));
    if (!arguments.ok()) return {};
    const int result = ioctl(fd, request, value);
    if (result < 0) return arguments.Throw(LastFailure("ioctl"));
    return Napi::Number::New(info.Env(), result);
  }
  const std::span<uint8_t> bytes = arguments.Bytes(arguments[2], "argument");
  if (!arguments.ok()) return {};
  // The kernel trusts the caller about the size of what a request reads and writes. No request encodes more than
  // 16383 bytes, so a copy with room for that keeps a short buffer from becoming a write past its end.
  std::vector<uint8_t> copy(bytes.begin(), bytes.end());
  copy.resize(bytes.size() + (1 << _IOC_SIZEBITS));
  const int result = ioctl(fd, request, copy.data());
  if (result < 0) return arguments.Throw(LastFailure("ioctl"));
  std::copy_n(copy.begin(), bytes.size(), bytes.begin());
  return Napi::Number::New(info.Env(), result);
}

}  // namespace linkwright
