#include <napi.h>

#include "environment.h"
#include "functions.h"

namespace linkwright {

namespace {

template <Napi::Value (*function)(const Napi::CallbackInfo&)>
void Export(Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<function>(exports.Env(), name));
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  auto* environment = new Environment(env);
  const auto finalize = [](napi_env, void* data, void*) { delete static_cast<Environment*>(data); };
  napi_set_instance_data(env, environment, finalize, nullptr);
  napi_create_reference(env, DefineDescriptor(env), 1, &environment->descriptor_class);
  napi_create_reference(env, DefineWatch(env), 1, &environment->watch_class);

  Export<OpenInNetns>(exports, "openInNetns");
  Export<OpenNetlink>(exports, "openNetlink");
  Export<IdentifyNetns>(exports, "identifyNetns");
  Export<Sysctls>(exports, "sysctls");
  Export<CreateNetns>(exports, "createNetns");
  Export<CreateNamedNetns>(exports, "createNamedNetns");
  Export<DeleteNamedNetns>(exports, "deleteNamedNetns");
  Export<Open>(exports, "open");
  Export<Adopt>(exports, "adopt");
  Export<CloseApart>(exports, "closeApart");
  Export<CountLinks>(exports, "countLinks");
  Export<Ioctl>(exports, "ioctl");
  Export<IoctlLabelled>(exports, "ioctlLabelled");
  Export<Transact>(exports, "transact");
  Export<TransactSync>(exports, "transactSync");
  Export<StartWatch>(exports, "watch");
  Export<AcceptAnswering>(exports, "acceptAnswering");
  Export<Bind>(exports, "bind");
  Export<Connect>(exports, "connect");
  Export<Listen>(exports, "listen");
  Export<Accept>(exports, "accept");
  Export<GetSockName>(exports, "getsockname");
  Export<Send>(exports, "send");
  Export<Receive>(exports, "receive");
  Export<Shutdown>(exports, "shutdown");
  Export<SetSockOpt>(exports, "setsockopt");
  Export<GetSockOpt>(exports, "getsockopt");
  Export<AttachFilter>(exports, "attachFilter");
  Export<ReleaseExecutable>(exports, "releaseExecutable");
  Export<TrimHeap>(exports, "trimHeap");
  Export<Exit>(exports, "exit");
  Export<TryFlock>(exports, "tryFlock");
  Export<Flock>(exports, "flock");
  return exports;
}

}  // namespace

NODE_API_MODULE(linkwright, Init)

}  // namespace linkwright
