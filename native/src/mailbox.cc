#include "mailbox.h"

namespace linkwright {

napi_status Mailbox::Open(napi_env env, napi_threadsafe_function_call_js deliver, void* context) {
  napi_value name = nullptr;
  napi_create_string_utf8(env, "linkwright", NAPI_AUTO_LENGTH, &name);
  napi_threadsafe_function function = nullptr;
  const napi_status status = napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr,
                                                             nullptr, context, deliver, &function);
  if (status != napi_ok) return status;
  napi_unref_threadsafe_function(env, function);
  const std::lock_guard lock(mutex_);
  function_ = function;
  return napi_ok;
}

void Mailbox::Close() {
  const std::lock_guard lock(mutex_);
  if (function_) napi_release_threadsafe_function(function_, napi_tsfn_release);
  function_ = nullptr;
}

void Mailbox::Ref(napi_env env) {
  if (references_++ == 0 && function_) napi_ref_threadsafe_function(env, function_);
}

void Mailbox::Unref(napi_env env) {
  if (--references_ == 0 && function_) napi_unref_threadsafe_function(env, function_);
}

bool Mailbox::Post(Letter letter) {
  const std::lock_guard lock(mutex_);
  return function_ &&
         napi_call_threadsafe_function(function_, letter.Data(), napi_tsfn_nonblocking) == napi_ok;
}

}  // namespace linkwright
