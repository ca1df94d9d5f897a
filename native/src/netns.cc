// Network namespaces. Only threads made here, and gone when a function returns, ever enter or leave one: the main
// thread and libuv's pool stay where the process began.
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "arguments.h"
#include "environment.h"
#include "functions.h"
#include "thread.h"

namespace linkwright {

namespace {

// Linux 3.17. /proc/self/ns/net would be the namespace of the process's first thread.
constexpr const char* kThreadNetns = "/proc/thread-self/ns/net";

struct OpenSpec {
  bool is_path = false;
  std::string path;
  int flags = 0, domain = 0, type = 0, protocol = 0;
  UniqueFd fd;
  Failure failure;

  void Run() {
    fd.Reset(Retry([&] {
      return is_path ? open(path.c_str(), flags | O_CLOEXEC, 0666)
                     : socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    }));
    if (!fd.valid()) failure = LastFailure(is_path ? "open" : "socket");
  }
};

OpenSpec ReadSpec(Arguments& arguments, napi_value value) {
  OpenSpec spec;
  arguments.Object(value, "spec");
  const napi_value path = arguments.Property(value, "path");
  if (!arguments.ok()) return spec;
  spec.is_path = arguments.TypeOf(path) != napi_undefined;
  if (spec.is_path) {
    spec.path = arguments.Path(path, "spec.path");
    spec.flags = arguments.Int(arguments.Property(value, "flags"), "spec.flags");
  } else {
    spec.domain = arguments.Int(arguments.Property(value, "domain"), "spec.domain");
    spec.type = arguments.Int(arguments.Property(value, "type"), "spec.type");
    spec.protocol = arguments.Int(arguments.Property(value, "protocol"), "spec.protocol");
  }
  return spec;
}

// Leaves the calling thread in a new namespace and opens that.
Failure Unshare(UniqueFd* netns) {
  if (unshare(CLONE_NEWNET) < 0) return LastFailure("unshare");
  netns->Reset(open(kThreadNetns, O_RDONLY | O_CLOEXEC));
  return netns->valid() ? Failure{} : LastFailure("open");
}

Failure MakeDirectories(const std::string& path) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    if (mkdir(path.substr(0, slash).c_str(), 0755) < 0 && errno != EEXIST) return LastFailure("mkdir");
    if (slash == std::string::npos) return {};
  }
}

Failure MakeShared(const char* directory) {
  return mount("", directory, "none", MS_SHARED | MS_REC, nullptr) < 0 ? LastFailure("mount") : Failure{};
}

// A shared mount point, so that namespaces bound in it later are seen in other mount namespaces, and unmounting one
// here lets it go there too.
Failure ShareDirectory(const std::string& directory) {
  Failure failure = MakeShared(directory.c_str());
  if (failure.number != EINVAL) return failure;
  // Not a mount point. The lock keeps us and `ip netns add` from binding it on itself twice, which would hide the
  // names bound in between.
  const UniqueFd lock(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock.valid()) return LastFailure("open");
  if (Retry([&] { return flock(lock.get(), LOCK_EX); }) < 0) return LastFailure("flock");
  failure = MakeShared(directory.c_str());
  if (failure.number != EINVAL) return failure;
  if (mount(directory.c_str(), directory.c_str(), "none", MS_BIND | MS_REC, nullptr) < 0) {
    return LastFailure("mount");
  }
  return MakeShared(directory.c_str());
}

Failure CreateNamed(const std::string& path, UniqueFd* netns) {
  const size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
  if (const Failure failure = MakeDirectories(parent)) return failure;
  if (const Failure failure = ShareDirectory(parent)) return failure;
  if (!UniqueFd(open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0)).valid()) {
    return LastFailure("open");
  }
  const auto work = [&]() -> Failure {
    if (const Failure failure = Unshare(netns)) return failure;
    return mount(kThreadNetns, path.c_str(), "none", MS_BIND, nullptr) < 0 ? LastFailure("mount") : Failure{};
  };
  // The mount comes last, so only the file can be left behind.
  const Failure failure = RunInThread(work);
  if (failure) unlink(path.c_str());
  return failure;
}

}  // namespace

Napi::Value OpenInNetns(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "openInNetns");
  const napi_env env = info.Env();
  std::vector<OpenSpec> specs;
  for (napi_value value : arguments.List(arguments[1], "specs")) specs.push_back(ReadSpec(arguments, value));
  const bool elsewhere = arguments.TypeOf(arguments[0]) != napi_null;
  const int netns = elsewhere ? arguments.DescriptorOf(arguments[0], "netns").fd() : -1;
  if (!arguments.ok()) return {};

  const auto work = [&]() -> Failure {
    if (elsewhere && setns(netns, CLONE_NEWNET) < 0) return LastFailure("setns");
    for (OpenSpec& spec : specs) spec.Run();
    return {};
  };
  if (const Failure failure = elsewhere ? RunInThread(work) : work()) return arguments.Throw(failure);

  napi_value result = nullptr;
  napi_create_array_with_length(env, specs.size(), &result);
  for (uint32_t index = 0; index < specs.size(); index++) {
    OpenSpec& spec = specs[index];
    napi_set_element(env, result, index,
                     spec.failure ? MakeSystemError(env, spec.failure)
                                  : Environment::Of(env).NewDescriptor(std::move(spec.fd)));
  }
  return arguments.Return(result);
}

Napi::Value CreateNetns(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "createNetns");
  UniqueFd netns;
  const auto work = [&] { return Unshare(&netns); };
  if (const Failure failure = RunInThread(work)) return arguments.Throw(failure);
  return arguments.Return(Environment::Of(info.Env()).NewDescriptor(std::move(netns)));
}

Napi::Value CreateNamedNetns(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "createNamedNetns");
  const std::string path = arguments.Path(arguments[0], "path");
  if (!arguments.ok()) return {};
  UniqueFd netns;
  if (const Failure failure = CreateNamed(path, &netns)) return arguments.Throw(failure);
  return arguments.Return(Environment::Of(info.Env()).NewDescriptor(std::move(netns)));
}

Napi::Value DeleteNamedNetns(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "deleteNamedNetns");
  const std::string path = arguments.Path(arguments[0], "path");
  if (!arguments.ok()) return {};
  struct statfs filesystem;
  if (statfs(path.c_str(), &filesystem) < 0) return arguments.Throw(LastFailure("statfs"));
  // Without a namespace on it, the file is what a creation that was killed half-way left. Any other mount is none
  // of our business: unlink refuses it.
  if (filesystem.f_type == NSFS_MAGIC && umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) < 0 &&
      errno != EINVAL) {
    return arguments.Throw(LastFailure("umount2"));
  }
  if (unlink(path.c_str()) < 0) return arguments.Throw(LastFailure("unlink"));
  return arguments.Undefined();
}

}  // namespace linkwright
