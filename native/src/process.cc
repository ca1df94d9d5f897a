// The process as a whole: the C library's heap, and its end.
#include <malloc.h>
#include <unistd.h>

#include "arguments.h"
#include "functions.h"

namespace linkwright {

Napi::Value TrimHeap(const Napi::CallbackInfo& info) {
  bool trimmed = false;
  // musl gives back by itself what is free.
#ifdef __GLIBC__
  trimmed = malloc_trim(0) != 0;
#endif
  return Napi::Boolean::New(info.Env(), trimmed);
}

Napi::Value Exit(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "exit");
  const auto status = static_cast<int>(arguments.Integer(arguments[0], "status", 0, 255));
  if (!arguments.ok()) return {};
  _exit(status);
}

}  // namespace linkwright
