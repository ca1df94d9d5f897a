// What the launcher reads from and writes to, as it was given them.
#pragma once

#include <cstddef>
#include <string_view>

#include "signals.h"
#include "system.h"

namespace linkwright {

// Closes every descriptor but 0, 1 and 2: whatever leaked into this process goes no further.
void CloseOthers();

// Makes sure that nothing that is opened becomes 0, 1 or 2. What stands in for one that is closed can be read from, to an
// end at once, and not be written to.
void FillStandard();

// Reads standard input to its end. Returns how many bytes that are, `room` where there is that much or more, or -errno:
// -ETIMEDOUT at the deadline.
long ReadInput(char* to, size_t room, const Deadline& deadline);

// Writes all of it, also where somebody has made the descriptor nonblocking. 0 or -errno: -EINTR where a signal came,
// -ETIMEDOUT at the deadline.
long Write(int fd, std::string_view text, Signals& signals, const Deadline& deadline);

}  // namespace linkwright
