/** Advisory locks on open files, by flock(2). */
import { binding, type Descriptor } from '../native/binding.ts'

/** LOCK_SH and LOCK_EX. */
const modes = { shared: 1, exclusive: 2 } as const
export type LockMode = keyof typeof modes

export interface LockOptions {
  /** Milliseconds. */
  readonly timeout: number
  readonly signal?: AbortSignal | undefined
}

export interface FileLock {
  /** Safe to repeat. */
  release(): void
}

/**
 * Locks an open file, which is closed with the lock, or where there is none. Ends with the process at the latest.
 * @returns null where somebody holds it otherwise
 * @throws SystemError
 */
export const tryLockFile = (file: Descriptor, mode: LockMode): FileLock | null => {
  let locked = false
  try {
    locked = binding().tryFlock(file, modes[mode])
  } finally {
    if (!locked) file.close()
  }
  return locked ? { release: () => file.close() } : null
}

/** Waits for the lock. @throws SystemError (ETIMEDOUT); the signal's reason */
const wait = async (file: Descriptor, mode: LockMode, { timeout, signal }: LockOptions): Promise<void> => {
  let giveUp: (reason: unknown) => void = () => {}
  const gaveUp = new Promise<never>((_resolve, reject) => {
    giveUp = reject
  })
  const abort = () => giveUp(signal?.reason)
  const timer = setTimeout(
    () => giveUp(Object.assign(new Error(`flock: not within ${timeout} ms`), { code: 'ETIMEDOUT' })),
    timeout,
  )
  signal?.addEventListener('abort', abort, { once: true })
  try {
    await Promise.race([binding().flock(file, modes[mode]), gaveUp])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
  }
}

/**
 * The same, waiting for at most `timeout` milliseconds.
 * @throws SystemError (ETIMEDOUT); the signal's reason
 */
export const lockFile = async (file: Descriptor, mode: LockMode, options: LockOptions): Promise<FileLock> => {
  try {
    options.signal?.throwIfAborted()
    if (!binding().tryFlock(file, modes[mode])) await wait(file, mode, options)
    return { release: () => file.close() }
  } catch (error) {
    // A wait that goes on in the addon lets go of the lock as soon as it has it.
    file.close()
    throw error
  }
}
