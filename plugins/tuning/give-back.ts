/** The way back: for an ADD that fails, and for DEL. */
import { type Connection, isErrno, type Netns, SocketError } from '../../netlink/index.ts'
import { findLink } from '../shared/check.ts'
import type { Backup } from './backup.ts'
import { applySettings, asksForAny } from './link-settings.ts'
import { giveSysctlsBack } from './sysctls.ts'

/** Where an attachment's interface is. */
export interface Place {
  readonly netns: Netns
  readonly container: Connection
  readonly ifName: string
}

/** Something that did not get its old value. */
export interface Failure {
  /** In words: `mtu of eth0`. */
  readonly what: string
  readonly error: Error
}

const linkBack = async ({ container, ifName }: Place, { link }: Backup): Promise<Failure[]> => {
  if (!asksForAny(link)) return []
  const found = await findLink(container, ifName)
  // With the interface its settings have gone.
  if (!found) return []
  const refusals = await applySettings(container, found, link)
  return refusals
    .filter(({ error }) => !isErrno(error, 'ENODEV'))
    .map(({ key, error }) => ({ what: `${key} of ${ifName}`, error }))
}

const sysctlsBack = ({ netns }: Place, { sysctls }: Backup): Failure[] =>
  giveSysctlsBack(netns, sysctls).map(({ path, error }) => ({ what: `sysctl ${path}`, error }))

/**
 * Gives back what a backup holds, the interface's own settings first: an MTU that IPv6 can live with brings its sysctls
 * back. Everything is tried; what has gone is passed over.
 */
export const giveBack = async (place: Place, backup: Backup): Promise<Failure[]> => {
  const failures: Failure[] = []
  for (const [what, step] of [
    [`settings of ${place.ifName}`, linkBack],
    ['sysctls', sysctlsBack],
  ] as const)
    try {
      failures.push(...(await step(place, backup)))
    } catch (error) {
      failures.push({ what, error: error as Error })
    }
  return failures
}

/** Whether the same may succeed when it is tried again. What the kernel does not take now it will not take then. */
export const mayPass = ({ error }: Failure): boolean =>
  error instanceof SocketError || isErrno(error, 'ENOMEM', 'ENOBUFS', 'EINTR', 'EAGAIN')

/** A failure as an error. */
export const toError = ({ what, error }: Failure): Error =>
  new Error(`give back ${what}: ${error.message}`, { cause: error })
