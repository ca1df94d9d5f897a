import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { agreed, withoutCodeCache } from './blob.mjs'
import { bundleExecutable } from './bundle.mjs'
import { inject } from './elf.mjs'
import { nodePackage } from './node-package.mjs'

/** Ways to bring the script along. The others are there to be measured against. */
const forms = {
  snapshot: { useSnapshot: true, useCodeCache: false },
  'code-cache': { useSnapshot: false, useCodeCache: true },
  plain: { useSnapshot: false, useCodeCache: false },
}

/**
 * Options of Node that every start has. There is nothing to do for threads of the engine in a process that lives for
 * some ten milliseconds.
 */
const execArgv = ['--v8-pool-size=0', '--openssl-config=/dev/null']

const snapshot = readFileSync(new URL('snapshot.cjs', import.meta.url), 'latin1')

/** A script that runs the plugins' at once. */
const started = (plugins) =>
  `const __module={exports:{}};\n${plugins}(__module,require,process);\n__module.exports.start()`

const blobOf = ({ scripts, addon, node, form, runner }) => {
  const folder = mkdtempSync(join(tmpdir(), 'linkwright-dist-'))
  try {
    const write = (name, text) => writeFileSync(join(folder, name), text, 'latin1')
    write('linkwright-cni.js', form === 'snapshot' ? snapshot : started(scripts.plugins))
    for (const name of ['plugins', 'commands', 'trial']) write(`${name}.js`, scripts[name])
    copyFileSync(addon, join(folder, 'linkwright.node'))
    const config = {
      // The script's path is in the snapshot: one that is the same for every build.
      main: '/proc/self/cwd/linkwright-cni.js',
      output: 'sea.blob',
      disableExperimentalSEAWarning: true,
      ...forms[form],
      execArgv,
      execArgvExtension: 'none',
      assets: { 'linkwright.node': 'linkwright.node', 'commands.js': 'commands.js' },
    }
    writeFileSync(join(folder, 'sea.json'), JSON.stringify(config))
    // The order of objects in a snapshot depends on hashes, and the hashes on the seed: another one for each build
    // would make two builds differ. The executable draws its own at each start. So would threads of the engine, code
    // that it optimizes when it has time, and collections: what a function has outlived is in the snapshot, and what an
    // object's padding holds where another one was before. With room for everything there are none until the end. A
    // warning would be in the snapshot too.
    const args = [
      '--random-seed=1',
      '--predictable',
      '--max-opt=0',
      '--initial-heap-size=1024',
      '--min-semi-space-size=64',
      '--no-flush-bytecode',
      '--no-warnings',
      '--experimental-sea-config',
      'sea.json',
    ]
    const [file, ...before] = [...runner, node]
    const { status, error, stderr } = spawnSync(file, [...before, ...args], {
      cwd: folder,
      env: {},
      argv0: runner.length === 0 ? 'linkwright-cni' : undefined,
      encoding: 'utf8',
    })
    if (error) throw error
    if (status !== 0) throw new Error(`the start-up snapshot could not be made (exit ${status}):\n${stderr}`)
    const blob = readFileSync(join(folder, 'sea.blob'))
    if (form !== 'snapshot') return { blob, doubts: '' }
    return { blob: withoutCodeCache(blob), doubts: readFileSync(join(folder, 'failures'), 'utf8') }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Makes the single executable.
 * @param arch `x64` or `arm64` @param addon path of the addon for it
 * @param form `snapshot` (the default), `code-cache` or `plain`
 * @param runner the command that runs a program of another processor: `['qemu-aarch64-static', '-0', …]`
 * @returns its bytes, the folders of the packages that are in it, and which trials have failed, in words: it works without
 * them, and is slower
 */
export const buildExecutable = async ({ arch, addon, form = 'snapshot', runner = [] }) => {
  const node = join(nodePackage(arch), 'bin/node')
  const { packages, ...scripts } = await bundleExecutable()
  const make = () => blobOf({ scripts, addon, node, form, runner })
  const { blob, doubts } = form === 'snapshot' ? agreed(make) : make()
  return { bytes: inject(readFileSync(node), blob), packages, doubts }
}
