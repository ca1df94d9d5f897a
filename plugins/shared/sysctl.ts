import type { Logger } from '../../cni/plugin.ts'
import { isErrno, type Netns, type SysctlWrite } from '../../netlink/index.ts'

/**
 * Writes settings that are as they should be on most hosts anyway. A kernel without IPv6 has none of its settings, and
 * where `/proc/sys` is read-only (plugins that run in a container themselves) an attachment works without.
 * @throws Error for any other failure, naming the setting
 */
export const preferSysctls = (netns: Netns, log: Logger, writes: readonly SysctlWrite[]): void => {
  for (const [i, error] of netns.writeSysctls(writes).entries()) {
    if (!error || isErrno(error, 'ENOENT')) continue
    const { name, value } = writes[i]!
    const message = `${name} could not be set to ${value}: ${error.message}`
    if (!isErrno(error, 'EROFS', 'EACCES', 'EPERM')) throw new Error(message, { cause: error })
    log.warn(message)
  }
}

const read = (netns: Netns, name: string): string | undefined => {
  try {
    return netns.readSysctl(name)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw new Error(`${name} could not be read: ${(error as Error).message}`, { cause: error })
  }
}

/** What gives a setting a value back; that it has gone with its interface is no error. */
const giveBack = (netns: Netns, name: string, value: string) => (): void => {
  const [error] = netns.writeSysctls([{ name, value }])
  if (error && !isErrno(error, 'ENOENT')) throw error
}

/** Reads a setting now, and gives it back when it is called. Without the setting there is nothing to give back. */
export const restoreSysctl = (netns: Netns, name: string): (() => void) => {
  const before = read(netns, name)
  return before === undefined ? () => {} : giveBack(netns, name, before)
}

/**
 * Nothing that is attached to the interface may give the host routes by router advertisements.
 * Equivalent: `sysctl -w net.ipv6.conf.NAME.accept_ra=0`.
 * @returns what gives the setting back; null where it was as it has to be
 */
export const refuseAdvertisements = (netns: Netns, log: Logger, name: string): (() => void) | null => {
  const setting = `net/ipv6/conf/${name}/accept_ra`
  const before = read(netns, setting)
  if (before === undefined || before === '0') return null
  preferSysctls(netns, log, [{ name: setting, value: '0' }])
  return giveBack(netns, setting, before)
}
