/**
 * The single executable: every plugin and the command line in one file, for hosts without Node. This module runs when
 * the executable is built; what it has loaded by then is in the start-up snapshot. A call begins in `start`. The other
 * exports are for scripts/sea/trial.
 */
import { basename, dirname, join } from 'node:path'
import { type Binding, loadBindingBy } from '../native/binding.ts'
import { ADDON, loadEmbedded } from '../native/embedded.ts'
import { plugins } from '../plugins/index.ts'
import { runExecutable } from './executable.ts'
import '../ipam/ip-num.ts'

export { loadBindingBy, plugins, runExecutable }

/** /tmp last: it is where others may write, and where files may often not be executed. */
const folders = ['/run', '/dev/shm', '/tmp']

const asset = (name: string): Uint8Array => {
  // Only there in a single executable.
  const { getRawAsset } = require('node:sea') as typeof import('node:sea')
  return new Uint8Array(getRawAsset(name) as ArrayBuffer)
}

const loadAddon = (): Binding => loadEmbedded(asset(ADDON), folders, join(dirname(process.execPath), ADDON))

const commands = (): typeof import('./sea-commands.ts') => {
  const { runInThisContext } = require('node:vm') as typeof import('node:vm')
  const { buffer, byteOffset, byteLength } = asset('commands.js')
  const code = Buffer.from(buffer, byteOffset, byteLength).toString('latin1')
  const module = { exports: {} }
  runInThisContext(code, { filename: '/linkwright-commands' })(module, require, process)
  const made = module.exports as typeof import('./sea-commands.ts')
  made.loadBindingBy(loadAddon)
  return made
}

/** Does what the arguments ask for, and exits. */
export const start = (): void => {
  const [, script = '', first, ...rest] = process.argv
  if (basename(script) === 'linkwright') commands().runCommandLine(process.argv.slice(2))
  else if (first === 'linkwright') commands().runCommandLine(rest)
  else {
    loadBindingBy(loadAddon)
    runExecutable(plugins, {
      'dhcp daemon': async (args) => await commands().runDhcpDaemon(args),
      'dhcp leases': async (args) => await commands().runDhcpLeases(args),
    })
  }
}
