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

/**
 * Nothing that is attached to the interface may give the host routes by router advertisements.
 * Equivalent: `sysctl -w net.ipv6.conf.NAME.accept_ra=0`.
 */
export const refuseAdvertisements = (netns: Netns, log: Logger, name: string): void =>
  preferSysctls(netns, log, [{ name: `net/ipv6/conf/${name}/accept_ra`, value: '0' }])

/** Reads a setting now, and gives it back when it is called. Without the setting there is nothing to give back. */
export const restoreSysctl = (netns: Netns, name: string): (() => void) => {
  let before: string | undefined
  try {
    before = netns.readSysctl(name)
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
  }
  return () => {
    if (before === undefined) return
    const [error] = netns.writeSysctls([{ name, value: before }])
    if (error && !isErrno(error, 'ENOENT')) throw error
  }
}
