/**
 * Makes dist/ what an npm package can hold, and back (npm's `prepack` and `postpack`): `npm pack` takes no symbolic
 * link, and a package knows no folder of the machine that it was made on.
 *
 *   node scripts/pack.mjs pack      builds dist/ and prebuilds/; bin/<type> become files, interpreters are found in PATH,
 *                                   addons and launchers for all processors lie in dist/cni
 *   node scripts/pack.mjs unpack    as it was
 */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { withLock } from './lock.mjs'
import { root } from './root.mjs'

const dist = join(root, 'dist')
const bin = join(dist, 'cni/bin')
/** What the scripts were, and the fingerprint: a build that finds none begins anew. */
const kept = join(root, 'build/unpacked')
const scripts = ['cli/linkwright.cjs', 'cni/linkwright-cni']

const node = (script) => {
  // What npm prints is for its caller.
  const { status, error } = spawnSync(process.execPath, [join(root, script)], {
    stdio: ['ignore', 2, 2],
  })
  if (error) throw error
  if (status !== 0) throw new Error(`${script} failed`)
}

const write = (path, text) => {
  const next = `${path}.${process.pid}`
  writeFileSync(next, text)
  chmodSync(next, 0o755)
  renameSync(next, path)
}

/** `env -S` is not everywhere where a package is installed. */
const portable = (script) => script.replace(/^#!.*/, '#!/usr/bin/env node')

const LAUNCHER = 'linkwright-launcher'

const placeOf = (name, platform) =>
  name === LAUNCHER ? `${LAUNCHER}.${platform}` : name.replace('linkwright.', `linkwright.${platform}.`)

const prebuilt = () =>
  readdirSync(join(root, 'prebuilds'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name: platform }) =>
      readdirSync(join(root, 'prebuilds', platform)).map((name) => ({
        from: join(root, 'prebuilds', platform, name),
        to: join(dist, 'cni', placeOf(name, platform)),
        mode: name === LAUNCHER ? 0o755 : 0o644,
      })),
    )

const pack = () => {
  rmSync(kept, { recursive: true, force: true })
  mkdirSync(kept, { recursive: true })
  // First, so that a build mends what is interrupted here.
  renameSync(join(dist, '.fingerprint'), join(kept, '.fingerprint'))
  for (const name of scripts) {
    const text = readFileSync(join(dist, name), 'utf8')
    cpSync(join(dist, name), join(kept, name.replace('/', '-')))
    write(join(dist, name), portable(text))
  }
  const standalone = readFileSync(join(dist, 'cni/linkwright-cni'), 'utf8')
  for (const type of readdirSync(bin)) {
    rmSync(join(bin, type))
    write(join(bin, type), standalone)
  }
  for (const { from, to, mode } of prebuilt()) {
    cpSync(from, to)
    chmodSync(to, mode)
  }
}

const unpack = () => {
  if (!existsSync(join(kept, '.fingerprint'))) return
  for (const { to } of prebuilt()) rmSync(to, { force: true })
  for (const type of readdirSync(bin)) {
    rmSync(join(bin, type))
    symlinkSync('../linkwright-launcher', join(bin, type))
  }
  for (const name of scripts) renameSync(join(kept, name.replace('/', '-')), join(dist, name))
  renameSync(join(kept, '.fingerprint'), join(dist, '.fingerprint'))
  rmSync(kept, { recursive: true, force: true })
}

const steps = { pack, unpack }

try {
  const step = steps[process.argv[2]]
  if (!step) throw new Error('what: pack or unpack?')
  if (step === pack) {
    node('scripts/build.mjs')
    node('scripts/prebuild.mjs')
  }
  await withLock(join(dist, '.building'), step)
} catch (error) {
  console.error(`pack: ${error.message}`)
  process.exitCode = 1
}
