/**
 * Builds the launcher, build/launcher/linkwright-launcher, with cmake and a C++ compiler (`CXX`, as cmake has it). Does
 * nothing when it is newer than everything it is made from.
 *
 *   node scripts/build-launcher.mjs [--force] [--werror] [--arch x64|arm64] [--sanitize]
 *
 * --force builds everything anew; --werror lets a warning fail the build; --arch builds for another processor, into
 * build/launcher-<arch>; --sanitize builds with AddressSanitizer and UndefinedBehaviorSanitizer, into
 * build/launcher-asan.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { withLock } from './lock.mjs'
import { root } from './root.mjs'

const { values } = parseArgs({
  options: {
    force: { type: 'boolean', default: false },
    werror: { type: 'boolean', default: false },
    sanitize: { type: 'boolean', default: false },
    arch: { type: 'string', default: process.arch },
  },
})
/** What the GNU compilers and cmake call a processor. */
const processors = { x64: 'x86_64', arm64: 'aarch64' }
const isForeign = values.arch !== process.arch
const folder = values.sanitize ? 'launcher-asan' : isForeign ? `launcher-${values.arch}` : 'launcher'
const out = join(root, 'build', folder)
const launcher = join(out, 'linkwright-launcher')
/** Written after a build; its age is the build's. */
const stamp = join(out, 'linkwright.stamp')

const sources = [
  'scripts/build-launcher.mjs',
  'native/src/errno-names.inc',
  ...readdirSync(join(root, 'native/launcher')).map((name) => `native/launcher/${name}`),
].map((name) => join(root, name))

const settings = JSON.stringify([values.arch, values.sanitize, process.env.CXX ?? ''])

const isFresh = () => {
  if (!existsSync(launcher) || !existsSync(stamp)) return false
  if (readFileSync(stamp, 'utf8') !== settings) return false
  const built = statSync(stamp).mtimeMs
  return sources.every((path) => statSync(path).mtimeMs < built)
}

const cmake = (...args) => {
  const { status, signal, stdout, stderr, error } = spawnSync('cmake', args, { cwd: root, encoding: 'utf8' })
  if (error?.code === 'ENOENT') throw new Error('cmake is missing: the launcher is built with it')
  if (error) throw error
  // It talks about every step. Warnings are for everybody, the rest only where something is wrong.
  if (stderr !== '') process.stderr.write(stderr)
  if (status === 0) return
  process.stderr.write(stdout)
  throw new Error(`cmake failed (${signal ?? `exit ${status}`})`)
}

/** For another processor; a compiler of the caller's choice goes before the one of this name. */
const crossing = () => {
  const processor = processors[values.arch]
  if (!processor) throw new Error(`--arch ${values.arch}: known are ${Object.keys(processors).join(', ')}`)
  const compiler = process.env.CXX ? [] : [`-DCMAKE_CXX_COMPILER=${processor}-linux-gnu-g++`]
  return [...compiler, '-DCMAKE_SYSTEM_NAME=Linux', `-DCMAKE_SYSTEM_PROCESSOR=${processor}`]
}

const build = () => {
  const start = performance.now()
  // cmake keeps what it was told first.
  if (values.force || !existsSync(stamp) || readFileSync(stamp, 'utf8') !== settings)
    rmSync(out, { recursive: true, force: true })
  cmake(
    ...['-S', join(root, 'native/launcher'), '-B', out],
    `-DLINKWRIGHT_WERROR=${values.werror ? 'ON' : 'OFF'}`,
    `-DLINKWRIGHT_SANITIZE=${values.sanitize ? 'address,undefined' : ''}`,
    ...(isForeign ? crossing() : []),
  )
  cmake('--build', out, '--parallel', '2')
  writeFileSync(stamp, settings)
  console.log(`built build/${folder}/linkwright-launcher in ${Math.round(performance.now() - start)} ms`)
}

try {
  mkdirSync(join(root, 'build'), { recursive: true })
  await withLock(join(root, 'build', `.${folder}`), () => {
    if (values.force || !isFresh()) build()
  })
} catch (error) {
  console.error(error.message)
  process.exit(1)
}
