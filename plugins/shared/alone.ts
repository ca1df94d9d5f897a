/** Plugins that choose what is free in a container's namespace, and so must not work there two at a time. */
import { CniError, codes } from '../../cni/error.ts'
import type { Attachment } from '../../cni/plugin.ts'
import { isErrno } from '../../netlink/index.ts'
import { containerNetns } from './netns.ts'

/** Milliseconds that one waits for another. */
const LOCK_TIMEOUT = 10_000

/**
 * Does something while nobody else who asks so does anything in the container's namespace: two interfaces of one
 * container may be attached at the same time. The lock (flock) is on the namespace's file, as Go's sbr has it; it leaves
 * nothing behind and ends with its holder.
 * @throws CniError code 11 when another one takes too long; code 8 when the namespace is gone; the signal's reason
 */
export const alone = async <T>(attachment: Attachment<unknown>, work: () => Promise<T>): Promise<T> => {
  const { undo, signal: asked } = attachment
  // What is undone is not stopped by what caused it.
  const signal = undo.running ? undefined : asked
  const lock = await containerNetns(attachment)
    .lock('exclusive', { timeout: LOCK_TIMEOUT, signal })
    .catch((error: unknown) => {
      if (signal?.aborted) throw error
      if (!isErrno(error, 'ETIMEDOUT'))
        throw CniError.from(error, "could not lock the container's network namespace: ")
      throw new CniError({
        code: codes.tryAgainLater,
        msg: "the container's network namespace is locked",
        details: `somebody has held a lock (flock) on it for ${LOCK_TIMEOUT} ms; a plugin does for a moment`,
        cause: error,
      })
    })
  try {
    return await work()
  } finally {
    lock.release()
  }
}
