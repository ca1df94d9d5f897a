import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '../../cni/plugin.ts'
import { ioError, isGone, makeDirectory } from '../files.ts'
import type { LockTable } from '../lock.ts'
import type { Places } from './conf.ts'
import { LOCK } from './names.ts'
import { OwnerIndex } from './owner-index.ts'
import { Reservations } from './reservations.ts'

/** How often the directory is made before an ADD gives up. */
const CREATE_TRIES = 3

type Work<T> = (reservations: Reservations) => Promise<T>

/** Lets one caller at a time at the reservations of a network, of all processes that take its lock. */
export class Store {
  readonly #locks: LockTable
  readonly #places: Places
  readonly #log: Logger
  readonly #signal: AbortSignal | undefined

  /** @param signal stops waiting for the lock; undefined for what must be done in any case */
  constructor(locks: LockTable, places: Places, log: Logger, signal: AbortSignal | undefined) {
    this.#locks = locks
    this.#places = places
    this.#log = log
    this.#signal = signal
  }

  /** For what adds: makes the directory where it is missing. @throws CniError code 11 or 5 */
  async create<T>(work: Work<T>): Promise<T> {
    const { reservations } = this.#places
    for (let attempt = 1; ; attempt++)
      try {
        return await this.#change(work)
      } catch (error) {
        if (!isGone(error)) throw error
        const why = `reservations are kept in ${reservations}`
        // Once more where somebody removes it as soon as it is made.
        if (attempt > CREATE_TRIES) throw ioError(error, join(reservations, LOCK), why)
        try {
          makeDirectory(reservations, 0o755)
        } catch (failure) {
          throw ioError(failure, reservations, why)
        }
      }
  }

  /** For what removes: nothing to do, and null, where there is no directory. @throws CniError code 11 or 5 */
  async change<T>(work: Work<T>): Promise<T | null> {
    try {
      return await this.#change(work)
    } catch (error) {
      if (!isGone(error)) throw error
    }
    rmSync(this.#places.index, { recursive: true, force: true })
    return null
  }

  /** For what only looks: changes nothing. Null where there is no directory. @throws CniError code 11 or 5 */
  async look<T>(work: Work<T>): Promise<T | null> {
    const { reservations } = this.#places
    try {
      return await this.#hold(false, work)
    } catch (error) {
      if (!isGone(error)) throw error
    }
    // Without a lock nobody has reserved anything yet, or somebody put files there: nobody to wait for.
    return existsSync(reservations) ? await this.#open(false, work) : null
  }

  #change<T>(work: Work<T>): Promise<T> {
    return this.#hold(true, async (reservations) => {
      try {
        return await work(reservations)
      } finally {
        await reservations.keepIndex()
      }
    })
  }

  /** @throws CniError; ENOENT or ENOTDIR as they are where there is no lock file, before `work` has begun */
  #hold<T>(change: boolean, work: Work<T>): Promise<T> {
    const lock = join(this.#places.reservations, LOCK)
    return this.#locks.hold(lock, { create: change, signal: this.#signal }, () => this.#open(change, work))
  }

  /** @throws CniError */
  async #open<T>(change: boolean, work: Work<T>): Promise<T> {
    const { reservations, index: path } = this.#places
    const index = new OwnerIndex(reservations, path, this.#log, change)
    try {
      return await work(new Reservations(reservations, index, this.#log, change))
    } catch (error) {
      throw ioError(error)
    } finally {
      index.close()
    }
  }
}
