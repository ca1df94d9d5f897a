import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { withoutCodeCache } from './blob.mjs'
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

const blobOf = ({ plugins, commands, addon, node, form, runner }) => {
  const folder = mkdtempSync(join(tmpdir(), 'linkwright-dist-'))
  try {
    writeFileSync(join(folder, 'linkwright-cni.js'), plugins)
    writeFileSync(join(folder, 'commands.js'), commands, 'latin1')
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
    // would make two builds differ. The executable draws its own at each start. A warning would be in the snapshot,
    // and so would be how many collections a function has outlived, and what an object's padding holds where another
    // one was before: with room for all of them there is no collection until the end.
    const args = [
      '--random-seed=1',
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
    return form === 'snapshot' ? withoutCodeCache(blob) : blob
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Makes the single executable.
 * @param arch `x64` or `arm64` @param addon path of the addon for it
 * @param form `snapshot` (the default), `code-cache` or `plain`
 * @param runner the command that runs a program of another processor: `['qemu-aarch64-static', '-0', …]`
 * @returns its bytes, and the folders of the packages that are in it
 */
export const buildExecutable = async ({ arch, addon, form = 'snapshot', runner = [] }) => {
  const node = join(nodePackage(arch), 'bin/node')
  const { plugins, commands, packages } = await bundleExecutable()
  const blob = blobOf({ plugins, commands, addon, node, form, runner })
  return { bytes: inject(readFileSync(node), blob), packages }
}
