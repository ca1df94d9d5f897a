// What of the process's own executable is in its memory.
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <vector>

#include "environment.h"
#include "functions.h"

namespace linkwright {

namespace {

struct Range {
  uintptr_t start;
  uintptr_t end;
};

// The executable is the first object that dl_iterate_phdr(3) tells of. What is written to is not the file's any more.
int CollectUnwritable(dl_phdr_info* info, size_t, void* data) {
  auto* ranges = static_cast<std::vector<Range>*>(data);
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  for (size_t i = 0; i < info->dlpi_phnum; i++) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    const uintptr_t start = info->dlpi_addr + segment.p_vaddr;
    // Inwards: a page that is shared with another segment is not ours to decide about.
    const Range range{(start + page - 1) / page * page, (start + segment.p_memsz) / page * page};
    if (range.start < range.end) ranges->push_back(range);
  }
  return 1;
}

// Takes out ranges with pages that are in no file (proc(5), smaps): a debugger's breakpoints, or text that Node has
// moved to huge pages. They would be lost.
bool LeaveOutChanged(std::vector<Range>* ranges) {
  const std::unique_ptr<FILE, int (*)(FILE*)> smaps(fopen("/proc/self/smaps", "re"), fclose);
  if (!smaps) return false;
  Range mapping{0, 0};
  char line[512];
  while (fgets(line, sizeof line, smaps.get())) {
    Range found{0, 0};
    uint64_t kilobytes = 0;
    if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &found.start, &found.end) == 2) {
      mapping = found;
    } else if (sscanf(line, "Anonymous: %" SCNu64, &kilobytes) == 1 && kilobytes > 0) {
      std::erase_if(*ranges, [&](const Range& one) { return one.start < mapping.end && mapping.start < one.end; });
    }
  }
  return true;
}

}  // namespace

Napi::Value ReleaseExecutable(const Napi::CallbackInfo& info) {
  std::vector<Range> ranges;
  dl_iterate_phdr(CollectUnwritable, &ranges);
  size_t released = 0;
  if (LeaveOutChanged(&ranges)) {
    for (const auto& [start, end] : ranges)
      if (madvise(reinterpret_cast<void*>(start), end - start, MADV_DONTNEED) == 0) released += end - start;
  }
  return Napi::Number::New(info.Env(), static_cast<double>(released));
}

}  // namespace linkwright
