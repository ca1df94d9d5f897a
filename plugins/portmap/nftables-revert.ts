import type { Connection } from '../../netlink/index.ts'
import {
  createRawElements,
  getElement,
  getSet,
  type NfSet,
  type RawElement,
  sameElement,
} from '../../netlink/nftables/index.ts'
import { type Change, type Changes, carefully, operationsOf, type Plan } from './nftables-change.ts'
import { entryOf, listSet } from './nftables-elements.ts'
import { ask, elementsAt, readCurrent } from './nftables-state.ts'

const isNow = (wanted: RawElement | undefined, found: RawElement | undefined): boolean =>
  wanted && found ? sameElement(wanted, found) : wanted === found

/** What to put back where a change has been; undefined: leave what is there now. */
const backOf = (
  mark: string,
  { before, after, listed }: Change,
  found: RawElement | undefined,
  list: NfSet | undefined,
): { readonly before: RawElement | undefined } | undefined => {
  if (!isNow(after, found)) return undefined
  // The one before has been removed meanwhile.
  const gone = before && listed !== undefined && listed !== mark && !list
  return { before: gone ? undefined : before }
}

const planOf = async (connection: Connection, { mark, elements, lists }: Changes): Promise<Plan> => {
  const found = await elementsAt(
    connection,
    elements.map(({ set, before, after }) => ({ set, element: (after ?? before)! })),
  )
  const others = await ask(
    connection,
    elements.map(({ host, listed }) => getSet(listSet(host, listed ?? mark))),
  )
  const member = await ask(
    connection,
    elements.map(({ host, set, before, after }) =>
      getElement(listSet(host, mark), entryOf({ host, set, element: (after ?? before)! })),
    ),
  )
  const { lists: now } = await readCurrent(connection, mark, [])
  const back = elements.flatMap((change, i) => {
    const to = backOf(mark, change, found[i], others[i])
    return to ? [{ change, to, member: member[i] !== undefined }] : []
  })
  const relisted = back.filter(
    ({ change: { listed }, to }) => to.before !== undefined && listed !== undefined && listed !== mark,
  )
  return {
    alone: false,
    operations: [
      ...operationsOf({
        mark,
        elements: back.map(({ change: { host, set, after }, to, member }) => ({
          host,
          set,
          before: after,
          after: to.before,
          listed: after && member ? mark : undefined,
        })),
        lists: lists.map(({ host, before }) => ({
          host,
          before: now.find((list) => list.host === host),
          after: before?.elements,
          comment: before?.set.comment,
        })),
      }),
      ...relisted.map(({ change: { host, set, listed, before } }) =>
        createRawElements(listSet(host, listed!), [entryOf({ host, set, element: before! })]),
      ),
    ],
  }
}

/**
 * Takes changes back: what the attachment had before, and the ports of others to those that still are there. Where
 * somebody has changed a place since, theirs stays.
 * @throws NetlinkError
 */
export const revert = (connection: Connection, changes: Changes): Promise<void> =>
  carefully(connection, () => planOf(connection, changes))
