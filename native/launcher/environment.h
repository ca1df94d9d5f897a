// The environment that the launcher was given, and what of it is passed on.
#pragma once

#include <cstddef>
#include <string_view>

namespace linkwright {

class Environment {
 public:
  // Takes over the array, and takes out what nobody is to be given: variables by which a program that runs as root could
  // be made to run foreign code (NODE_OPTIONS, LD_PRELOAD, OPENSSL_CONF, ...), and all but the first of those that CNI
  // defines: getenv(3) finds the first, others find the last.
  explicit Environment(char** variables);

  // Empty where there is none of this name.
  std::string_view Get(std::string_view name) const;
  // The value in the environment itself, which ends with a zero; null where there is none.
  char* Find(std::string_view name) const;
  // Replaces a variable that is there, by `NAME=VALUE`.
  void Replace(std::string_view name, char* variable);

  // For execve(2).
  char** variables() const { return variables_; }
  // Bytes of all variables, each with its zero.
  size_t size() const { return size_; }
  // Writes them to `size()` bytes at `to`.
  void Pack(char* to) const;

 private:
  char** variables_;
  size_t size_ = 0;
};

}  // namespace linkwright
