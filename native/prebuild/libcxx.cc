// What the addon uses of libc++, compiled from the compiler's own sources by scripts/prebuild.mjs: six of its hundred
// files, and no locales or streams. What it would throw ends the process, as it does in a program without exceptions.
#include <hash.cpp>
#include <memory.cpp>
#include <mutex.cpp>
#include <string.cpp>
#include <verbose_abort.cpp>

#include <cstdlib>

#include "../../libcxxabi/src/abort_message.cpp"

_LIBCPP_BEGIN_NAMESPACE_STD
void __throw_system_error(int error, const char* what) { __libcpp_verbose_abort("%s: error %d\n", what, error); }
#if !_LIBCPP_HAS_TRIVIAL_MUTEX_DESTRUCTION
mutex::~mutex() noexcept { __libcpp_mutex_destroy(&__m_); }
#endif
_LIBCPP_END_NAMESPACE_STD

void* operator new(std::size_t size) {
  void* const memory = std::malloc(size);
  if (memory == nullptr) std::abort();
  return memory;
}
void* operator new[](std::size_t size) { return operator new(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

extern "C" void __cxa_pure_virtual() { std::abort(); }
