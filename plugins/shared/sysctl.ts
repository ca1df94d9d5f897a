import type { Logger } from '../../cni/plugin.ts'
import { isErrno, type Netns, type SysctlWrite } from '../../netlink/index.ts'

/**
 * Writes settings that are as they should be on most hosts anyway. A kernel without IPv6 has none of its settings, and
 * where `/proc/sys` is read-only (plugins that run in a container themselves) an attachment works without.
 * @returns what each was before; undefined where there is none, or where it is left as it is
 * @throws Error for any other failure, naming the setting
 */
export const preferSysctls = (
  netns: Netns,
  log: Logger,
  writes: readonly SysctlWrite[],
): (string | undefined)[] =>
  netns.writeSysctls(writes).map((before, i) => {
    if (typeof before === 'string') return before
    if (isErrno(before, 'ENOENT')) return undefined
    const { name, value } = writes[i]!
    const message = `${name} could not be set to ${value}: ${before.message}`
    if (!isErrno(before, 'EROFS', 'EACCES', 'EPERM')) throw new Error(message, { cause: before })
    log.warn(message)
    return undefined
  })

/** What gives a setting a value back; that it has gone with its interface is no error. */
export const giveBack = (netns: Netns, name: string, value: string) => (): void => {
  const [outcome] = netns.writeSysctls([{ name, value }])
  if (outcome instanceof Error && !isErrno(outcome, 'ENOENT')) throw outcome
}

/**
 * Nothing that is attached to the interface may give the host routes by router advertisements.
 * Equivalent: `sysctl -w net.ipv6.conf.NAME.accept_ra=0`.
 * @returns what gives the setting back; null where it was as it has to be
 */
export const refuseAdvertisements = (netns: Netns, log: Logger, name: string): (() => void) | null => {
  const setting = `net/ipv6/conf/${name}/accept_ra`
  const [before] = preferSysctls(netns, log, [{ name: setting, value: '0' }])
  return before === undefined || before === '0' ? null : giveBack(netns, setting, before)
}
