// The C library's heap.
#include <malloc.h>

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

}  // namespace linkwright
