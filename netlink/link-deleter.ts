import { randomInt } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Connection } from './connection.ts'
import * as link from './link.ts'

/** Numbers that administrators do not give to groups. */
const GROUPS = [0x4000_0000, 0x7fff_ffff] as const

/** Callers told in one turn of the event loop: each goes on with some tenths of a millisecond of work. */
const TOLD_AT_ONCE = 4

/** What became of links that were to be deleted, by index: only those that are still there, with the reason. */
export type Undeleted = ReadonlyMap<number, Error>

const oneByOne = async (connection: Connection, indices: readonly number[]): Promise<Undeleted> => {
  const failed = new Map<number, Error>()
  const outcomes = await connection.batch(indices.map((index) => link.delete(index)))
  for (const [i, outcome] of outcomes.entries())
    if (!outcome.ok && outcome.code !== 'ENODEV') failed.set(indices[i]!, outcome.error)
  return failed
}

/**
 * Deletes links, many with one request: the kernel's grace periods, most of what a deletion takes, are then waited for
 * once. (Linux 6.18: a veth pair 16 ms, a hundred of them 34 ms.) What has gone already is no error. Equivalent: `ip
 * link set X group N` for each, and `ip link delete group N`.
 * @throws SocketError
 */
export const deleteLinks = async (connection: Connection, indices: readonly number[]): Promise<Undeleted> => {
  if (indices.length < 2) return await oneByOne(connection, indices)
  const group = randomInt(...GROUPS)
  const outcomes = await connection.batch(indices.map((index) => link.set(index, { group })))
  const apart: number[] = []
  let grouped = 0
  for (const [i, outcome] of outcomes.entries())
    if (outcome.ok) grouped++
    // What could not be grouped may be deleted all the same.
    else if (outcome.code !== 'ENODEV') apart.push(indices[i]!)
  if (grouped === 0) return await oneByOne(connection, apart)
  const [deleted] = await connection.batch([link.delete({ group })])
  // A group with one that can't be deleted stays as a whole. Out of one that is empty its links have gone, but perhaps
  // only into another group.
  return await oneByOne(connection, deleted.ok ? apart : indices)
}

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/**
 * Deletes links for everybody who asks on one host: while a deletion is under way others gather, and go together with
 * the next one.
 */
export class LinkDeleter {
  readonly #connection: Connection
  #waiting = new Map<number, Waiting[]>()
  #working = false

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** Deletes the link with this index. That there is none (any more) is no error. @throws NetlinkError, SocketError */
  delete(index: number): Promise<void> {
    const deleted = new Promise<void>((resolve, reject) => {
      const others = this.#waiting.get(index)
      if (others) others.push({ resolve, reject })
      else this.#waiting.set(index, [{ resolve, reject }])
    })
    if (!this.#working) {
      this.#working = true
      // Whoever asks in the same breath goes along.
      queueMicrotask(() => void this.#work())
    }
    return deleted
  }

  async #work(): Promise<void> {
    while (this.#waiting.size > 0) {
      const all = this.#waiting
      this.#waiting = new Map()
      let failed: Undeleted
      try {
        failed = await deleteLinks(this.#connection, [...all.keys()])
      } catch (error) {
        failed = new Map([...all.keys()].map((index) => [index, error as Error]))
      }
      // The next ones go meanwhile.
      void this.#tell(all, failed)
    }
    this.#working = false
  }

  async #tell(all: ReadonlyMap<number, readonly Waiting[]>, failed: Undeleted): Promise<void> {
    let told = 0
    for (const [index, callers] of all) {
      const error = failed.get(index)
      for (const { resolve, reject } of callers) {
        if (told++ % TOLD_AT_ONCE === 0 && told > 1) await nextTurn()
        if (error) reject(error)
        else resolve()
      }
    }
  }
}
