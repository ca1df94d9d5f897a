// JavaScript objects with a native half, told apart by type tags.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <memory>

namespace linkwright {

template <typename T>
class Wrapped {
 public:
  // A class whose instances come from New() only: `new instance.constructor()` makes an object without a native
  // half, which Unwrap() refuses like any other foreign object.
  static napi_value Define(napi_env env, const char* name, size_t count,
                           const napi_property_descriptor* properties) {
    const auto construct = [](napi_env caller, napi_callback_info info) -> napi_value {
      napi_value self = nullptr;
      napi_get_cb_info(caller, info, nullptr, nullptr, &self, nullptr);
      return self;
    };
    napi_value result = nullptr;
    napi_define_class(env, name, NAPI_AUTO_LENGTH, construct, nullptr, count, properties, &result);
    return result;
  }

  // Null, with the native half destroyed, when the environment can make no more objects.
  static napi_value New(napi_env env, napi_ref constructor, std::unique_ptr<T> native) {
    napi_value function = nullptr, object = nullptr;
    const napi_type_tag tag = Tag();
    if (napi_get_reference_value(env, constructor, &function) != napi_ok ||
        napi_new_instance(env, function, 0, nullptr, &object) != napi_ok ||
        napi_type_tag_object(env, object, &tag) != napi_ok) {
      return nullptr;
    }
    const auto finalize = [](napi_env, void* data, void*) { delete static_cast<T*>(data); };
    if (napi_wrap(env, object, native.get(), finalize, nullptr, nullptr) != napi_ok) return nullptr;
    native.release();
    return object;
  }

  // Null for anything that New() did not make.
  static T* Unwrap(napi_env env, napi_value value) {
    bool ours = false;
    void* native = nullptr;
    const napi_type_tag tag = Tag();
    if (napi_check_object_type_tag(env, value, &tag, &ours) != napi_ok || !ours) return nullptr;
    return napi_unwrap(env, value, &native) == napi_ok ? static_cast<T*>(native) : nullptr;
  }

 private:
  // The second half is an address inside this very image: objects made by another copy of the addon, whose layout
  // may differ, are foreign.
  static napi_type_tag Tag() { return {0x6c696e6b77726967, reinterpret_cast<uintptr_t>(&anchor_)}; }
  static constexpr char anchor_ = 0;
};

}  // namespace linkwright
