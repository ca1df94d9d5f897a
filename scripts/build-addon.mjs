/**
 * Builds build/Release/linkwright.node for the Node that runs this script, against the headers beside it. Nothing is
 * downloaded. Does nothing when the addon is newer than everything it is made from.
 *
 *   node scripts/build-addon.mjs [--force] [--werror]
 *
 * --force builds everything anew; --werror lets a warning fail the build.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { headerPrefix } from './node-headers.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const addon = join(root, 'build/Release/linkwright.node')
/** Which Node the addon was built with; its age is the build's. */
const stamp = join(root, 'build/Release/linkwright.stamp')

const sources = [
  'binding.gyp',
  'scripts/build-addon.mjs',
  ...readdirSync(join(root, 'native/src')).map((name) => `native/src/${name}`),
].map((name) => join(root, name))

const isFresh = () => {
  if (!existsSync(addon) || !existsSync(stamp)) return false
  if (readFileSync(stamp, 'utf8') !== `${process.version} ${process.arch}`) return false
  const built = statSync(stamp).mtimeMs
  return sources.every((path) => statSync(path).mtimeMs < built)
}

/** npm hands its configuration on as npm_config_*, where a `nodedir` or `build_from_source` would win over ours. */
const environment = () => {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)))
  // binding.gyp asks `node` for the include directory: it must be this one.
  return { ...env, PATH: `${dirname(process.execPath)}${delimiter}${env.PATH ?? ''}` }
}

const build = () => {
  const nodeGyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js')
  const started = new Date()
  // `configure` keeps object files of sources that did not change; `build` alone would not see a new source.
  const steps =
    existsSync(join(root, 'build/Makefile')) && !process.argv.includes('--force')
      ? ['configure', 'build']
      : ['rebuild']
  for (const step of steps) {
    const args = [nodeGyp, step, '--release', `--nodedir=${headerPrefix()}`, '--loglevel=warn', '--jobs=max']
    if (step !== 'build' && process.argv.includes('--werror')) args.push('--', '-Dwerror=1')
    const { status, signal, error } = spawnSync(process.execPath, args, {
      cwd: root,
      env: environment(),
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    if (error) throw error
    if (status !== 0) throw new Error(`node-gyp ${step} failed (${signal ?? `exit ${status}`})`)
  }
  writeFileSync(stamp, `${process.version} ${process.arch}`)
  console.log(`built build/Release/linkwright.node in ${Date.now() - started} ms`)
}

try {
  if (process.argv.includes('--force') || !isFresh()) build()
} catch (error) {
  console.error(error.message)
  process.exit(1)
}
