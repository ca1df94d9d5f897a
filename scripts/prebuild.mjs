/**
 * Builds the addon for every platform of the npm package (`npm run prebuilds`; a script named `prebuild` would run before each build), on any of them:
 *
 *   prebuilds/linux-<x64|arm64>/linkwright.<glibc|musl>.node
 *
 * A file needs no more of its platform than glibc 2.28 (RHEL 8, Debian 10) or musl, and Node-API 9; what it uses of
 * libc++ is in it. Quick when nothing has changed since the last time.
 *
 *   node scripts/prebuild.mjs [--force]
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { runInNewContext } from 'node:vm'
import { ensureDependencies } from './dependencies.mjs'
import { withLock } from './lock.mjs'
import { headerPrefix } from './node-headers.mjs'
import { root } from './root.mjs'
import { ensureZig } from './zig.mjs'

/** The files, and what clang calls their platforms. */
const targets = {
  'linux-x64/linkwright.glibc.node': 'x86_64-linux-gnu.2.28',
  'linux-x64/linkwright.musl.node': 'x86_64-linux-musl',
  'linux-arm64/linkwright.glibc.node': 'aarch64-linux-gnu.2.28',
  'linux-arm64/linkwright.musl.node': 'aarch64-linux-musl',
}

const out = join(root, 'prebuilds')
const work = join(root, 'build/prebuild')
const stamp = join(out, '.fingerprint')

/** The one target of binding.gyp, which is a JavaScript object but for its comments. */
const gyp = () => {
  const text = readFileSync(join(root, 'binding.gyp'), 'utf8').replace(/^\s*#.*$/gm, '')
  return runInNewContext(`(${text})`).targets[0]
}

const addonApi = () => dirname(createRequire(import.meta.url).resolve('node-addon-api/package.json'))

const fingerprint = () => {
  const below = (folder) => readdirSync(join(root, folder)).map((name) => `${folder}/${name}`)
  const files = [
    'binding.gyp',
    'scripts/prebuild.mjs',
    'scripts/zig.mjs',
    ...below('native/prebuild'),
    ...below('native/src'),
  ].map((name) => join(root, name))
  files.push(join(addonApi(), 'package.json'), join(headerPrefix(), 'include/node/node_api.h'))
  const hash = createHash('sha256')
  for (const path of files.sort()) hash.update(readFileSync(path)).update('\0')
  return hash.digest('hex')
}

const run = (file, args, env) =>
  new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] })
    child.once('error', reject)
    child.once('close', (status, signal) => {
      if (status === 0) resolve()
      else reject(new Error(`zig ${args[0]} failed (${signal ?? `exit ${status}`})`))
    })
  })

/** Everything as one source: the headers, most of the work, are read once. */
const unity = (sources) => {
  const path = join(work, 'addon.cc')
  writeFileSync(path, sources.map((source) => `#include "${source}"\n`).join(''))
  return path
}

/** Builds one file. Names of this machine's folders are kept out of it. */
const build = async (zig, name, target, source) => {
  const { defines, cflags, cflags_cc: cflagsCc, ldflags } = gyp()
  const folder = join(work, target)
  mkdirSync(folder, { recursive: true })
  const caches = join(root, 'build/zig-cache')
  const env = { ...process.env, ZIG_GLOBAL_CACHE_DIR: caches, ZIG_LOCAL_CACHE_DIR: caches }
  const cxx = (...args) => run(join(zig, 'zig'), ['c++', '-target', target, ...args], env)
  const compiled = [
    // Whose warnings are worth reading is the build from binding.gyp; musl's headers make some.
    ...[...cflags, ...cflagsCc].filter((flag) => !/^-(?:isystem|std=|W)/.test(flag)),
    '-w',
    ...['-c', '-fPIC', '-ffunction-sections', '-fdata-sections'],
    `-ffile-prefix-map=${root}=.`,
  ]
  const addon = join(folder, 'addon.o')
  await cxx(
    ...compiled,
    '-std=c++20',
    ...[...defines, 'NODE_GYP_MODULE_NAME=linkwright', 'BUILDING_NODE_EXTENSION'].map((name) => `-D${name}`),
    ...['-isystem', join(headerPrefix(), 'include/node'), '-isystem', addonApi()],
    ...['-I', root, source, '-o', addon],
  )
  const libcxx = join(folder, 'libcxx.o')
  await cxx(
    ...compiled,
    ...['-std=c++23', '-D_LIBCPP_BUILDING_LIBRARY', '-DLIBCXX_BUILDING_LIBCXXABI'],
    ...['libcxx/src', 'libcxxabi/include', 'libcxxabi/src'].flatMap((name) => ['-I', join(zig, 'lib', name)]),
    ...[join(root, 'native/prebuild/libcxx.cc'), '-o', libcxx],
  )
  const next = join(out, `${name}.${process.pid}`)
  mkdirSync(dirname(next), { recursive: true })
  await cxx(
    // The whole of libc++ would take a minute to compile.
    ...['-nostdlib++', '-shared', '-Wl,--gc-sections'],
    // Instead of --exclude-libs, which lld has under this driver by no name.
    ...ldflags.filter((flag) => !flag.includes('exclude-libs')),
    `-Wl,--version-script=${join(root, 'native/prebuild/exports.map')}`,
    ...[addon, libcxx, '-o', next],
  )
  renameSync(next, join(out, name))
}

const buildAll = async () => {
  ensureDependencies()
  const wanted = fingerprint()
  const names = Object.keys(targets)
  const isThere = names.every((name) => existsSync(join(out, name)))
  const isFresh = isThere && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted
  if (isFresh && !process.argv.includes('--force')) return
  const zig = ensureZig()
  const start = performance.now()
  rmSync(out, { recursive: true, force: true })
  mkdirSync(work, { recursive: true })
  const source = unity(gyp().sources)
  const waiting = [...names]
  const worker = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift())
      await build(zig, name, targets[name], source)
  }
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), names.length) }, worker))
  writeFileSync(stamp, wanted)
  console.log(`built prebuilds/ in ${Math.round(performance.now() - start)} ms: ${names.join(' ')}`)
}

try {
  mkdirSync(join(root, 'build'), { recursive: true })
  await withLock(join(root, 'build/.prebuilding'), buildAll)
} catch (error) {
  console.error(`prebuild: ${error.message}`)
  process.exitCode = 1
}
