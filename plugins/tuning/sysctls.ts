/** Sysctls of the container's namespace: read, written in order, compared, and given back. */
import { constants, writeSync } from 'node:fs'
import { ioError } from '../../ipam/files.ts'
import { isErrno, type Netns, SocketError } from '../../netlink/index.ts'
import type { Sysctl } from './conf.ts'

/** What settings were before, by their path. */
export type Originals = Readonly<Record<string, string>>

/** What reading one answers that can only be written (`route/flush`), or has no value yet (`stable_secret`). */
const unreadable = ['EIO', 'EINVAL', 'EACCES', 'EPERM', 'EOPNOTSUPP']

const failed = (error: unknown, { key, path }: Sysctl): Error =>
  ioError(
    error,
    `/proc/sys/${path}`,
    isErrno(error, 'ENOENT')
      ? `sysctl ${key}: the container has no such setting or interface, or the kernel lacks the module`
      : `sysctl ${key}`,
  )

/** How one is now; null where that can not be read. @throws CniError code 5 where there is none */
export const readSysctl = (netns: Netns, sysctl: Sysctl): string | null => {
  try {
    return netns.readSysctl(sysctl.path)
  } catch (error) {
    // One of the namespace itself is no answer of the setting.
    if (!(error instanceof SocketError) && isErrno(error, ...unreadable)) return null
    throw failed(error, sysctl)
  }
}

/** Nothing at all is no value to the kernel; an empty line is an empty one (`ip_local_reserved_ports`). */
const written = (value: string): string => (value === '' ? '\n' : value)

/**
 * How settings are now; those that can not be read are left out.
 * @throws CniError code 5 for one that does not exist
 */
export const readOriginals = (netns: Netns, sysctls: readonly Sysctl[]): Originals => {
  const found: Record<string, string> = {}
  for (const sysctl of sysctls) {
    const value = readSysctl(netns, sysctl)
    if (value !== null) found[sysctl.path] = value
  }
  return found
}

const writeBlindly = (netns: Netns, path: string, value: string): void => {
  const file = netns.open({ path: `/proc/sys/${path}`, flags: constants.O_WRONLY })
  try {
    writeSync(file.fd, written(value))
  } finally {
    file.close()
  }
}

/**
 * Writes them one after the other, until one fails. Equivalent: `ip netns exec NS sysctl -w NAME=VALUE`.
 * @param originals those that can be read
 * @throws CniError code 5
 */
export const writeSysctls = (netns: Netns, sysctls: readonly Sysctl[], originals: Originals): void => {
  for (const sysctl of sysctls) {
    const { path, value } = sysctl
    try {
      if (!Object.hasOwn(originals, path)) writeBlindly(netns, path, value)
      else {
        const [outcome] = netns.writeSysctls([{ name: path, value: written(value) }])
        if (outcome instanceof Error) throw outcome
      }
    } catch (error) {
      throw failed(error, sysctl)
    }
  }
}

/** A setting that could not be given back. */
export interface NotGivenBack {
  readonly path: string
  readonly error: Error
}

/**
 * Gives settings their old values, last first, and then once more from the beginning: one for all interfaces changes
 * those of each, whichever of them comes first. What has gone with its interface is passed over.
 */
export const giveSysctlsBack = (netns: Netns, originals: Originals): NotGivenBack[] => {
  const order = Object.entries(originals)
  const failures = new Map<string, Error>()
  for (const [path, value] of [...order.toReversed(), ...order]) {
    const [outcome] = netns.writeSysctls([{ name: path, value: written(value) }])
    if (outcome instanceof Error && !isErrno(outcome, 'ENOENT')) failures.set(path, outcome)
    else failures.delete(path)
  }
  return [...failures].map(([path, error]) => ({ path, error }))
}

/** A number as the kernel reads it: decimal, `0x…`, or octal with a zero before it. */
const NUMBER = /^-?(?:0x[0-9a-f]+|0[0-7]*|[1-9]\d*)$/i

const numeric = (word: string): string => {
  if (!NUMBER.test(word)) return word
  const digits = word.replace('-', '')
  const number = BigInt(/^0[0-7]+$/.test(digits) ? `0o${digits}` : digits)
  return String(word.startsWith('-') ? -number : number)
}

/**
 * Whether a setting that was given one value reads as another: the kernel separates its numbers by tabs, and prints them
 * its own way.
 */
export const sameValue = (a: string, b: string): boolean => {
  const words = (text: string): string[] => text.trim().split(/\s+/).map(numeric)
  return a === b || words(a).join(' ') === words(b).join(' ')
}
