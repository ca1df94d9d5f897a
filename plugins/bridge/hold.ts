/**
 * Who may take back what the attachments of a bridge share. Every ADD holds its bridge shared while it works, and while
 * it undoes what is its own; one that failed takes the bridge and its addresses back only when it has got it exclusively.
 * Without that, another one could find a bridge just when it is removed, or count as an attachment that stays while it is
 * being undone itself.
 */
import { CniError, codes } from '../../cni/error.ts'
import { UndoStack } from '../../cni/undo.ts'
import { type FileLock, lockFile, tryLockFile } from '../../netlink/flock.ts'
import { isErrno, type Link, link } from '../../netlink/index.ts'
import { isVethName } from '../shared/identity.ts'
import type { BridgeAttachment } from './conf.ts'
import type { BridgeLocks } from './locks.ts'

/** Milliseconds that an ADD waits for another one that takes its bridge back. */
const LOCK_TIMEOUT = 10_000
/** Milliseconds that an ADD which takes its bridge back waits for those that are at work on it. */
const PATIENCE = 1_500

/** The ports of a bridge. */
export const portsOf = async ({ host }: BridgeAttachment, bridge: number): Promise<readonly Link[]> =>
  host.run(link.list({ master: bridge }))

/** @throws CniError code 11 when it takes too long, 5 where it can't be taken; the signal's reason */
const share = async (attachment: BridgeAttachment, locks: BridgeLocks): Promise<FileLock> => {
  const { conf, hostNetns, signal } = attachment
  const file = locks.open(hostNetns, conf.bridge)
  try {
    return await lockFile(file, 'shared', { timeout: LOCK_TIMEOUT, signal })
  } catch (error) {
    if (signal.aborted) throw error
    if (!isErrno(error, 'ETIMEDOUT')) throw CniError.from(error, `could not lock bridge ${conf.bridge}: `)
    throw new CniError({
      code: codes.tryAgainLater,
      msg: `bridge ${conf.bridge} is locked`,
      details: `a process of root has held a lock (flock) on it for ${LOCK_TIMEOUT} ms; an ADD that rolls back does for a moment`,
      cause: error,
    })
  }
}

/** An ADD's hold of its bridge. Made by {@link holdBridge}. */
export class Hold {
  readonly #attachment: BridgeAttachment
  readonly #locks: BridgeLocks
  #lock: FileLock | null
  #isAlone = false
  /** Inverses of what is done for all attachments of the bridge. They run when the ADD has undone all of its own. */
  readonly undo = new UndoStack()
  /** Names of ports that this ADD has plugged in for all attachments: they do not count as one. */
  readonly ownPorts = new Set<string>()

  /** @internal */
  constructor(attachment: BridgeAttachment, locks: BridgeLocks, lock: FileLock) {
    this.#attachment = attachment
    this.#locks = locks
    this.#lock = lock
    attachment.undo.push('take back what attachments share', () => this.#takeBack())
  }

  /** Lets go of it: the ADD has succeeded. Where that is undone after all, it is held again meanwhile. */
  done(): void {
    this.#release()
    this.#attachment.undo.push('hold the bridge again', () => {
      this.#lock ??= tryLockFile(this.#open(), 'shared')
    })
  }

  /**
   * For inverses on {@link undo}: takes something back, but only where nobody can have come to rely on it. No other ADD is
   * at work, and no attachment is plugged into the bridge. What else is plugged in (a card, a tunnel) does not count.
   */
  async unlessShared(bridge: number, takeBack: () => void | Promise<void>): Promise<void> {
    if (!this.#isAlone) return
    const ports = await portsOf(this.#attachment, bridge)
    if (!ports.some(({ name }) => isVethName(name) && !this.ownPorts.has(name))) await takeBack()
  }

  #open() {
    const { hostNetns, conf } = this.#attachment
    return this.#locks.open(hostNetns, conf.bridge)
  }

  #release(): void {
    this.#lock?.release()
    this.#lock = null
  }

  /** Runs when all that was done after it is undone: nothing of this ADD is plugged in any more. */
  async #takeBack(): Promise<void> {
    // Two that fail at a time would wait for each other.
    this.#release()
    if (this.undo.isEmpty) return
    const errors: Error[] = []
    try {
      this.#lock = await this.#waitAlone()
      this.#isAlone = this.#lock !== null
    } catch (error) {
      errors.push(CniError.from(error))
    }
    errors.push(...(await this.undo.run()))
    this.#release()
    if (errors.length > 0) throw new AggregateError(errors, errors.map(({ message }) => message).join('; '))
  }

  /** Null where others are at work for too long. What is undone is not stopped by what caused it: there is no signal. */
  async #waitAlone(): Promise<FileLock | null> {
    try {
      return await lockFile(this.#open(), 'exclusive', { timeout: PATIENCE })
    } catch (error) {
      if (!isErrno(error, 'ETIMEDOUT')) throw error
      const { conf, log } = this.#attachment
      log.warn(`others are being attached to bridge ${conf.bridge}: it stays as this ADD has made it`)
      return null
    }
  }
}

/**
 * Holds the attachment's bridge until {@link Hold.done}, or until the undo stack has run. Everything is to be done after
 * this.
 * @throws CniError code 11 when it takes too long, 5 where it can't be locked; the signal's reason
 */
export const holdBridge = async (attachment: BridgeAttachment, locks: BridgeLocks): Promise<Hold> =>
  new Hold(attachment, locks, await share(attachment, locks))
