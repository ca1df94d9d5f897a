/** Who is at work for a runtime at this moment: the CNI executables among the processes of a host. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import type { PrivateHost } from '../../support/space.ts'

/** A process that does what a runtime has asked for. */
export interface Caller {
  readonly verb: string
  readonly container: string
  /** It has the daemon do it, or is about to; else it is the standalone program. */
  readonly isLauncher: boolean
}

const read = (folder: string, plugin: string): Caller | null => {
  try {
    const isCalled = readFileSync(`${folder}/cmdline`, 'utf8')
      .split('\0')
      .some((argument) => basename(argument) === plugin)
    const variables = readFileSync(`${folder}/environ`, 'latin1').split('\0')
    const get = (name: string): string =>
      variables.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1) ?? ''
    if (!isCalled || get('CNI_COMMAND') === '') return null
    const isLauncher = readlinkSync(`${folder}/exe`).endsWith('/linkwright-launcher')
    return { verb: get('CNI_COMMAND'), container: get('CNI_CONTAINERID'), isLauncher }
  } catch {
    // It has ended meanwhile.
    return null
  }
}

/** Those of a plugin, on a host with a process namespace. */
export const callersOf = (host: PrivateHost, plugin: string): Caller[] =>
  readdirSync(host.file('/proc'))
    .filter((name) => /^\d+$/.test(name))
    .map((name) => read(host.file(`/proc/${name}`), plugin))
    .filter((one) => one !== null)
