/** A keeper for one operation, where none runs: it works on the journal, and leaves in it what it has obtained. */
import { CniError, codes } from '../../cni/error.ts'
import type { Logger } from '../../cni/plugin.ts'
import { binding, type Descriptor } from '../../native/binding.ts'
import { isErrno } from '../../netlink/index.ts'
import { makeDirectory } from '../files.ts'
import { type Entry, Journal } from './journal.ts'
import type { LeaseKeeper } from './lease-keeper.ts'

const LOCK_SH = 1
const LOCK_EX = 2
const O_RDONLY = 0
const O_CREAT = 0o100

export interface OneShot {
  /** Of the journal. */
  readonly folder: string
  readonly log: Logger
  /** What the operation is about. */
  which(entry: Entry): boolean
}

/** Whose the journal is: a keeper has it alone for as long as it runs; programs of one operation share it. */
export interface HeldJournal {
  /** Safe to repeat. */
  release(): void
}

const openLock = (folder: string): Descriptor => {
  makeDirectory(folder, 0o700)
  return binding().open(`${folder}/lock`, O_RDONLY | O_CREAT, 0o600)
}

/** The journal for one operation. @returns null where a keeper has it */
export const shareJournal = (folder: string): HeldJournal | null => {
  const file = openLock(folder)
  if (binding().tryFlock(file, LOCK_SH)) return { release: () => file.close() }
  file.close()
  return null
}

/**
 * The journal for a keeper. What is under way without one is waited for; another keeper is not.
 * @param patience milliseconds
 * @returns null where another keeper has it, or operations take longer
 * @throws the signal's reason when it is aborted meanwhile
 */
export const takeJournal = async (
  folder: string,
  patience: number,
  signal?: AbortSignal,
): Promise<HeldJournal | null> => {
  const file = openLock(folder)
  const held = { release: () => file.close() }
  if (binding().tryFlock(file, LOCK_EX)) return held
  // A keeper would not share it.
  if (binding().tryFlock(file, LOCK_SH)) {
    // A lock on a closed file is given up.
    const timer = setTimeout(held.release, patience)
    signal?.addEventListener('abort', held.release)
    try {
      await binding().flock(file, LOCK_EX)
      return held
    } catch (error) {
      if (!isErrno(error, 'EBADF')) throw error
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', held.release)
    }
    signal?.throwIfAborted()
  }
  held.release()
  return null
}

/**
 * @throws CniError code 11 where a keeper holds the journal, though it does not answer
 */
export const withoutKeeper = async <T>(
  { folder, log, which }: OneShot,
  work: (keeper: LeaseKeeper) => Promise<T>,
): Promise<T> => {
  const held = shareJournal(folder)
  if (!held)
    throw new CniError({
      code: codes.tryAgainLater,
      msg: 'the DHCP daemon does not answer',
      details: `it runs, for it holds ${folder}/lock, but its socket can not be reached: it may be starting`,
    })
  try {
    const { Keeper } = await import('./keeper.ts')
    const keeper = new Keeper({ journal: new Journal(folder), log, software: 'one-shot' })
    try {
      await keeper.adopt(which)
      return await work(keeper)
    } finally {
      await keeper.stop()
    }
  } finally {
    held.release()
  }
}
