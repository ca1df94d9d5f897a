// The launcher: what every dist/cni/bin/<type> is. Has the resident daemon do what it is executed for, at the cost of a
// connection, and executes the standalone program where that is not there.
#include <cstring>

#include "daemon.h"
#include "descriptors.h"
#include "environment.h"
#include "failure.h"
#include "signals.h"
#include "standalone.h"

namespace linkwright {

namespace {

// Arrays, not views of them: those would be pointers, which have to be relocated at each start.
constexpr char kOwnName[] = "linkwright-launcher";
constexpr char kSocket[] = "/run/linkwright/linkwright.sock";
constexpr size_t kLongestType = 32;
constexpr unsigned kSeconds = 200;
constexpr unsigned kMostSeconds = 86'400;
// For a log that nobody reads.
constexpr int64_t kLogTime = kSecond;
// For words of our own, where the deadline for everything may have passed.
constexpr int64_t kLastWordsTime = 5 * kSecond;
// Of a configuration that has no prevResult.
constexpr size_t kUsualInput = 1024;

bool IsType(std::string_view name) {
  if (name.empty() || name.size() > kLongestType) return false;
  for (const char character : name)
    if (!((character >= 'a' && character <= 'z') || (character >= '0' && character <= '9') || character == '-'))
      return false;
  return true;
}

// What is asked for by name or first argument, and by arguments.
struct Command {
  // Empty where none is named: the standalone program says what there is.
  char* type = nullptr;
  char** rest = nullptr;
};

Command Read(int argc, char** argv) {
  char** const end = argv + argc;
  if (argc == 0) return {nullptr, end};
  char* name = argv[0];
  for (char* next = name; *next != '\0'; next++)
    if (*next == '/') name = next + 1;
  if (IsType(name) && std::string_view(name) != kOwnName) return {name, argv + 1};
  if (argc > 1 && IsType(argv[1])) return {argv[1], argv + 2};
  return {nullptr, argv + 1};
}

// LINKWRIGHT_TIMEOUT, in whole seconds from 1 to a day's.
Deadline ReadDeadline(const Environment& environment) {
  const std::string_view text = environment.Get("LINKWRIGHT_TIMEOUT");
  unsigned seconds = 0;
  for (const char character : text) {
    if (character < '0' || character > '9' || seconds > kMostSeconds) {
      seconds = 0;
      break;
    }
    seconds = seconds * 10 + static_cast<unsigned>(character - '0');
  }
  if (seconds == 0 || seconds > kMostSeconds) seconds = kSeconds;
  return Deadline::After(seconds * kSecond);
}

class Execution {
 public:
  Execution(char* type, Environment& environment)
      : environment_(environment), verb_(environment.Get("CNI_COMMAND")), deadline_(ReadDeadline(environment)) {
    arguments_[1] = type;
  }

  int Run() {
    if (arguments_[1] == nullptr || !Connect()) return RunStandalone();
    Request request;
    request.type = arguments_[1];
    if (!ReadInput()) return 1;
    request.input = input_.text;
    if (!Prepare(&request) || !daemon_.IsGreeted()) return RunStandalone();
    signals_.Hold();
    Answer answer;
    switch (daemon_.Ask(request, signals_, deadline_, &answer)) {
      case Outcome::kAnswered:
        return Print(answer);
      case Outcome::kUntouched:
        daemon_.Disconnect();
        return RunStandalone();
      case Outcome::kLost:
        // Its work is aborted where it is alive.
        daemon_.Disconnect();
        return verb_ == "ADD" ? TakeBack() : RunStandalone();
      case Outcome::kStopped:
        break;
    }
    signals_.DieOfFirst();
  }

 private:
  bool Connect() {
    if (environment_.size() > kLongestEnvironment) return false;
    const std::string_view path = environment_.Get("LINKWRIGHT_SOCKET");
    return daemon_.Connect(path.empty() ? std::string_view(kSocket) : path);
  }

  // False where that has failed, which was told then.
  bool ReadInput() {
    // Nobody needs it to answer VERSION, and who asks by hand need not end it.
    if (verb_ == "VERSION") return true;
    char* text = Reserve(kUsualInput);
    long size = text == nullptr ? -ENOMEM : linkwright::ReadInput(text, kUsualInput, deadline_);
    if (size == static_cast<long>(kUsualInput)) size = ReadMore(&text);
    if (size >= 0 && size <= static_cast<long>(kLongestInput)) {
      input_ = {true, {text, static_cast<size_t>(size)}};
      return true;
    }
    Failure failure{kInputOutput, {"error reading from stdin: "}, {}};
    if (size < 0) failure.msg.Add(ErrnoName(-size));
    else failure.msg.Add("a configuration has at most ").Add(static_cast<unsigned>(kLongestInput)).Add(" bytes");
    Fail(failure);
    return false;
  }

  // What does not fit where most does. Returns the size of all of it, or a negative errno.
  long ReadMore(char** text) {
    // One byte more tells too much from just enough.
    char* const more = Reserve(kLongestInput + 1);
    if (more == nullptr) return -ENOMEM;
    __builtin_memcpy(more, *text, kUsualInput);
    *text = more;
    const long rest = linkwright::ReadInput(more + kUsualInput, kLongestInput + 1 - kUsualInput, deadline_);
    return rest < 0 ? rest : rest + static_cast<long>(kUsualInput);
  }

