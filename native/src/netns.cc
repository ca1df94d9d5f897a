// Network namespaces. A function that works in another namespace takes the calling thread there and back before it
// returns: no JavaScript runs in between, and no other thread is moved.
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/netlink.h>
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

// How often a thread that can't get back to its namespace tries again, a millisecond apart.
constexpr int kReturnAttempts = 1000;

// setns needs memory for a few pointers, which may be short for a moment. A process that goes on in a namespace where
// it does not belong would do its next work, as root, to somebody else's network: it is better ended.
void ReturnTo(int netns) {
  for (int attempt = 0; attempt < kReturnAttempts; attempt++) {
    if (setns(netns, CLONE_NEWNET) == 0) return;
    usleep(1000);
  }
  napi_fatal_error("linkwright", NAPI_AUTO_LENGTH, "setns: the way back to the own network namespace is barred",
                   NAPI_AUTO_LENGTH);
}

// Runs `work` (which returns a Failure) in the namespace. A new thread would cost 0.1 ms and more on a busy machine,
// twenty times what it is to go there and back. It is used where this thread could not come back: in a process whose
// own namespace belongs to another user namespace, which the first setns tells.
template <typename Work>
Failure RunInNetns(int netns, Work& work) {
  const auto enter_and_work = [&]() -> Failure {
    if (setns(netns, CLONE_NEWNET) < 0) return LastFailure("setns");
    return work();
  };
  const UniqueFd own(open(kThreadNetns, O_RDONLY | O_CLOEXEC));
  if (!own.valid() || setns(own.get(), CLONE_NEWNET) < 0) return RunInThread(enter_and_work);
  if (setns(netns, CLONE_NEWNET) < 0) return LastFailure("setns");
  const Failure failure = work();
  ReturnTo(own.get());
  return failure;
}

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

// A setting, below /proc/sys, which shows the settings of the namespace that looks.
struct Sysctl {
  static constexpr size_t kMost = 4096;

  std::string path, wanted, present;
  bool write = false;
  Failure failure;

  void Run() { failure = Exchange(); }

 private:
  Failure Exchange() {
    const UniqueFd file(Retry([&] { return open(path.c_str(), (write ? O_RDWR : O_RDONLY) | O_CLOEXEC); }));
    if (!file.valid()) return LastFailure("open");
    char text[kMost];
    ssize_t length = Retry([&] { return read(file.get(), text, sizeof text); });
    if (length < 0) return LastFailure("read");
    if (length > 0 && text[length - 1] == '\n') length--;
    present.assign(text, static_cast<size_t>(length));
    if (!write || present == wanted) return {};
    // From the start again: what is written elsewhere is not taken.
    if (Retry([&] { return pwrite(file.get(), wanted.data(), wanted.size(), 0); }) < 0) return LastFailure("write");
    return {};
  }
};

Sysctl ReadSysctl(Arguments& arguments, napi_value value) {
  Sysctl sysctl;
  arguments.Object(value, "sysctl");
  const napi_value path = arguments.Property(value, "path");
  const napi_value wanted = arguments.Property(value, "value");
  if (!arguments.ok()) return sysctl;
  sysctl.path = arguments.Path(path, "sysctl.path");
  sysctl.write = arguments.TypeOf(wanted) != napi_undefined;
  if (sysctl.write) sysctl.wanted = arguments.Text(wanted, "sysctl.value");
  return sysctl;
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

// A descriptor argument that may be null: the namespace the process is in.
struct Place {
  const bool elsewhere;
  const int fd;

  Place(Arguments& arguments, napi_value value)
      : elsewhere(arguments.TypeOf(value) != napi_null),
        fd(elsewhere ? arguments.DescriptorOf(value, "netns").fd() : -1) {}

  template <typename Work>
  Failure Run(Work& work) const {
    return elsewhere ? RunInNetns(fd, work) : work();
  }
};

// What every netlink socket of ours has. The sizes are limits, not allocations; without CAP_NET_ADMIN the kernel's
// defaults have to do. Linux before 4.20 has no strict checks: it gives all of a list, and whoever asked picks.
Failure SetUp(int socket) {
  const auto set = [&](int level, int name, int value) {
    return setsockopt(socket, level, name, &value, sizeof value) < 0 ? LastFailure("setsockopt") : Failure{};
  };
  for (const int option : {NETLINK_CAP_ACK, NETLINK_EXT_ACK})
    if (const Failure failure = set(SOL_NETLINK, option, 1)) return failure;
  if (const Failure failure = set(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1); failure && failure.number != ENOPROTOOPT)
    return failure;
  for (const auto& [option, size] : {std::pair{SO_SNDBUFFORCE, 16 << 20}, std::pair{SO_RCVBUFFORCE, 32 << 20}})
    if (const Failure failure = set(SOL_SOCKET, option, size); failure && failure.number != EPERM) return failure;
  return {};
}

}  // namespace

