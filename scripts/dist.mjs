/**
 * Builds what is installed on hosts without Node (`npm run dist`): a folder with the launcher, the single executable
 * and links for every plugin, packed as dist/linkwright-<version>-linux-<arch>.tar.xz with its SHA-256 beside it.
 * docs/packaging.md says what is in it, and what makes two builds the same.
 *
 *   node scripts/dist.mjs [--arch x64|arm64] [--output FOLDER] [--level 0-9] [--form snapshot|code-cache|plain]
 *
 * --output is where the archive goes (default dist); --level is xz's (default 6); --form other than a start-up snapshot
 * is for measurements.
 */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from './root.mjs'
import { addonFor } from './sea/addon.mjs'
import { archive, sourceDate } from './sea/archive.mjs'
import { buildExecutable } from './sea/executable.mjs'
import { writeLicences } from './sea/licences.mjs'
import { architectures } from './sea/node-package.mjs'

const options = () => {
  const { values } = parseArgs({
    options: {
      arch: { type: 'string', default: process.arch },
      output: { type: 'string', default: join(root, 'dist') },
      level: { type: 'string', default: '6' },
      form: { type: 'string', default: 'snapshot' },
    },
  })
  if (!architectures.includes(values.arch))
    throw new Error(`--arch ${values.arch}: there are ${architectures.join(', ')}`)
  if (!/^\d$/.test(values.level)) throw new Error(`--level ${values.level}: there are 0 to 9`)
  return values
}

const node = (...args) => {
  const { status, signal, error } = spawnSync(process.execPath, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (error) throw error
  if (status !== 0) throw new Error(`${args.join(' ')} failed (${signal ?? `exit ${status}`})`)
}

/** How a program of another processor is run here. */
const runnerFor = (arch) => {
  if (arch === process.arch) return []
  // Its libraries are where its compiler has them.
  return ['qemu-aarch64-static', '-L', '/usr/aarch64-linux-gnu', '-0', 'linkwright-cni']
}

const launcherFor = (arch) => {
  node('scripts/build-launcher.mjs', '--arch', arch)
  return join(root, 'build', arch === process.arch ? 'launcher' : `launcher-${arch}`, 'linkwright-launcher')
}

/** Fills the folder that is packed. Modes are set, because a umask is the builder's. */
const fill = async (folder, { arch, form }) => {
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

const main = async () => {
  const start = performance.now()
  const { arch, output, level, form } = options()
  const date = sourceDate()
  node('scripts/build.mjs')
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const name = `linkwright-${version}-linux-${arch}`
  const work = join(root, `build/dist-${arch}.${process.pid}`)
  const path = join(resolve(output), `${name}.tar.xz`)
  try {
    mkdirSync(join(work, name), { recursive: true })
    await fill(join(work, name), { arch, form })
    mkdirSync(resolve(output), { recursive: true })
    const hash = archive(join(work, name), path, date, level)
    console.log(`built ${path} in ${Math.round(performance.now() - start)} ms\nSHA-256 ${hash}`)
  } finally {
    if (existsSync(work)) rmSync(work, { recursive: true })
  }
}

try {
  await main()
} catch (error) {
  console.error(`dist: ${error.message}`)
  process.exitCode = 1
}
