import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { root } from '../root.mjs'
import { nodePackage } from './node-package.mjs'

/** As in binding.gyp. */
const flags = [
  ...['-DNAPI_VERSION=9', '-DNAPI_DISABLE_CPP_EXCEPTIONS', '-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'],
  ...['-std=c++20', '-O2', '-fPIC', '-fno-exceptions', '-fno-rtti', '-fno-strict-aliasing', '-pthread'],
  ...['-fvisibility=hidden', '-fvisibility-inlines-hidden', '-Wall', '-Wextra'],
]
const linkFlags = [
  '-shared',
  '-s',
  '-Wl,-z,now',
  '-Wl,-z,nodelete',
  '-Wl,--exclude-libs,ALL',
  '-Wl,--build-id=none',
]

const compilers = { x64: 'x86_64-linux-gnu-g++', arm64: 'aarch64-linux-gnu-g++' }

const compile = (arch, made) => {
  const include = join(nodePackage(arch), 'include/node')
  const nodeAddonApi = dirname(createRequire(import.meta.url).resolve('node-addon-api/package.json'))
  const sources = readdirSync(join(root, 'native/src'))
    .filter((name) => name.endsWith('.cc'))
    .map((name) => `native/src/${name}`)
    .sort()
  mkdirSync(dirname(made), { recursive: true })
  const draft = `${made}.${process.pid}`
  const args = [...flags, `-I${include}`, `-isystem${nodeAddonApi}`, ...sources, ...linkFlags, '-o', draft]
  const { status, error, stderr } = spawnSync(compilers[arch], args, { cwd: root, encoding: 'utf8' })
  if (error?.code === 'ENOENT')
    throw new Error(`${compilers[arch]} is missing: the addon for ${arch} is built with it`)
  if (error) throw error
  if (status !== 0) throw new Error(`the addon for ${arch} does not compile:\n${stderr}`)
  renameSync(draft, made)
}

const isNewer = (path) => {
  if (!existsSync(path)) return false
  const { mtimeMs } = statSync(path)
  return readdirSync(join(root, 'native/src')).every(
    (name) => statSync(join(root, 'native/src', name)).mtimeMs < mtimeMs,
  )
}

/**
 * The addon for `arch`: the one built for npm where there is one (it needs no more of the C library than Node does);
 * else this machine's own; for another processor one that is compiled now.
 * @returns its path
 */
export const addonFor = (arch) => {
  const prebuilt = join(root, `prebuilds/linux-${arch}`)
  const names = existsSync(prebuilt)
    ? readdirSync(prebuilt).filter((name) => /glibc.*\.node$/.test(name))
    : []
  if (names[0] && isNewer(join(prebuilt, names[0]))) return join(prebuilt, names[0])
  if (arch === process.arch) return join(root, 'build/Release/linkwright.node')
  const made = join(root, `build/addon-${arch}/linkwright.node`)
  if (!isNewer(made)) compile(arch, made)
  return made
}
