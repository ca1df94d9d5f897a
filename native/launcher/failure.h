// CNI errors in the launcher's own words.
#pragma once

#include <string_view>

#include "text.h"

namespace linkwright {

// Codes of the CNI specification, "Error"; 999 is what the reference plugins use for anything else.
enum FailureCode : unsigned { kInputOutput = 5, kTryAgainLater = 11, kInternal = 999 };

struct Failure {
  FailureCode code;
  Text<512> msg;
  Text<1024> details;
};

// The version of the specification that a configuration is written in; the newest one where it names none that is known.
// The text may be anything.
std::string_view VersionOf(std::string_view configuration);

// As the plugins print errors: JSON, indented by four spaces, with Go's escapes.
using FailureJson = Text<12288>;
FailureJson ToJson(const Failure& failure, std::string_view version);

// "ENOENT" for 2; "an unknown error" for what no Linux header names.
std::string_view ErrnoName(long number);

}  // namespace linkwright