Napi::Value OpenInNetns(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "openInNetns");
  const napi_env env = info.Env();
  std::vector<OpenSpec> specs;
  for (napi_value value : arguments.List(arguments[1], "specs")) specs.push_back(ReadSpec(arguments, value));
  const Place place(arguments, arguments[0]);
  if (!arguments.ok()) return {};

  const auto work = [&]() -> Failure {
    for (OpenSpec& spec : specs) spec.Run();
    return {};
  };
  if (const Failure failure = place.Run(work)) return arguments.Throw(failure);

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

Napi::Value OpenNetlink(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "openNetlink");
  const int protocol = arguments.Int(arguments[1], "protocol");
  const Place place(arguments, arguments[0]);
  if (!arguments.ok()) return {};
  UniqueFd socket;
  const auto work = [&]() -> Failure {
    socket.Reset(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
    return socket.valid() ? Failure{} : LastFailure("socket");
  };
  if (const Failure failure = place.Run(work)) return arguments.Throw(failure);
  if (const Failure failure = SetUp(socket.get())) return arguments.Throw(failure);
  return arguments.Return(Environment::Of(info.Env()).NewDescriptor(std::move(socket)));
}

Napi::Value IdentifyNetns(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "identifyNetns");
  const Place place(arguments, arguments[0]);
  if (!arguments.ok()) return {};
  UniqueFd own;
  if (!place.elsewhere) {
    own.Reset(open(kThreadNetns, O_RDONLY | O_CLOEXEC));
    if (!own.valid()) return arguments.Throw(LastFailure("open"));
  }
  struct stat status;
  if (fstat(place.elsewhere ? place.fd : own.get(), &status) < 0) return arguments.Throw(LastFailure("fstat"));
  return Napi::String::New(info.Env(), std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino));
}

Napi::Value Sysctls(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "sysctls");
  const napi_env env = info.Env();
  std::vector<Sysctl> sysctls;
  for (napi_value value : arguments.List(arguments[1], "sysctls")) sysctls.push_back(ReadSysctl(arguments, value));
  const Place place(arguments, arguments[0]);
  if (!arguments.ok()) return {};

  const auto work = [&]() -> Failure {
    for (Sysctl& sysctl : sysctls) sysctl.Run();
    return {};
  };
  if (const Failure failure = place.Run(work)) return arguments.Throw(failure);

  napi_value result = nullptr;
  napi_create_array_with_length(env, sysctls.size(), &result);
  for (uint32_t index = 0; index < sysctls.size(); index++) {
    const Sysctl& sysctl = sysctls[index];
    napi_value outcome = nullptr;
    if (sysctl.failure) outcome = MakeSystemError(env, sysctl.failure);
    else napi_create_string_latin1(env, sysctl.present.data(), sysctl.present.size(), &outcome);
    napi_set_element(env, result, index, outcome);
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
