// Descriptors of files, and what every descriptor can do.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>

#include "arguments.h"
#include "environment.h"
#include "functions.h"
#include "object.h"

namespace linkwright {

namespace {

// _IOC_SIZEBITS of <asm-generic/ioctl.h>, which musl's <sys/ioctl.h> does not give.
constexpr size_t kMostIoctlBytes = 1 << 14;

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

// Writes the whole of a label to the attribute of the calling process.
int TakeLabel(const std::string& label) {
  const int fd = open("/proc/self/attr/current", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  return write(fd, label.data(), label.size()) < 0 ? -1 : 0;
}

// ioctl(2) in a child that has taken on an SELinux label: what the kernel makes has its maker's. A process of several
// threads may only take on a type that is bounded by its own (selinux_lsm_setattr), and has no way back.
Failure IoctlAs(const std::string& label, int fd, unsigned long request, void* argument) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return LastFailure("pipe2");
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t child = fork();
  if (child < 0) return LastFailure("fork");
  if (child == 0) {
    // Other threads are not here, and may have held any lock: system calls only.
    const bool labelled = TakeLabel(label) == 0;
    const bool done = labelled && ioctl(fd, request, argument) >= 0;
    const int outcome[] = {labelled, done ? 0 : errno};
    _exit(write(writer.get(), outcome, sizeof outcome) == sizeof outcome ? 0 : 1);
  }
  writer.Reset();
  int outcome[2] = {};
  const ssize_t length = Retry([&] { return read(reader.get(), outcome, sizeof outcome); });
  int status = 0;
  Retry([&] { return waitpid(child, &status, 0); });
  if (length != sizeof outcome) return {ECHILD, "fork"};
  return {outcome[1], outcome[0] ? "ioctl" : "setcon"};
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

Napi::Value CountLinks(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "countLinks");
  const int fd = arguments.DescriptorOf(arguments[0], "descriptor").fd();
  if (!arguments.ok()) return {};
  struct stat status;
  if (fstat(fd, &status) < 0) return arguments.Throw(LastFailure("fstat"));
  return Napi::Number::New(info.Env(), static_cast<double>(status.st_nlink));
}

Napi::Value CloseApart(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "closeApart");
  Descriptor& descriptor = arguments.DescriptorOf(arguments[0], "descriptor");
  if (!arguments.ok()) return {};
  if (std::shared_ptr<Handle> handle = descriptor.Take())
    Closer::Close(Environment::Of(info.Env()).closer, std::move(handle));
  return arguments.Undefined();
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
  copy.resize(bytes.size() + kMostIoctlBytes);
  const int result = ioctl(fd, request, copy.data());
  if (result < 0) return arguments.Throw(LastFailure("ioctl"));
  std::copy_n(copy.begin(), bytes.size(), bytes.begin());
  return Napi::Number::New(info.Env(), result);
}

Napi::Value IoctlLabelled(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "ioctlLabelled");
  const auto request = static_cast<unsigned long>(arguments.Integer(arguments[1], "request", 0, UINT32_MAX));
  const std::string label = arguments.Text(arguments[3], "label");
  const int fd = arguments.DescriptorOf(arguments[0], "descriptor").fd();
  const std::span<uint8_t> bytes = arguments.Bytes(arguments[2], "argument");
  if (!arguments.ok()) return {};
  // As for ioctl. What the kernel changes of it stays with the child.
  std::vector<uint8_t> copy(bytes.begin(), bytes.end());
  copy.resize(bytes.size() + kMostIoctlBytes);
  if (const Failure failure = IoctlAs(label, fd, request, copy.data())) return arguments.Throw(failure);
  return arguments.Undefined();
}

}  // namespace linkwright
