#include "error.h"

namespace linkwright {

namespace {

// "ENODEV" for 19; "E<number>" for what no Linux header names.
std::string ErrnoName(int number) {
  // glibc has strerrorname_np() only since 2.32 and musl never had it; libuv knows neither EOPNOTSUPP nor most
  // of what netlink answers with. Aliases (EWOULDBLOCK, ENOTSUP, EDEADLOCK) are left out.
#define X(name) \
  case name:    \
    return #name;
  switch (number) {
#include "errno-names.inc"
    default:
      return "E" + std::to_string(number);
  }
#undef X
}

}  // namespace

// Statuses are ignored below on purpose: a call can only fail when the environment is ending or an exception is
// pending already, and then there is nobody to tell.

napi_value MakeSystemError(napi_env env, const Failure& failure) {
  const std::string code = ErrnoName(failure.number);
  const std::string message = std::string(failure.syscall) + ": " + code;
  napi_value code_value = nullptr, message_value = nullptr, number = nullptr, syscall = nullptr, error = nullptr;
  napi_create_string_utf8(env, code.data(), code.size(), &code_value);
  napi_create_string_utf8(env, message.data(), message.size(), &message_value);
  napi_create_int32(env, failure.number, &number);
  napi_create_string_utf8(env, failure.syscall, NAPI_AUTO_LENGTH, &syscall);
  if (napi_create_error(env, code_value, message_value, &error) != napi_ok) return nullptr;
  napi_set_named_property(env, error, "errno", number);
  napi_set_named_property(env, error, "syscall", syscall);
  return error;
}

void ThrowSystemError(napi_env env, const Failure& failure) {
  if (napi_value error = MakeSystemError(env, failure)) napi_throw(env, error);
}

void ThrowTypeError(napi_env env, const std::string& message) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message.c_str());
}

}  // namespace linkwright
