/** What is left of attachments that nobody knows any more. */
import { type Connection, isErrno } from '../../netlink/index.ts'
import {
  deleteChain,
  deleteRawElements,
  deleteRule,
  deleteSet,
  listRawElements,
  listSets,
  type NfSet,
  type Operation,
  type RawElement,
  type SetRef,
} from '../../netlink/nftables/index.ts'
import { groupJumps, groupsIn, type Listed } from './nftables-base.ts'
import { markOf, markOfList } from './nftables-elements.ts'
import { readRules } from './nftables-state.ts'
import { groupChain, type HostTable, isElementSet, mapFor, mapKinds, table } from './nftables-tables.ts'

/** What is not there has nothing in it. */
const orNothing = async <T>(list: Promise<T[]>): Promise<T[]> => {
  try {
    return await list
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  }
}

/** A group that no attachment uses: nothing is left in its maps, but for what goes now. */
const deleteGroup = (host: HostTable, listed: Listed, group: string): Operation[] => [
  ...groupJumps(listed, group).map(deleteRule),
  deleteChain({ family: host.family, table, chain: groupChain(group) }),
  ...mapKinds.map((kind) => deleteSet(mapFor(host, kind, group))),
]

const staleIn = async (
  connection: Connection,
  host: HostTable,
  listed: Listed,
  isStale: (mark: string) => boolean,
  networkMark: string,
): Promise<Operation[]> => {
  const sets = await orNothing(connection.run(listSets({ family: host.family, table })))
  const lists = sets.filter(({ set }) => isStale(markOfList(set) ?? ''))
  const stale = new Map<string, [SetRef, RawElement[]]>()
  const left = new Map<string, number>()
  for (const set of sets.filter(({ set: name }) => isElementSet(name))) {
    // Of a group it has to be known whether anything stays.
    const all = await elementsOf(connection, set, inGroup(host, listed, set.set) ? undefined : networkMark)
    const gone = all.filter((element) => isStale(markOf(element) ?? ''))
    if (gone.length > 0) stale.set(set.set, [set, gone])
    left.set(set.set, all.length - gone.length)
  }
  const unused = groupsIn(listed).filter(
    (group) => group !== '' && mapKinds.every((kind) => left.get(mapFor(host, kind, group).set) === 0),
  )
  return [
    ...[...stale.values()].map(([set, elements]) => deleteRawElements(set, elements)),
    ...unused.flatMap((group) => deleteGroup(host, listed, group)),
    ...lists.map(deleteSet),
  ]
}

const inGroup = (host: HostTable, listed: Listed, name: string): boolean =>
  groupsIn(listed).some(
    (group) => group !== '' && mapKinds.some((kind) => mapFor(host, kind, group).set === name),
  )

const elementsOf = (connection: Connection, set: NfSet, mark: string | undefined): Promise<RawElement[]> =>
  orNothing(connection.run(listRawElements(set, mark)))

/**
 * What removes the elements of a network that are not of the attachments in `valid`, and groups that nobody uses.
 * @param networkMark what the marks of the network's attachments begin with
 * @param valid marks
 */
export const staleOperations = async (
  connection: Connection,
  networkMark: string,
  valid: ReadonlySet<string>,
): Promise<Operation[]> => {
  const isStale = (mark: string): boolean => mark.startsWith(networkMark) && !valid.has(mark)
  const operations: Operation[] = []
  for (const [host, listed] of await readRules(connection))
    operations.push(...(await staleIn(connection, host, listed, isStale, networkMark)))
  return operations
}
