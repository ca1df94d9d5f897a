// Text of limited length, put together from pieces. What does not fit is cut off.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string_view>

namespace linkwright {

template <size_t Room>
class Text {
 public:
  Text() = default;
  Text(std::initializer_list<std::string_view> pieces) {
    for (const std::string_view piece : pieces) Add(piece);
  }

  Text& Add(char character) {
    if (size_ < Room) bytes_[size_++] = character;
    return *this;
  }

  Text& Add(std::string_view piece) {
    for (const char character : piece) Add(character);
    return *this;
  }

  Text& Add(unsigned number) {
    char digits[10];
    size_t first = sizeof digits;
    do digits[--first] = static_cast<char>('0' + number % 10);
    while ((number /= 10) > 0);
    return Add(std::string_view(digits + first, sizeof digits - first));
  }

  bool IsCut() const { return size_ == Room; }
  bool IsEmpty() const { return size_ == 0; }
  std::string_view view() const { return {bytes_, size_}; }
  // For system calls.
  const char* terminated() {
    bytes_[size_] = '\0';
    return bytes_;
  }

 private:
  size_t size_ = 0;
  char bytes_[Room + 1];
};

}  // namespace linkwright
