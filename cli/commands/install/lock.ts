import { constants, fstatSync, statSync } from 'node:fs'
import { binding, type Descriptor } from '../../../native/binding.ts'
import { explain, InstallError } from './error.ts'

const LOCK_EX = 2
/** Milliseconds that another installer may take: it copies 120 MB and tries every plugin. */
const PATIENCE = 120_000

/** Waits for the lock, or for the deadline, or for the signal. */
const wait = async (descriptor: Descriptor, path: string, signal: AbortSignal): Promise<void> => {
  let giveUp: (reason: unknown) => void = () => {}
  const over = new Promise<never>((_, reject) => {
    giveUp = reject
  })
  // Nobody may be waiting any more when it ends.
  over.catch(() => {})
  const late = new InstallError(`another installer works on ${path}`, 'wait until it is done')
  const timer = setTimeout(() => giveUp(late), PATIENCE)
  const stop = () => giveUp(signal.reason)
  signal.addEventListener('abort', stop)
  try {
    if (signal.aborted) stop()
    await Promise.race([binding().flock(descriptor, LOCK_EX), over])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
  }
}

/** Whether `path` still is the folder that was opened: whoever had the lock may have removed it. */
const isSame = (descriptor: Descriptor, path: string): boolean => {
  const now = statSync(path, { throwIfNoEntry: false })
  const { dev, ino } = fstatSync(descriptor.fd)
  return now !== undefined && now.dev === dev && now.ino === ino
}

const lock = async (path: string, signal: AbortSignal): Promise<Descriptor> => {
  for (;;) {
    let descriptor: Descriptor
    try {
      descriptor = binding().open(path, constants.O_RDONLY | constants.O_DIRECTORY, 0)
    } catch (error) {
      throw explain(error, `opening ${path}`)
    }
    try {
      if (!binding().tryFlock(descriptor, LOCK_EX)) await wait(descriptor, path, signal)
      if (isSame(descriptor, path)) return descriptor
    } catch (error) {
      descriptor.close()
      if (signal.aborted) throw error
      throw explain(error, `locking ${path}`)
    }
    descriptor.close()
  }
}

/**
 * Does `work` while no other installer works on any of these folders: flock(2) on the folders themselves, which leaves
 * no file and ends with the process.
 * @throws InstallError where another one takes too long
 */
export const withLocks = async <T>(
  folders: readonly string[],
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> => {
  const held: Descriptor[] = []
  try {
    // Always in one order: nobody waits for somebody who waits for them. The same folder twice would wait for itself.
    const inodes = new Set<string>()
    for (const path of folders) {
      const { dev, ino } = statSync(path)
      const key = `${dev} ${ino}`
      if (!inodes.has(key)) held.push(await lock(path, signal))
      inodes.add(key)
    }
    return await work()
  } finally {
    for (const descriptor of held) descriptor.close()
  }
}
