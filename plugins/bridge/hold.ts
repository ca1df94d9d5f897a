/**
 * Who may take back what the attachments of a bridge share. Every ADD holds the host's namespace shared while it works;
 * an ADD that failed takes the bridge and its addresses back only where it gets it exclusively. Without that, another
 * one could find a bridge just when it is removed.
 */
import { CniError, codes } from '../../cni/error.ts'
import { isErrno, type Link, link } from '../../netlink/index.ts'
import { isVethName } from '../shared/identity.ts'
import type { BridgeAttachment } from './conf.ts'

/** Milliseconds that an ADD waits for another one that takes its bridge back. */
const LOCK_TIMEOUT = 10_000

/** @throws CniError code 11 when it takes too long; the signal's reason */
export const holdBridges = async ({ hostNetns, signal }: BridgeAttachment): Promise<{ release(): void }> => {
  try {
    return await hostNetns.lock('shared', { timeout: LOCK_TIMEOUT, signal })
  } catch (error) {
    if (signal.aborted) throw error
    if (!isErrno(error, 'ETIMEDOUT'))
      throw CniError.from(error, "could not lock the host's network namespace: ")
    throw new CniError({
      code: codes.tryAgainLater,
      msg: "the host's network namespace is locked",
      details: `somebody has held a lock (flock) on it for ${LOCK_TIMEOUT} ms; an ADD that rolls back does for less than one`,
      cause: error,
    })
  }
}

/** The ports of a bridge. */
export const portsOf = async ({ host }: BridgeAttachment, bridge: number): Promise<readonly Link[]> =>
  host.run(link.list({ master: bridge }))

const nothing: ReadonlySet<string> = new Set()

/**
 * Takes back what attachments share, but only where nobody can have come to rely on it: no other ADD is at work, and no
 * attachment is plugged into the bridge. What else is plugged in (a card, a tunnel) does not count.
 * @param own names of ports that do not count either: the failed ADD's
 */
export const unlessShared = async (
  attachment: BridgeAttachment,
  bridge: number,
  takeBack: () => void | Promise<void>,
  own = nothing,
): Promise<void> => {
  const lock = attachment.hostNetns.tryLock('exclusive')
  if (!lock) return
  try {
    const ports = await portsOf(attachment, bridge)
    if (!ports.some(({ name }) => isVethName(name) && !own.has(name))) await takeBack()
  } finally {
    lock.release()
  }
}
