#include "arguments.h"

#include <cmath>
#include <limits>

#include "error.h"
#include "object.h"

namespace linkwright {

void Arguments::Refuse(const char* what, const std::string& expected) {
  if (std::exchange(failed_, true)) return;
  ThrowTypeError(env(), std::string(function_) + ": " + what + " must be " + expected);
}

napi_valuetype Arguments::TypeOf(napi_value value) const {
  napi_valuetype type = napi_undefined;
  if (value) napi_typeof(env(), value, &type);
  return type;
}

bool Arguments::IsNullish(napi_value value) const {
  const napi_valuetype type = TypeOf(value);
  return type == napi_undefined || type == napi_null;
}

int64_t Arguments::Integer(napi_value value, const char* what, int64_t least, int64_t most) {
  double number = std::numeric_limits<double>::quiet_NaN();
  if (TypeOf(value) == napi_number) napi_get_value_double(env(), value, &number);
  // NaN fails both comparisons.
  if (number >= static_cast<double>(least) && number <= static_cast<double>(most) &&
      number == std::trunc(number)) {
    return static_cast<int64_t>(number);
  }
  Refuse(what, "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  return least;
}

int Arguments::Int(napi_value value, const char* what) {
  return static_cast<int>(
      Integer(value, what, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()));
}

int64_t Arguments::Milliseconds(napi_value value, const char* what) {
  double number = -1;
  if (TypeOf(value) == napi_number) napi_get_value_double(env(), value, &number);
  if (number >= 0 && number <= std::numeric_limits<int>::max()) return std::llround(number * 1e6);
  Refuse(what, "a number of milliseconds from 0 to 2147483647");
  return 0;
}

std::string Arguments::Path(napi_value value, const char* what) {
  std::string path;
  if (ReadString(value, &path) && !path.empty() && path.find('\0') == std::string::npos) return path;
  Refuse(what, "a path: a string that is not empty and has no NUL");
  return {};
}

std::string Arguments::Text(napi_value value, const char* what) {
  std::string text;
  if (!ReadString(value, &text)) Refuse(what, "a string");
  return text;
}

bool Arguments::ReadString(napi_value value, std::string* text) const {
  size_t length = 0;
  if (TypeOf(value) != napi_string ||
      napi_get_value_string_utf8(env(), value, nullptr, 0, &length) != napi_ok) {
    return false;
  }
  text->resize(length);
  return napi_get_value_string_utf8(env(), value, text->data(), length + 1, &length) == napi_ok;
}

std::span<uint8_t> Arguments::Bytes(napi_value value, const char* what) {
  bool is_typed_array = false;
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void* data = nullptr;
  if (value && napi_is_typedarray(env(), value, &is_typed_array) == napi_ok && is_typed_array &&
      napi_get_typedarray_info(env(), value, &type, &length, &data, nullptr, nullptr) == napi_ok &&
      type == napi_uint8_array) {
    return {static_cast<uint8_t*>(data), data ? length : 0};
  }
  Refuse(what, "a Uint8Array");
  return {};
}

Descriptor& Arguments::DescriptorOf(napi_value value, const char* what) {
  if (TypeOf(value) == napi_object) {
    if (auto* descriptor = Wrapped<Descriptor>::Unwrap(env(), value)) return *descriptor;
  }
  Refuse(what, "a Descriptor of this addon");
  return closed_;
}

std::vector<napi_value> Arguments::List(napi_value value, const char* what) {
  bool is_array = false;
  uint32_t length = 0;
  std::vector<napi_value> result;
  if (value && napi_is_array(env(), value, &is_array) == napi_ok && is_array &&
      napi_get_array_length(env(), value, &length) == napi_ok) {
    // Not reserved: a sparse array's length is only a claim.
    for (uint32_t index = 0; index < length && !failed_; index++) {
      napi_value element = nullptr;
      if (napi_get_element(env(), value, index, &element) != napi_ok) failed_ = true;
      if (TypeOf(element) == napi_undefined) break;
      result.push_back(element);
    }
    if (!failed_ && result.size() == length) return result;
  }
  Refuse(what, "an array without holes");
  return {};
}

napi_value Arguments::Callback(napi_value value, const char* what) {
  if (TypeOf(value) != napi_function) Refuse(what, "a function");
  return value;
}

napi_value Arguments::Object(napi_value value, const char* what) {
  if (TypeOf(value) != napi_object) Refuse(what, "an object");
  return value;
}

napi_value Arguments::Property(napi_value object, const char* name) {
  napi_value value = nullptr;
  // A getter that throws leaves its own exception pending.
  if (!failed_ && napi_get_named_property(env(), object, name, &value) != napi_ok) failed_ = true;
  return value;
}

}  // namespace linkwright
