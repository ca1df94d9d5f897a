/**
 * Builds everything into dist/ (`npm run build`): the library, the CNI executables and the command line. Installs
 * node_modules first where they are missing. Quick when nothing has changed since the last time.
 *
 *   dist/lib/                         the library: ES modules, types, the addon
 *   dist/cni/bin/<type>               CNI executables, links to dist/cni/linkwright-launcher
 *   dist/cni/linkwright-launcher      asks the daemon, or executes
 *   dist/cni/linkwright-cni           all plugins, without a daemon
 *   dist/cli/linkwright.cjs           the command line
 *
 *   node scripts/build.mjs [--force]
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, relative } from 'node:path'
import { bundleCli, bundleCni, copyAddon } from './bundle.mjs'
import { ensureDependencies } from './dependencies.mjs'
import { withLock } from './lock.mjs'
import { root } from './root.mjs'
import { runNode } from './run-node.mjs'

const dist = join(root, 'dist')
const stamp = join(dist, '.fingerprint')
const layers = ['native', 'netlink', 'cni', 'ipam', 'plugins', 'meta', 'daemon', 'cli']

const filesBelow = (folder) =>
  readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))

/** Everything that dist/ is made from: contents, not dates, so that a checkout of the same sources is no change. */
const fingerprint = () => {
  const sources = layers
    .filter((layer) => existsSync(join(root, layer)))
    .flatMap((layer) => filesBelow(join(root, layer)))
    .filter((path) => path.endsWith('.ts'))
  const others = [
    'index.ts',
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'build/Release/linkwright.node',
    'build/launcher/linkwright-launcher',
    'scripts/build.mjs',
    'scripts/bundle.mjs',
    'scripts/trials.mjs',
    'scripts/warm-up.cjs',
    'scripts/launcher.cjs',
  ].map((name) => join(root, name))
  const hash = createHash('sha256').update(`${process.version} ${process.execPath}\n`)
  for (const path of [...sources, ...others].filter((path) => existsSync(path)).sort()) {
    const content = readFileSync(path)
    hash.update(`${relative(root, path)} ${content.length}\n`).update(content)
  }
  return hash.digest('hex')
}

const isFresh = (wanted) => {
  if (!existsSync(stamp)) return false
  const [hash, ...made] = readFileSync(stamp, 'utf8').split('\n')
  return hash === wanted && made.every((path) => existsSync(join(dist, path)))
}

/**
 * Into a folder of its own first: a module that was renamed must not live on.
 * @returns the error of the compiler. It emits all the same, and so the rest can be built: a wrong type in one place
 * fails the build, but does not keep anybody from trying another
 */
const buildLibrary = () => {
  const next = join(dist, `lib.${process.pid}`)
  let failure
  try {
    const tsc = createRequire(import.meta.url).resolve('typescript/package.json')
    try {
      runNode(join(tsc, '../bin/tsc'), '-p', 'tsconfig.build.json', '--outDir', next)
    } catch (error) {
      failure = error
    }
    copyAddon(join(next, 'native'))
    const old = join(dist, 'lib')
    rmSync(old, { recursive: true, force: true })
    renameSync(next, old)
  } finally {
    rmSync(next, { recursive: true, force: true })
  }
  return failure
}

const build = async () => {
  ensureDependencies()
  runNode(join(root, 'scripts/build-addon.mjs'))
  runNode(join(root, 'scripts/build-launcher.mjs'))
  const wanted = fingerprint()
  if (!process.argv.includes('--force') && isFresh(wanted)) return
  const start = performance.now()
  rmSync(stamp, { force: true })
  const failure = buildLibrary()
  const types = await bundleCni()
  await bundleCli()
  if (failure) throw failure
  const made = [
    'lib/index.js',
    'lib/native/linkwright.node',
    'cli/linkwright.cjs',
    'cli/linkwright.node',
    'cni/linkwright.node',
    'cni/linkwright-cni',
    'cni/linkwright-launcher',
    ...types.map((type) => `cni/bin/${type}`),
  ]
  writeFileSync(stamp, [wanted, ...made].join('\n'))
  console.log(`built dist/ in ${Math.round(performance.now() - start)} ms: ${types.join(' ')}`)
}

try {
  mkdirSync(dist, { recursive: true })
  await withLock(join(dist, '.building'), build)
} catch (error) {
  console.error(`build: ${error.message}`)
  process.exitCode = 1
}
