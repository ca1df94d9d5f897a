/** A keeper for one operation, where none runs: it works on the journal, and leaves in it what it has obtained. */
import { CniError, codes } from '../../cni/error.ts'
import type { Logger } from '../../cni/plugin.ts'
import { binding } from '../../native/binding.ts'
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

/**
 * Whose the journal is. A keeper holds it alone for as long as it runs; programs of one operation share it.
 * @returns null where it is somebody else's
 */
export const holdJournal = (folder: string, alone: boolean): { release(): void } | null => {
  makeDirectory(folder, 0o700)
  const file = binding().open(`${folder}/lock`, O_RDONLY | O_CREAT, 0o600)
  if (binding().tryFlock(file, alone ? LOCK_EX : LOCK_SH)) return { release: () => file.close() }
  file.close()
  return null
}

/**
 * @throws CniError code 11 where a keeper holds the journal, though it does not answer
 */
export const withoutKeeper = async <T>(
  { folder, log, which }: OneShot,
  work: (keeper: LeaseKeeper) => Promise<T>,
): Promise<T> => {
  const held = holdJournal(folder, false)
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
