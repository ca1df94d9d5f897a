/**
 * Builds the addon and the launcher for every platform of the npm package (`npm run prebuilds`; a script named `prebuild`
 * would run before each build), on any of them, with zig as the compiler; the addon by prebuildify:
 *
 *   prebuilds/linux-<x64|arm64>/linkwright.<glibc|musl>.node
 *   prebuilds/linux-<x64|arm64>/linkwright-launcher
 *
 * An addon needs no more of its platform than glibc 2.28 (RHEL 8, Debian 10) or musl, and Node-API 9; what it uses of
 * libc++ is in it. A launcher needs nothing. Quick when nothing has changed since the last time.
 *
 *   node scripts/prebuild.mjs [--force]
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { runInNewContext } from 'node:vm'
import { ensureDependencies } from './dependencies.mjs'
import { withLock } from './lock.mjs'
import { headerPrefix } from './node-headers.mjs'
import { prebuildLauncher } from './prebuild-launcher.mjs'
import { root } from './root.mjs'
import { ensureZig } from './zig.mjs'

/** The files' platforms, and what clang calls them. */
const targets = new Map([
  [{ arch: 'x64', libc: 'glibc' }, 'x86_64-linux-gnu.2.28'],
  [{ arch: 'x64', libc: 'musl' }, 'x86_64-linux-musl'],
  [{ arch: 'arm64', libc: 'glibc' }, 'aarch64-linux-gnu.2.28'],
  [{ arch: 'arm64', libc: 'musl' }, 'aarch64-linux-musl'],
])
const fileOf = ({ arch, libc }) => `linux-${arch}/linkwright.${libc}.node`
const processors = ['x64', 'arm64']
const launcherOf = (arch) => `linux-${arch}/linkwright-launcher`

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
    'scripts/prebuild-launcher.mjs',
    'scripts/zig.mjs',
    ...below('native/launcher'),
    ...below('native/prebuild'),
    ...below('native/src'),
  ].map((name) => join(root, name))
  files.push(join(addonApi(), 'package.json'), join(headerPrefix(), 'include/node/node_api.h'))
  const hash = createHash('sha256')
  for (const path of files.sort()) hash.update(readFileSync(path)).update('\0')
  return hash.digest('hex')
}

/** Runs a program; what it prints is shown where it fails. */
const run = (file, args, { cwd = root, env }) =>
  new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (text) => {
        said += text
      })
    child.once('error', reject)
    child.once('close', (status, signal) => {
      if (status === 0) resolve()
      else reject(new Error(`${args.join(' ')} failed (${signal ?? `exit ${status}`}):\n${said}`))
    })
  })

/** Some files as one source: the headers, most of the work, are read once. */
const unity = (path, sources) =>
  writeFileSync(path, sources.map((source) => `#include "${join(root, source)}"\n`).join(''))

/** What node-gyp is told to build: as binding.gyp has it, but with two sources and what is needed of libc++. */
const bindingFor = (zig) => {
  const { target_name, defines, cflags, cflags_cc: cflagsCc, ldflags, ...others } = gyp()
  const compiled = [
    // Whose warnings are worth reading is the build from binding.gyp; musl's headers make some.
    ...[...cflags, ...cflagsCc].filter((flag) => !/^-(?:isystem|std=|W)/.test(flag)),
    // Names of this machine's folders are kept out.
    ...['-w', '-ffunction-sections', '-fdata-sections', `-ffile-prefix-map=${root}=.`],
  ]
  const removed = { 'cflags!': others['cflags!'], 'cflags_cc!': others['cflags_cc!'] }
  const libcxx = ['libcxx/src', 'libcxxabi/include', 'libcxxabi/src'].map((name) => join(zig, 'lib', name))
  return {
    targets: [
      {
        target_name,
        ...removed,
        sources: ['addon.cc'],
        dependencies: ['libcxx'],
        defines,
        cflags_cc: [...compiled, '-std=c++20', '-isystem', addonApi()],
        ldflags: [
          // The whole of libc++ would take a minute to compile.
          ...['-nostdlib++', '-Wl,--gc-sections'],
          // Instead of --exclude-libs, which lld has under this driver by no name.
          ...ldflags.filter((flag) => !flag.includes('exclude-libs')),
          `-Wl,--version-script=${join(root, 'native/prebuild/exports.map')}`,
        ],
      },
      {
        target_name: 'libcxx',
        type: 'static_library',
        ...removed,
        sources: ['libcxx.cc'],
        defines: ['_LIBCPP_BUILDING_LIBRARY', 'LIBCXX_BUILDING_LIBCXXABI'],
        cflags_cc: [...compiled, '-fPIC', '-std=c++23', ...libcxx.map((folder) => `-I${folder}`)],
      },
    ],
  }
}

const environment = () => {
  const caches = join(root, 'build/zig-cache')
  return { ...process.env, ZIG_GLOBAL_CACHE_DIR: caches, ZIG_LOCAL_CACHE_DIR: caches }
}

/** Builds one addon with prebuildify, in a folder of its own: node-gyp empties `build/` there. */
const build = async (zig, { arch, libc }, target) => {
  const folder = join(work, target)
  mkdirSync(folder, { recursive: true })
  unity(join(folder, 'addon.cc'), gyp().sources)
  unity(join(folder, 'libcxx.cc'), ['native/prebuild/libcxx.cc'])
  writeFileSync(join(folder, 'binding.gyp'), JSON.stringify(bindingFor(zig), null, 2))
  const compiler = (name) => `${join(zig, 'zig')} ${name} -target ${target}`
  const env = {
    ...environment(),
    ...{ CC: compiler('cc'), CXX: compiler('c++'), AR: `${join(zig, 'zig')} ar` },
    // The headers beside this Node: nothing is downloaded, and Node-API is the same in all of them.
    npm_config_nodedir: headerPrefix(),
  }
  const prebuildify = createRequire(import.meta.url).resolve('prebuildify/bin.js')
  await run(
    process.execPath,
    [
      ...[prebuildify, '--name', 'linkwright', '--napi', '--target', process.version],
      ...['--platform', 'linux', '--arch', arch, '--tag-libc', libc],
      ...['--cwd', folder, '--out', root, '--cache', join(folder, 'cache')],
    ],
    { env },
  )
}

const buildLauncher = async (zig, arch) => {
  const to = join(out, launcherOf(arch))
  mkdirSync(dirname(to), { recursive: true })
  const settings = { zig: join(zig, 'zig'), arch, work: join(work, `launcher-${arch}`), to }
  await prebuildLauncher({ ...settings, env: environment(), run })
}

const buildAll = async () => {
  ensureDependencies()
  const wanted = fingerprint()
  const names = [...[...targets.keys()].map(fileOf), ...processors.map(launcherOf)]
  const isThere = names.every((name) => existsSync(join(out, name)))
  const isFresh = isThere && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted
  if (isFresh && !process.argv.includes('--force')) return
  const zig = ensureZig()
  const start = performance.now()
  rmSync(out, { recursive: true, force: true })
  mkdirSync(work, { recursive: true })
  const waiting = [
    ...[...targets].map(
      ([platform, target]) =>
        () =>
          build(zig, platform, target),
    ),
    ...processors.map((arch) => () => buildLauncher(zig, arch)),
  ].values()
  const worker = async () => {
    for (const one of waiting) await one()
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
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
