/** Changes of elements: what was there, what is to be there, and the way back. */
import type { Connection } from '../../netlink/index.ts'
import {
  addRawElements,
  addSet,
  deleteRawElements,
  deleteSet,
  type Operation,
  type RawElement,
  type SetRef,
  sameElement,
  update,
} from '../../netlink/nftables/index.ts'
import { listSet } from './nftables-elements.ts'
import { elementsAt, type OwnList, readCurrent } from './nftables-state.ts'
import type { HostTable } from './nftables-tables.ts'

/** One place in a set: the element before and after; undefined: none. */
export interface Change {
  readonly set: SetRef
  readonly before: RawElement | undefined
  readonly after: RawElement | undefined
}
/** The list of an attachment's elements in one table. */
export interface ListChange {
  readonly host: HostTable
  readonly before: OwnList | undefined
  /** Its elements; undefined: no list. */
  readonly after: readonly RawElement[] | undefined
  readonly comment: string | undefined
}
export interface Changes {
  readonly mark: string
  readonly elements: readonly Change[]
  readonly lists: readonly ListChange[]
}

/** Elements of the sets that they belong to, in the order that sets are first named. */
const bySet = (changes: readonly Change[], side: 'before' | 'after'): Map<string, [SetRef, RawElement[]]> => {
  const sets = new Map<string, [SetRef, RawElement[]]>()
  for (const change of changes) {
    const element = change[side]
    if (!element) continue
    const { family, set } = change.set
    const name = `${family} ${set}`
    const entry = sets.get(name)
    if (entry) entry[1].push(element)
    else sets.set(name, [change.set, [element]])
  }
  return sets
}

const listOperations = ({ mark, lists }: Changes): Operation[] =>
  lists.flatMap(({ host, before, after, comment }) => {
    const set = listSet(host, mark, { size: after?.length ?? 0, comment })
    return [...(before ? [deleteSet(set)] : []), ...(after ? [addSet(set), addRawElements(set, after)] : [])]
  })

/** What a transaction does to make them. */
export const operationsOf = (changes: Changes): Operation[] => [
  ...[...bySet(changes.elements, 'before').values()].map(([set, elements]) =>
    deleteRawElements(set, elements),
  ),
  ...[...bySet(changes.elements, 'after').values()].map(([set, elements]) => addRawElements(set, elements)),
  ...listOperations(changes),
]

/**
 * Transactions for which nobody may have changed anything since the look before: an element has no handle, so that a
 * key could be somebody else's by then. Each time that this one starts over another one has succeeded.
 */
export const carefully = (connection: Connection, plan: () => Promise<readonly Operation[]>): Promise<void> =>
  update(connection, plan, { consistent: true, attempts: 100 })

const isNow = (wanted: RawElement | undefined, found: RawElement | undefined): boolean =>
  wanted && found ? sameElement(wanted, found) : wanted === found

/** Takes changes back; where somebody has changed a place since, theirs stays. */
export const revert = (connection: Connection, { mark, elements, lists }: Changes): Promise<void> =>
  carefully(connection, async () => {
    const found = await elementsAt(
      connection,
      elements.map(({ set, before, after }) => ({ set, element: (after ?? before)! })),
    )
    const { lists: now } = await readCurrent(connection, mark, [])
    return operationsOf({
      mark,
      elements: elements.flatMap(({ set, before, after }, i) =>
        isNow(after, found[i]) ? [{ set, before: after, after: before }] : [],
      ),
      lists: lists.map(({ host, before }) => ({
        host,
        before: now.find((list) => list.host === host),
        after: before?.elements,
        comment: before?.set.comment,
      })),
    })
  })
