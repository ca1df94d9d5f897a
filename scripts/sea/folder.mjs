/** The folder that is packed and installed: made for `npm run dist`, and as it is for `npm run bench`. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, relative } from 'node:path'
import { withLock } from '../lock.mjs'
import { root } from '../root.mjs'
import { runNode } from '../run-node.mjs'
import { addonFor } from './addon.mjs'
import { buildExecutable } from './executable.mjs'
import { writeLicences } from './licences.mjs'

/** How a program of another processor is run here. */
const runnerFor = (arch) => {
  if (arch === process.arch) return []
  // Its libraries are where its compiler has them.
  return ['qemu-aarch64-static', '-L', '/usr/aarch64-linux-gnu', '-0', 'linkwright-cni']
}

const launcherFor = (arch) => {
  runNode('scripts/build-launcher.mjs', '--arch', arch)
  return join(root, 'build', arch === process.arch ? 'launcher' : `launcher-${arch}`, 'linkwright-launcher')
}

/**
 * Fills a folder with what hosts get. Modes are set, because a umask is the builder's. dist/ has to be built.
 * @param options `arch`: x64 or arm64; `form`: of the single executable
 */
export const fillFolder = async (folder, { arch, form }) => {
  const put = (name, mode, write) => {
    write(join(folder, name))
    chmodSync(join(folder, name), mode)
  }
  const folderFor = (name) => {
    mkdirSync(join(folder, name), { recursive: true })
    chmodSync(join(folder, name), 0o755)
  }
  const copy = (name, from, mode = 0o644) => put(name, mode, (path) => copyFileSync(from, path))

  const addon = addonFor(arch)
  const { bytes, packages } = await buildExecutable({ arch, addon, form, runner: runnerFor(arch) })
  for (const name of ['.', 'bin', 'systemd', 'licenses']) folderFor(name)
  put('linkwright-cni', 0o755, (path) => writeFileSync(path, bytes))
  copy('linkwright.node', addon)
  copy('linkwright-launcher', launcherFor(arch), 0o755)
  for (const type of readdirSync(join(root, 'dist/cni/bin')).sort())
    symlinkSync('../linkwright-launcher', join(folder, 'bin', type))
  symlinkSync('../linkwright-cni', join(folder, 'bin/linkwright'))
  for (const unit of readdirSync(join(root, 'deploy/systemd')).sort())
    copy(`systemd/${unit}`, join(root, 'deploy/systemd', unit))
  copy('LICENSE', join(root, 'LICENSE'))
  copy('README.md', join(root, 'README.md'))
  writeLicences(join(folder, 'licenses'), arch, packages)
  for (const name of readdirSync(join(folder, 'licenses'))) chmodSync(join(folder, 'licenses', name), 0o644)
}

/** Everything that the folder is made from. What dist/ is made from has been read when that was built. */
const fingerprint = (addon) => {
  const below = (folder) =>
    readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
      .sort()
  const hash = createHash('sha256')
  for (const name of [
    'dist/.fingerprint',
    ...below('scripts/sea'),
    ...below('deploy/systemd'),
    'LICENSE',
    'README.md',
  ]) {
    const content = readFileSync(join(root, name))
    hash.update(`${name} ${content.length}\n`).update(content)
  }
  return hash.update(readFileSync(addon)).digest('hex')
}

const tar = (...args) => {
  const { status, error, stderr } = spawnSync('tar', args, { encoding: 'utf8' })
  if (error) throw error
  if (status !== 0) throw new Error(`tar failed (exit ${status}):\n${stderr}`)
}

/**
 * The folder for this machine, kept in build/ and made anew where something has changed. dist/ has to be built.
 * @returns its path
 */
export const keptFolder = async () => {
  const folder = join(root, 'build/archive')
  const stamp = join(root, 'build/archive.fingerprint')
  await withLock(join(root, 'build/.archive'), async () => {
    const wanted = fingerprint(addonFor(process.arch))
    const isFresh = existsSync(folder) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted
    if (isFresh) return
    const draft = `${folder}.${process.pid}`
    const [filled, packed, unpacked] = ['filled', 'tar', 'unpacked'].map((name) => join(draft, name))
    try {
      mkdirSync(filled, { recursive: true })
      mkdirSync(unpacked)
      await fillFolder(filled, { arch: process.arch, form: 'snapshot' })
      // What is written in pieces is kept by the page cache in pieces, and mapped so: as on a host that has unpacked it.
      tar('--create', `--file=${packed}`, `--directory=${filled}`, '.')
      tar('--extract', `--file=${packed}`, `--directory=${unpacked}`)
      rmSync(stamp, { force: true })
      rmSync(folder, { recursive: true, force: true })
      renameSync(unpacked, folder)
      writeFileSync(stamp, wanted)
    } finally {
      rmSync(draft, { recursive: true, force: true })
    }
  })
  return folder
}