  bool Prepare(Request* request) {
    char* const block = Reserve(environment_.size());
    if (block == nullptr) return false;
    environment_.Pack(block);
    request->environment = {block, environment_.size()};
    request->own_netns = static_cast<int>(Open("/proc/self/ns/net", O_RDONLY));
    if (request->own_netns < 0) return false;
    const char* const path = environment_.Find("CNI_NETNS");
    if (path == nullptr || *path == '\0') return true;
    const long netns = Open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (netns >= 0) request->netns = static_cast<int>(netns);
    else request->netns_errno = static_cast<uint32_t>(-netns);
    return true;
  }

  int RunStandalone() {
    if (signals_.first() != 0) signals_.DieOfFirst();
    daemon_.Disconnect();
    return Fail(Execute(arguments_, environment_, input_, signals_));
  }

  int Print(const Answer& answer) {
    // Until here the caller may change its mind, and will not be told of a success.
    signals_.Take();
    if (answer.acknowledge && signals_.first() != 0) {
      Failure failure{kInternal, {"stopped by ", SignalName(signals_.first())}, {}};
      daemon_.Abandon(signals_);
      return Fail(failure);
    }
    if (const long failed = Write(1, answer.output, signals_, deadline_); failed < 0) {
      if (answer.acknowledge) daemon_.Abandon(signals_);
      return Complain("error writing to stdout: ", failed);
    }
    const bool known = !answer.acknowledge || daemon_.Acknowledge();
    Write(2, answer.errors, signals_, Deadline::After(kLogTime));
    return known ? static_cast<int>(answer.status) : TakeBackPrinted();
  }

  // The daemon has gone before it knew that the result is printed: it has undone the ADD, or was killed and has not. The
  // status is all that can still be told on standard output.
  int TakeBackPrinted() {
    daemon_.Disconnect();
    Text<1024> wrong;
    Undo(arguments_, environment_, input_, signals_, &wrong);
    Text<2048> what{"the daemon has gone before it knew that the result is printed: the ADD "};
    if (wrong.IsEmpty()) what.Add("is undone");
    else what.Add("could not be undone by the standalone program: ").Add(wrong.view());
    return Complain(what.view(), 0);
  }

  // An ADD whose daemon is gone: what it has made is known to nobody.
  int TakeBack() {
    Failure failure{kTryAgainLater, {"the linkwright daemon did not answer to the end"}, {}};
    Text<1024> wrong;
    Undo(arguments_, environment_, input_, signals_, &wrong);
    if (wrong.IsEmpty()) failure.details.Add("what it may have done was undone by the standalone program");
    else
      failure.details.Add("what it may have done could not be undone by the standalone program: ").Add(wrong.view());
    return Fail(failure);
  }

  // Prints the error, as CNI wants it, and says how to exit.
  int Fail(const Failure& failure) {
    const FailureJson json = ToJson(failure, VersionOf(input_.text));
    // Where nobody reads it any more, that is not to end by a signal.
    signals_.Hold();
    const long failed = Write(1, json.view(), signals_, Deadline::After(kLastWordsTime));
    return failed < 0 ? Complain("error writing to stdout: ", failed) : 1;
  }

  int Complain(std::string_view what, long number) {
    Text<2304> line{kOwnName, ": ", what};
    if (number < 0) line.Add(ErrnoName(-number));
    line.Add('\n');
    Write(2, line.view(), signals_, Deadline::After(kLogTime));
    return 1;
  }

  Environment& environment_;
  const std::string_view verb_;
  const Deadline deadline_;
  Input input_;
  Signals signals_;
  Daemon daemon_;
  // The first is for the standalone program's name.
  char* arguments_[3] = {};
};

// Nothing is asked for by a runtime: arguments and standard input are for the standalone program.
int RunForPeople(int argc, const Command& command, const Environment& environment) {
  // One more than there are, where the type was the name.
  char** const arguments = reinterpret_cast<char**>(Reserve((static_cast<size_t>(argc) + 3) * sizeof(char*)));
  if (arguments == nullptr) return 1;
  char** next = arguments + 1;
  if (command.type != nullptr) *next++ = command.type;
  for (char** one = command.rest; *one != nullptr; one++) *next++ = *one;
  Signals signals;
  const Failure failure = Execute(arguments, environment, {}, signals);
  const Text<2048> line{kOwnName, ": ", failure.msg.view(), ". ", failure.details.view(), "\n"};
  Write(2, line.view(), signals, Deadline::After(kLastWordsTime));
  return 1;
}

}  // namespace

int Main(int argc, char** argv, char** envp) {
  Environment environment(envp);
  const Command command = Read(argc, argv);
  // With every descriptor: a socket that systemd has opened for `dhcp daemon` is one of them.
  if (environment.Get("CNI_COMMAND").empty()) return RunForPeople(argc, command, environment);
  CloseOthers();
  FillStandard();
  Execution execution(command.type, environment);
  return execution.Run();
}

}  // namespace linkwright

#ifdef LINKWRIGHT_HOSTED
// Without the exit handlers of a C library: nothing is given back before the end.
int main(int argc, char** argv, char** envp) { linkwright::Exit(linkwright::Main(argc, argv, envp)); }
#endif
