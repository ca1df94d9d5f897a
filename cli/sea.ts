/**
 * The single executable: every plugin and the command line in one file, for hosts without Node. This module runs when
 * the executable is built; what it has loaded by then is in the start-up snapshot. A call begins in `start`.
 */
import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { startupSnapshot } from 'node:v8'
import { type Binding, loadBindingBy } from '../native/binding.ts'
import { plugins } from '../plugins/index.ts'
import { runCommandLine } from './command-line.ts'
import { runExecutable } from './executable.ts'
import '../ipam/ip-num.ts'

/** The name of the asset. */
const ADDON = 'linkwright.node'
/** O_TMPFILE of <fcntl.h>, which Node does not name: __O_TMPFILE | O_DIRECTORY. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY

const load = (path: string): Binding => {
  const module = { exports: {} as Binding }
  process.dlopen(module, path)
  return module.exports
}

/** Loads the addon from a file that never has a name: nobody can put another in its place, and nothing stays behind. */
const loadFrom = (folder: string, addon: Uint8Array): Binding => {
  const fd = openSync(folder, O_TMPFILE | constants.O_RDWR, 0o700)
  try {
    for (let rest = addon; rest.length > 0; ) rest = rest.subarray(writeSync(fd, rest))
    return load(`/proc/self/fd/${fd}`)
  } finally {
    closeSync(fd)
  }
}

const loadAddon = (): Binding => {
  const { getRawAsset } = require('node:sea') as typeof import('node:sea')
  const addon = new Uint8Array(getRawAsset(ADDON) as ArrayBuffer)
  const reasons: string[] = []
  for (const folder of ['/run', '/dev/shm', '/tmp'])
    try {
      return loadFrom(folder, addon)
    } catch (error) {
      reasons.push(`${folder}: ${(error as Error).message.split('\n')[0]}`)
    }
  const beside = join(dirname(process.execPath), ADDON)
  try {
    return load(beside)
  } catch (error) {
    reasons.push(`${beside}: ${(error as Error).message.split('\n')[0]}`)
  }
  throw new Error(`linkwright's addon could not be loaded (${process.arch}): ${reasons.join('; ')}`)
}

const start = (): void => {
  loadBindingBy(loadAddon)
  const [, script = '', first, ...rest] = process.argv
  if (basename(script) === 'linkwright') runCommandLine(process.argv.slice(2))
  else if (first === 'linkwright') runCommandLine(rest)
  else runExecutable(plugins)
}

if (startupSnapshot.isBuildingSnapshot()) startupSnapshot.setDeserializeMainFunction(start)
else start()
