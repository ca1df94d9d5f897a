// Reading what JavaScript passes. The first thing that is wrong throws a TypeError; what is read after that is
// meaningless but harmless, so a function reads everything and asks ok() once.
//
// Reading a property runs JavaScript when it is a getter, which may close descriptors or detach buffers. Functions
// therefore read their objects first and take file descriptor numbers and byte pointers last.
#pragma once

#include <napi.h>

#include <span>
#include <string>

#include "descriptor.h"
#include "error.h"

namespace linkwright {

class Arguments {
 public:
  Arguments(const Napi::CallbackInfo& info, const char* function) : info_(info), function_(function) {}

  bool ok() const { return !failed_; }
  napi_env env() const { return info_.Env(); }
  // undefined where JavaScript passed fewer.
  napi_value operator[](size_t index) const { return info_[index]; }

  // A whole number from `least` to `most`.
  int64_t Integer(napi_value value, const char* what, int64_t least, int64_t most);
  // Any C int, for flags and options.
  int Int(napi_value value, const char* what);
  // Milliseconds, fractions allowed, in nanoseconds.
  int64_t Milliseconds(napi_value value, const char* what);
  std::string Path(napi_value value, const char* what);
  std::string Text(napi_value value, const char* what);
  // Points into the JavaScript buffer: good until JavaScript runs again.
  std::span<uint8_t> Bytes(napi_value value, const char* what);
  // An object without properties after a failure.
  Descriptor& DescriptorOf(napi_value value, const char* what);
  std::vector<napi_value> List(napi_value value, const char* what);
  napi_value Callback(napi_value value, const char* what);
  napi_value Object(napi_value value, const char* what);
  napi_value Property(napi_value object, const char* name);

  // Throws, the first time: "<function>: <what> must be <expected>".
  void Refuse(const char* what, const std::string& expected);

  // What a function returns: a value, undefined, or a thrown SystemError.
  Napi::Value Return(napi_value value) const { return {env(), value}; }
  Napi::Value Undefined() const { return info_.Env().Undefined(); }
  Napi::Value Throw(const Failure& failure) const {
    ThrowSystemError(env(), failure);
    return {};
  }

  napi_valuetype TypeOf(napi_value value) const;
  bool IsNullish(napi_value value) const;

 private:
  bool ReadString(napi_value value, std::string* text) const;

  const Napi::CallbackInfo& info_;
  const char* function_;
  bool failed_ = false;
  Descriptor closed_{UniqueFd()};
};

}  // namespace linkwright
