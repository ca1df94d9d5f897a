// The standalone program, which does what the daemon would: the one program that the launcher executes.
#pragma once

#include <string_view>

#include "environment.h"
#include "failure.h"
#include "signals.h"

namespace linkwright {

// Standard input, as far as it was read.
struct Input {
  // Whether it was read to its end. Otherwise descriptor 0 is as it was.
  bool read = false;
  std::string_view text;
};

// Executes the standalone program in place of this one, as `linkwright-cni` with `arguments`, which end with a null and
// whose first is replaced. Returns only where that can't be, and why.
Failure Execute(char** arguments, const Environment& environment, const Input& input, Signals& signals);

// Has the standalone program undo what an ADD of the type `arguments[1]` may have done, by a DEL with the same input, and
// waits for it, but not for ever. Its output is dropped. What went wrong is added to `details`; empty: nothing.
void Undo(char** arguments, Environment& environment, const Input& input, Signals& signals, Text<1024>* details);

}  // namespace linkwright
