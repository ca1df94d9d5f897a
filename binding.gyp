{
  # node scripts/build-addon.mjs --werror
  'variables': {'werror%': 0},
  'targets': [
    {
      'target_name': 'linkwright',
      'sources': [
        'native/src/addon.cc',
        'native/src/arguments.cc',
        'native/src/closer.cc',
        'native/src/doorman.cc',
        'native/src/environment.cc',
        'native/src/error.cc',
        'native/src/executable.cc',
        'native/src/file.cc',
        'native/src/flock.cc',
        'native/src/hall.cc',
        'native/src/mailbox.cc',
        'native/src/netns.cc',
        'native/src/poller.cc',
        'native/src/process.cc',
        'native/src/socket.cc',
        'native/src/transact.cc',
        'native/src/watch.cc',
      ],
      'defines': [
        'NAPI_VERSION=9',
        'NAPI_DISABLE_CPP_EXCEPTIONS',
        # A worker may be terminated between any two calls; without this an error that can't be thrown aborts.
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
      ],
      'cflags!': ['-O3', '-fno-omit-frame-pointer'],
      'cflags': ['-O2', '-Wall', '-Wextra', '-Wshadow', '-Wconversion', '-fvisibility=hidden'],
      'cflags_cc!': ['-std=gnu++17', '-std=gnu++20'],
      'cflags_cc': [
        '-std=c++20',
        '-fno-exceptions',
        '-fno-rtti',
        '-fvisibility-inlines-hidden',
        # As a system directory: our warnings are about our files.
        '-isystem <!(node -p "require(\'path\').resolve(require(\'node-addon-api\').include_dir)")',
      ],
      'conditions': [['werror==1', {'cflags': ['-Werror']}]],
      'ldflags': [
        '-Wl,-z,now',
        # Node closes an addon's library with the worker that loaded it, but a thread that waits for a file lock may
        # live longer.
        '-Wl,-z,nodelete',
        '-Wl,--exclude-libs,ALL',
        '-s',
      ],
    },
  ],
}
