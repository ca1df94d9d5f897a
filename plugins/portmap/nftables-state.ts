/** What the kernel holds of an attachment's elements, asked by key. */
import { type Connection, isErrno } from '../../netlink/index.ts'
import {
  getElement,
  getSet,
  listRawElements,
  listRules,
  type NfSet,
  type RawElement,
  type SetRef,
} from '../../netlink/nftables/index.ts'
import type { Request } from '../../netlink/request.ts'
import { groupsIn, Listed } from './nftables-base.ts'
import { listSet, markOf, type Placed, placesOf } from './nftables-elements.ts'
import { type HostTable, hostTables, table } from './nftables-tables.ts'

/** The answers; undefined where something that was asked for is not there. */
export const ask = async <T>(
  connection: Connection,
  requests: readonly Request<T>[],
): Promise<(T | undefined)[]> => {
  const outcomes = requests.length === 0 ? [] : await connection.batch(requests)
  return outcomes.map((outcome) => {
    if (outcome.ok) return outcome.value
    if (outcome.code === 'ENOENT') return undefined
    throw outcome.error
  })
}

/** Questions about one set from which on the list of the whole set is less work. */
const MANY = 256

type Place = Pick<Placed, 'set' | 'element'>
const setName = ({ set: { family, set } }: Place): string => `${family} ${set}`
const keyOf = ({ key }: RawElement): string => Buffer.from(key!.value!).toString('latin1')

/** The elements that are at these places now, whoever they belong to. */
export const elementsAt = async (
  connection: Connection,
  places: readonly Place[],
): Promise<(RawElement | undefined)[]> => {
  const counts = new Map<string, number>()
  for (const place of places) counts.set(setName(place), (counts.get(setName(place)) ?? 0) + 1)
  const whole = new Map<string, ReadonlyMap<string, RawElement>>()
  const few: Place[] = []
  for (const place of places) {
    const name = setName(place)
    if ((counts.get(name) ?? 0) < MANY) few.push(place)
    else if (!whole.has(name)) {
      const all = await elementsOf(connection, place.set)
      whole.set(name, new Map(all.map((element) => [keyOf(element), element])))
    }
  }
  const answers = await ask(
    connection,
    few.map(({ set, element }) => getElement(set, element)),
  )
  let at = 0
  return places.map((place) => {
    const all = whole.get(setName(place))
    return all ? all.get(keyOf(place.element)) : answers[at++]
  })
}

const elementsOf = (connection: Connection, set: SetRef): Promise<RawElement[]> =>
  connection.run(listRawElements(set)).catch((error: unknown) => {
    // Not there, or gone between two questions.
    if (isErrno(error, 'ENOENT')) return []
    throw error
  })

/** The list of an attachment's elements. */
export interface OwnList {
  readonly host: HostTable
  readonly set: NfSet
  readonly elements: readonly RawElement[]
}

/** An attachment in the kernel. */
export interface Current {
  /** Our rules, by family: of those that were asked for. */
  readonly listed: ReadonlyMap<HostTable, Listed>
  /** Its lists; one a table at most. */
  readonly lists: readonly OwnList[]
  /** Its elements that the lists name. */
  readonly own: readonly Placed[]
  /** What is at the places asked for. */
  readonly asked: readonly (RawElement | undefined)[]
}

const rulesOf = async (connection: Connection, { family }: HostTable): Promise<Listed> =>
  new Listed(await connection.run(listRules({ family, table })))

/** The rules of the tables, both unless told otherwise. */
export const readRules = async (
  connection: Connection,
  hosts: readonly HostTable[] = hostTables,
): Promise<Map<HostTable, Listed>> => {
  const listed = new Map<HostTable, Listed>()
  // The kernel ends a list of rules with the first table of a name, so that each family is asked for.
  for (const host of hosts) listed.set(host, await rulesOf(connection, host))
  return listed
}

/** The lists of an attachment, and what is at the places: one question, unless there are very many. */
const readLists = async (
  connection: Connection,
  mark: string,
  places: readonly Placed[],
): Promise<{
  readonly sets: readonly (NfSet | undefined)[]
  readonly asked: readonly (RawElement | undefined)[]
}> => {
  const lists = hostTables.map((host) => getSet(listSet(host, mark)))
  if (places.length >= MANY)
    return { sets: await ask(connection, lists), asked: await elementsAt(connection, places) }
  const elements = places.map(({ set, element }) => getElement(set, element))
  const answers = await ask<NfSet | RawElement>(connection, [...lists, ...elements])
  return {
    sets: answers.slice(0, lists.length) as (NfSet | undefined)[],
    asked: answers.slice(lists.length) as (RawElement | undefined)[],
  }
}

/**
 * Reads what there is of an attachment: two exchanges where it has nothing yet, whatever others have.
 * @param places asked for besides; where there are any, only the tables that they or the attachment's lists are in are
 * listed
 */
export const readCurrent = async (
  connection: Connection,
  mark: string,
  places: readonly Placed[],
): Promise<Current> => {
  const needed = places.length === 0 ? hostTables : new Set(places.map(({ host }) => host))
  const listed = await readRules(connection, [...needed])
  const { sets, asked } = await readLists(connection, mark, places)
  const lists: OwnList[] = []
  for (const [i, host] of hostTables.entries()) {
    const set = sets[i]
    if (!set) continue
    lists.push({ host, set, elements: await elementsOf(connection, set) })
    if (!listed.has(host)) listed.set(host, await rulesOf(connection, host))
  }
  const named = lists.flatMap(({ host, elements }) => placesOf(host, elements, groupsIn(listed.get(host)!)))
  const found = await elementsAt(connection, named)
  const own = named.flatMap((placed, i): Placed[] => {
    const element = found[i]
    return element && markOf(element) === mark ? [{ ...placed, element }] : []
  })
  return { listed, lists, own, asked }
}
