/** Port mappings with nf_tables: no program is run, and nothing depends on how many mappings others have. */
import type { Attachment, Context } from '../../cni/plugin.ts'
import type { AttachmentId } from '../../cni/types.ts'
import type { Connection } from '../../netlink/index.ts'
import {
  deleteRule,
  isWithoutNftables,
  listChains,
  type Operation,
  type RawElement,
  rawComment,
  sameElement,
  TransactionError,
} from '../../netlink/nftables/index.ts'
import { ownAddresses } from '../shared/chained.ts'
import { nftablesOf } from '../shared/nftables.ts'
import type { Forwarding, Owner, PortMapping } from './forwarding.ts'
import { complete, missingOf } from './nftables-base.ts'
import { type Change, type Changes, carefully, operationsOf, revert } from './nftables-change.ts'
import {
  listSet,
  mappingOf,
  markOf,
  networkMark,
  ownerComment,
  ownerMark,
  type Placed,
  type Wanted,
  wantedOf,
  wordsOf,
} from './nftables-elements.ts'
import { staleOperations } from './nftables-gc.ts'
import { referenceRules } from './nftables-reference.ts'
import { type Current, readCurrent } from './nftables-state.ts'
import { type HostTable, hostTables, table } from './nftables-tables.ts'

const nameOf = ({ set, element }: Placed): string =>
  `${set.family} ${set.set} ${Buffer.from(element.key!.value!).toString('hex')}`

const sameKeys = (a: readonly RawElement[], b: readonly RawElement[]): boolean => {
  const keys = new Set(a.map(({ key }) => Buffer.from(key!.value!).toString('hex')))
  return a.length === b.length && b.every(({ key }) => keys.has(Buffer.from(key!.value!).toString('hex')))
}

/** What has to change so that an attachment has what it wants. */
const changesFor = (
  owner: Owner,
  wanted: readonly Wanted[],
  current: Current,
  takeOver: boolean,
): Changes => {
  const mark = ownerMark(owner)
  const places = wanted.flatMap(({ elements }) => elements)
  const wantedNames = new Set(places.map(nameOf))
  const elements: Change[] = current.own.flatMap((placed) =>
    wantedNames.has(nameOf(placed)) ? [] : [{ set: placed.set, before: placed.element, after: undefined }],
  )
  for (const [i, { set, element }] of places.entries()) {
    const before = current.asked[i]
    if (before && sameElement(before, element)) continue
    if (before && !takeOver && markOf(before) !== mark) continue
    elements.push({ set, before, after: element })
  }
  const comment = ownerComment(owner)
  const lists = wanted.flatMap(({ host, list }) => {
    const before = current.lists.find((own) => own.host === host)
    if (before ? sameKeys(before.elements, list) : list.length === 0) return []
    return [{ host, before, after: list.length > 0 ? list : undefined, comment }]
  })
  return { mark, elements, lists }
}

const completeAll = (wanted: readonly Wanted[], { listed }: Current): Operation[] =>
  wanted.flatMap((needs) =>
    needs.list.length > 0 ? complete(needs.host, listed.get(needs.host)!, needs) : [],
  )

/** Whose port it is to be that another container has. */
interface Claim {
  /** Default true: the last one gets it. */
  readonly takeOver?: boolean | undefined
}

/**
 * Forwards an attachment's ports, IPv4 and IPv6, in one transaction: elements that it left behind go, a port that
 * another container has is taken over (what is undone gives it back), and what is missing or wrong of the tables is
 * repaired. Safe to repeat.
 * @throws CniError code 7 for conditions that are not understood, RangeError for what is no address, before anything is
 * done; NetlinkError
 */
export const addNftables = async (
  { hostNftables: connection, undo }: Pick<Attachment<unknown>, 'hostNftables' | 'undo'>,
  forwarding: Forwarding,
  { takeOver = true }: Claim = {},
): Promise<void> => {
  const wanted = wantedOf(forwarding)
  const places = wanted.flatMap(({ elements }) => elements)
  const mark = ownerMark(forwarding)
  let changes: Changes | undefined
  undo.push('remove the port mappings of nftables', () => (changes ? revert(connection, changes) : undefined))
  await carefully(connection, async () => {
    const current = await readCurrent(connection, mark, places)
    changes = changesFor(forwarding, wanted, current, takeOver)
    return [...completeAll(wanted, current), ...operationsOf(changes)]
  })
}

