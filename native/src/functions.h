// The functions that JavaScript sees; native/binding.ts is their documentation.
#pragma once

#include <napi.h>

namespace linkwright {

// netns.cc
Napi::Value OpenInNetns(const Napi::CallbackInfo& info);
Napi::Value OpenNetlink(const Napi::CallbackInfo& info);
Napi::Value IdentifyNetns(const Napi::CallbackInfo& info);
Napi::Value Sysctls(const Napi::CallbackInfo& info);
Napi::Value CreateNetns(const Napi::CallbackInfo& info);
Napi::Value CreateNamedNetns(const Napi::CallbackInfo& info);
Napi::Value DeleteNamedNetns(const Napi::CallbackInfo& info);

// file.cc
Napi::Value Open(const Napi::CallbackInfo& info);
Napi::Value Adopt(const Napi::CallbackInfo& info);
Napi::Value CloseApart(const Napi::CallbackInfo& info);
Napi::Value CountLinks(const Napi::CallbackInfo& info);
Napi::Value Ioctl(const Napi::CallbackInfo& info);
Napi::Value IoctlLabelled(const Napi::CallbackInfo& info);
napi_value DefineDescriptor(napi_env env);

// transact.cc
Napi::Value Transact(const Napi::CallbackInfo& info);
Napi::Value TransactSync(const Napi::CallbackInfo& info);

// watch.cc
Napi::Value StartWatch(const Napi::CallbackInfo& info);
napi_value DefineWatch(napi_env env);

// doorman.cc
Napi::Value AcceptAnswering(const Napi::CallbackInfo& info);

// socket.cc
Napi::Value Bind(const Napi::CallbackInfo& info);
Napi::Value Connect(const Napi::CallbackInfo& info);
Napi::Value Listen(const Napi::CallbackInfo& info);
Napi::Value Accept(const Napi::CallbackInfo& info);
Napi::Value GetSockName(const Napi::CallbackInfo& info);
Napi::Value Send(const Napi::CallbackInfo& info);
Napi::Value Receive(const Napi::CallbackInfo& info);
Napi::Value Shutdown(const Napi::CallbackInfo& info);
Napi::Value SetSockOpt(const Napi::CallbackInfo& info);
Napi::Value GetSockOpt(const Napi::CallbackInfo& info);
Napi::Value AttachFilter(const Napi::CallbackInfo& info);

// executable.cc
Napi::Value ReleaseExecutable(const Napi::CallbackInfo& info);

// process.cc
Napi::Value TrimHeap(const Napi::CallbackInfo& info);
Napi::Value Exit(const Napi::CallbackInfo& info);

// flock.cc
Napi::Value TryFlock(const Napi::CallbackInfo& info);
Napi::Value Flock(const Napi::CallbackInfo& info);

}  // namespace linkwright
