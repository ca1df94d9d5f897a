/**
 * The single executable: every plugin and the command line in one file, for hosts without Node. This module runs when
 * the executable is built; what it has loaded by then is in the start-up snapshot. A call begins in `start`.
 */
import { basename, dirname, join } from 'node:path'
import { startupSnapshot } from 'node:v8'
import { type Binding, loadBindingBy } from '../native/binding.ts'
import { ADDON, loadEmbedded } from '../native/embedded.ts'
import { plugins } from '../plugins/index.ts'
import { runCommandLine } from './command-line.ts'
import { runExecutable } from './executable.ts'
import '../ipam/ip-num.ts'

/** /tmp last: it is where others may write, and where files may often not be executed. */
const folders = ['/run', '/dev/shm', '/tmp']

const loadAddon = (): Binding => {
  // Only there in a single executable.
  const { getRawAsset } = require('node:sea') as typeof import('node:sea')
  const addon = new Uint8Array(getRawAsset(ADDON) as ArrayBuffer)
  return loadEmbedded(addon, folders, join(dirname(process.execPath), ADDON))
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