const missingElement = (
  host: HostTable,
  placed: Placed,
  found: RawElement | undefined,
  mark: string,
): string => {
  const words = `nftables: ${wordsOf(host, placed)}`
  if (!found) return words
  const place = { ...placed, element: found }
  return markOf(found) === mark
    ? `${words}: it is ${wordsOf(host, place)}`
    : `${words}: another attachment has it, ${wordsOf(host, place)} (${rawComment(found) ?? 'without a comment'})`
}

/**
 * What is missing for {@link addNftables} to be in force, in words; nothing: an empty list. Changes nothing.
 * @throws CniError code 7 for conditions that are not understood, RangeError for what is no address; NetlinkError
 */
export const missingNftables = async (
  { hostNftables: connection }: Pick<Attachment<unknown>, 'hostNftables'>,
  forwarding: Forwarding,
): Promise<string[]> => {
  const wanted = wantedOf(forwarding).filter(({ list }) => list.length > 0)
  if (wanted.length === 0) return []
  const places = wanted.flatMap(({ elements }) => elements)
  const hooked = await connection.run(listChains())
  const mark = ownerMark(forwarding)
  const { listed, lists, asked } = await readCurrent(connection, mark, places)
  const missing: string[] = []
  let at = 0
  for (const needs of wanted) {
    const { host, list } = needs
    missing.push(...missingOf(host, listed.get(host)!, hooked, needs))
    for (const placed of needs.elements) {
      const found = asked[at++]
      if (!found || !sameElement(found, placed.element))
        missing.push(missingElement(host, placed, found, mark))
    }
    const own = lists.find((one) => one.host === host)
    if (!own || !sameKeys(own.elements, list))
      missing.push(
        `nftables: set ${host.family} ${table} ${listSet(host, mark).set}, the list of its elements`,
      )
  }
  return missing
}

/** {@link carefully}, where it is all about removing: without nf_tables there is nothing to remove. */
const carefullyIfAny = async (
  connection: Connection,
  plan: () => Promise<readonly Operation[]>,
): Promise<void> => {
  try {
    await carefully(connection, plan)
  } catch (error) {
    if (error instanceof TransactionError || !isWithoutNftables(error)) throw error
  }
}

/**
 * Removes an attachment's port mappings, whatever they are; the tables and their chains stay. Rules that the reference
 * has made for the container go too: see {@link referenceRules}. Nothing there is nothing to do.
 * @returns the mappings that were removed, some twice: of IPv4 and IPv6
 * @throws NetlinkError
 */
export const deleteNftables = async (
  attachment: Pick<Attachment<unknown>, 'hostNftables' | 'prevResult' | 'ifName'>,
  owner: Owner,
): Promise<readonly PortMapping[]> => {
  const connection = nftablesOf(attachment)
  if (!connection) return []
  const mark = ownerMark(owner)
  const { prevResult } = attachment
  const addresses = prevResult ? ownAddresses(prevResult, attachment).map(({ address }) => address) : []
  let removed: readonly PortMapping[] = []
  const plan = async (): Promise<Operation[]> => {
    const current = await readCurrent(connection, mark, [])
    removed = hostTables.flatMap((host) =>
      current.own.flatMap((placed) =>
        placed.set.family === host.family ? (mappingOf(host, placed) ?? []) : [],
      ),
    )
    return [
      ...operationsOf({
        mark,
        elements: current.own.map(({ set, element }) => ({ set, before: element, after: undefined })),
        lists: current.lists.map((before) => ({
          host: before.host,
          before,
          after: undefined,
          comment: undefined,
        })),
      }),
      ...referenceRules(current.listed, owner.containerId, addresses).map(deleteRule),
    ]
  }
  await carefullyIfAny(connection, plan)
  return removed
}

/**
 * Removes the port mappings of a network whose attachments are not in `valid`, and what only conditions needed that
 * nobody has any more. The reference's rules stay: they do not tell their network.
 * @throws NetlinkError
 */
export const gcNftables = async (
  context: Pick<Context<unknown>, 'hostNftables'>,
  network: string,
  valid: readonly AttachmentId[],
): Promise<void> => {
  const connection = nftablesOf(context)
  if (!connection) return
  const marks = new Set(valid.map((attachment) => ownerMark({ ...attachment, network })))
  await carefullyIfAny(connection, () => staleOperations(connection, networkMark(network), marks))
}
