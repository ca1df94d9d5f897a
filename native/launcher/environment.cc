#include "environment.h"

#include <cstring>

namespace linkwright {

namespace {

// Without starts_with(): no exception can come from these, and nothing else of a library is needed.
bool Begins(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && std::memcmp(text.data(), prefix.data(), prefix.size()) == 0;
}

bool Is(std::string_view variable, std::string_view name) {
  return variable.size() > name.size() && variable[name.size()] == '=' && Begins(variable, name);
}

bool RunsForeignCode(std::string_view variable) {
  // Kubernetes' own, for what runs on a node. All others of Node's are for Node: options, module paths, compiled code,
  // files to write to.
  if (Begins(variable, "NODE_")) return !Is(variable, "NODE_NAME") && !Is(variable, "NODE_IP");
  // The dynamic linker; OpenSSL's configuration, which names libraries (Node reads it when it starts); glibc's converters
  // and tunables; what bash runs before a script, and functions that take the place of commands.
  return Begins(variable, "LD_") || Begins(variable, "OPENSSL_") || Is(variable, "GCONV_PATH") ||
         Is(variable, "GLIBC_TUNABLES") || Is(variable, "BASH_ENV") || Begins(variable, "BASH_FUNC_");
}

}  // namespace

Environment::Environment(char** variables) : variables_(variables) {
  char** kept = variables;
  for (char** next = variables; *next != nullptr; next++) {
    char* const variable = *next;
    const std::string_view text = variable;
    if (RunsForeignCode(text)) continue;
    if (Begins(text, "CNI_")) {
      size_t name = 0;
      while (name < text.size() && text[name] != '=') name++;
      // Find() looks only at what was kept, which ends here.
      *kept = nullptr;
      if (Find({variable, name}) != nullptr) continue;
    }
    *kept++ = variable;
    size_ += text.size() + 1;
  }
  *kept = nullptr;
}

char* Environment::Find(std::string_view name) const {
  for (char** next = variables_; *next != nullptr; next++)
    if (Is(*next, name)) return *next + name.size() + 1;
  return nullptr;
}

std::string_view Environment::Get(std::string_view name) const {
  const char* const value = Find(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

void Environment::Replace(std::string_view name, char* variable) {
  for (char** next = variables_; *next != nullptr; next++)
    if (Is(*next, name)) *next = variable;
}

void Environment::Pack(char* to) const {
  for (char** next = variables_; *next != nullptr; next++) {
    const size_t length = std::strlen(*next) + 1;
    std::memcpy(to, *next, length);
    to += length;
  }
}

}  // namespace linkwright
