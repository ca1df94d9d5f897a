#include "failure.h"

#include <errno.h>

namespace linkwright {

namespace {

constexpr std::string_view kNewest = "1.1.0";
constexpr std::string_view kKey = "cniversion";

// Built in the order of switch and not as a table, whose addresses would have to be relocated.
std::string_view Known(std::string_view version) {
  if (version == "0.1.0") return "0.1.0";
  if (version == "0.2.0") return "0.2.0";
  if (version == "0.3.0") return "0.3.0";
  if (version == "0.3.1") return "0.3.1";
  if (version == "0.4.0") return "0.4.0";
  if (version == "1.0.0") return "1.0.0";
  return kNewest;
}

// Go finds a key in whatever case it is written.
bool IsKey(std::string_view text) {
  if (text.size() != kKey.size()) return false;
  for (size_t i = 0; i < text.size(); i++)
    if ((text[i] | 0x20) != kKey[i]) return false;
  return true;
}

bool IsSpace(char character) {
  return character == ' ' || character == '\t' || character == '\n' || character == '\r';
}

// Walks over JSON far enough to tell strings from the rest, and how deep it is.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool AtEnd() const { return at_ >= text_.size(); }
  char Next() { return text_[at_++]; }

  // What stands between quotes, the first of which has been read; escapes as they are.
  std::string_view String() {
    const size_t start = at_;
    while (at_ < text_.size() && text_[at_] != '"') at_ += text_[at_] == '\\' ? 2 : 1;
    const size_t end = at_ < text_.size() ? at_ : text_.size();
    at_ = end + 1;
    return {text_.data() + start, end - start};
  }

  // Whether `character` comes next, spaces apart. It is read then.
  bool Take(char character) {
    while (at_ < text_.size() && IsSpace(text_[at_])) at_++;
    if (at_ >= text_.size() || text_[at_] != character) return false;
    at_++;
    return true;
  }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

void AddEscaped(FailureJson& json, std::string_view text) {
  constexpr char digits[] = "0123456789abcdef";
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte == '"' || byte == '\\') json.Add('\\').Add(character);
    // Whether bytes above are UTF-8 nobody has looked at: U+FFFD stands for each.
    else if (byte >= 0x7f) json.Add("\\ufffd");
    else if (byte < 0x20 || byte == '<' || byte == '>' || byte == '&')
      json.Add("\\u00").Add(digits[byte >> 4]).Add(digits[byte & 15]);
    else json.Add(character);
  }
}

}  // namespace

std::string_view VersionOf(std::string_view configuration) {
  Scanner scanner(configuration);
  std::string_view version = kNewest;
  if (!scanner.Take('{')) return version;
  size_t depth = 1;
  while (!scanner.AtEnd() && depth > 0) {
    const char character = scanner.Next();
    if (character == '{' || character == '[') depth++;
    if (character == '}' || character == ']') depth--;
    if (character != '"') continue;
    const std::string_view text = scanner.String();
    if (depth == 1 && IsKey(text) && scanner.Take(':') && scanner.Take('"')) version = Known(scanner.String());
  }
  return version;
}

FailureJson ToJson(const Failure& failure, std::string_view version) {
  FailureJson json{"{\n    \"cniVersion\": \"", version, "\",\n    \"code\": "};
  json.Add(failure.code).Add(",\n    \"msg\": \"");
  AddEscaped(json, failure.msg.view());
  if (!failure.details.IsEmpty()) {
    json.Add("\",\n    \"details\": \"");
    AddEscaped(json, failure.details.view());
  }
  json.Add("\"\n}");
  return json;
}

std::string_view ErrnoName(long number) {
#define X(name) \
  case name:    \
    return #name;
  switch (number) {
#include "../src/errno-names.inc"
    default:
      return "an unknown error";
  }
#undef X
}

}  // namespace linkwright
