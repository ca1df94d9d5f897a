/**
 * Changes of elements: what was there, what is to be there, and the way back.
 *
 * The kernel deletes an element by its key, whoever it belongs to by then. What the list of an attachment says of an
 * element therefore goes in the same transaction, always: whoever takes a port over takes it off the other's list. A
 * transaction that comes too late fails, because what it deletes is gone or what it creates is there, and is made anew.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { type Connection, isErrno } from '../../netlink/index.ts'
import {
  createRawElements,
  createSet,
  deleteRawElements,
  deleteSet,
  getGeneration,
  type Operation,
  type RawElement,
  type SetRef,
  transaction,
} from '../../netlink/nftables/index.ts'
import { entryOf, listSet, type Placed } from './nftables-elements.ts'
import type { OwnList } from './nftables-state.ts'
import type { HostTable } from './nftables-tables.ts'

/** One place in a set: the element before and after; undefined: none. */
export interface Change extends Pick<Placed, 'host' | 'set'> {
  readonly before: RawElement | undefined
  readonly after: RawElement | undefined
  /** The list that has the entry of `before`, by its mark; undefined: none has. */
  readonly listed: string | undefined
}
/** The list of an attachment's elements in one table. */
export interface ListChange {
  readonly host: HostTable
  readonly before: OwnList | undefined
  /** What it is to hold; undefined: no list. */
  readonly after: readonly RawElement[] | undefined
  readonly comment: string | undefined
}
export interface Changes {
  /** Of the attachment that changes something. */
  readonly mark: string
  readonly elements: readonly Change[]
  readonly lists: readonly ListChange[]
}

/** Elements by the sets that they belong to, in the order that sets are first named. */
const grouped = (
  all: readonly (readonly [SetRef, RawElement])[],
): readonly (readonly [SetRef, RawElement[]])[] => {
  const sets = new Map<string, readonly [SetRef, RawElement[]]>()
  for (const [set, element] of all) {
    const name = `${set.family} ${set.set}`
    const entry = sets.get(name)
    if (entry) entry[1].push(element)
    else sets.set(name, [set, [element]])
  }
  return [...sets.values()]
}

/** What a transaction does to make them. */
export const operationsOf = ({ mark, elements, lists }: Changes): Operation[] => {
  const gone = elements.flatMap(({ set, before }) => (before ? [[set, before] as const] : []))
  const come = elements.flatMap(({ set, after }) => (after ? [[set, after] as const] : []))
  const unlisted = new Map<string, readonly [SetRef, RawElement]>()
  for (const { host, set, before, listed } of elements) {
    if (!before || listed === undefined) continue
    const entry = entryOf({ host, set, element: before })
    const list = listSet(host, listed)
    // One entry stands for a port in every group.
    unlisted.set(`${list.family} ${list.set} ${Buffer.from(entry.key!.value!).toString('hex')}`, [
      list,
      entry,
    ])
  }
  return [
    ...grouped([...gone, ...unlisted.values()]).map(([set, all]) => deleteRawElements(set, all)),
    ...grouped(come).map(([set, all]) => createRawElements(set, all)),
    ...lists.flatMap(({ host, before, after, comment }) => {
      const set = listSet(host, mark, { size: after?.length ?? 0, comment })
      return [
        ...(before ? [deleteSet(set)] : []),
        ...(after ? [createSet(set), createRawElements(set, after)] : []),
      ]
    }),
  ]
}

/** What is to be done. */
export interface Plan {
  readonly operations: readonly Operation[]
  /** Nobody may have changed anything since the look: for rules, which can be there twice. */
  readonly alone: boolean
}

/** A port that a hundred containers want at once makes the last one try a hundred times. */
const TRIES = 250
/** From here on others get a little time, milliseconds at most. */
const PATIENCE = 10
const PAUSE = 20

/**
 * Looks, decides and changes, again from the start where somebody was faster. What fails though nobody has changed
 * anything would fail for ever.
 * @param options `alone`: the plan is known to say so
 * @throws what `plan` throws; NetlinkError
 */
export const carefully = async (
  connection: Connection,
  plan: () => Promise<Plan>,
  { alone = false }: { readonly alone?: boolean } = {},
): Promise<void> => {
  let before: number | undefined
  for (let attempt = 1; ; attempt++) {
    let generation = alone ? await connection.run(getGeneration()) : undefined
    let planned = await plan()
    if (planned.alone && generation === undefined) {
      generation = await connection.run(getGeneration())
      planned = await plan()
    }
    try {
      return await transaction(connection, planned.operations, { generation })
    } catch (error) {
      // EBUSY: what older kernels say of an element that is there with another value.
      if (!isErrno(error, 'ENOENT', 'EEXIST', 'EBUSY', 'ERESTART') || attempt === TRIES) throw error
      const now = await connection.run(getGeneration())
      if (now === before) throw error
      before = now
      if (attempt > PATIENCE) await pause(Math.random() * PAUSE)
    }
  }
}
