// What went wrong, as the addon says it: a system call's name and its errno.
#pragma once

#include <node_api.h>

#include <cerrno>
#include <string>

namespace linkwright {

// A failed system call or step; true when something failed.
struct Failure {
  int number = 0;
  const char* syscall = "";

  explicit operator bool() const { return number != 0; }
};

inline Failure LastFailure(const char* syscall) { return {errno, syscall}; }

// Repeats a system call that a signal interrupted.
template <typename Call>
auto Retry(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

// The SystemError of native/binding.ts. Null when the environment is ending and can make no more values.
napi_value MakeSystemError(napi_env env, const Failure& failure);
void ThrowSystemError(napi_env env, const Failure& failure);
void ThrowTypeError(napi_env env, const std::string& message);

}  // namespace linkwright
