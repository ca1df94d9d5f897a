/** Port mappings with nf_tables: no program is run, and nothing depends on how many mappings others have. */
import type { Attachment, Context } from '../../cni/plugin.ts'
import type { AttachmentId } from '../../cni/types.ts'
import type { Connection } from '../../netlink/index.ts'
import {
  deleteRule,
  getElement,
  isWithoutNftables,
  listChains,
  type Operation,
  type RawElement,
  rawComment,
  sameElement,
  TransactionError,
} from '../../netlink/nftables/index.ts'
import type { Request } from '../../netlink/request.ts'
import { nftablesOf } from '../shared/nftables.ts'
import { ownAddresses } from '../shared/result.ts'
import type { Forwarding, Owner, PortMapping } from './forwarding.ts'
import { complete, missingOf } from './nftables-base.ts'
import {
  type Change,
  type Changes,
  carefully,
  type ListChange,
  operationsOf,
  type Plan,
} from './nftables-change.ts'
import {
  entryOf,
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
import { revert } from './nftables-revert.ts'
import { ask, type Current, readCurrent } from './nftables-state.ts'
import { table } from './nftables-tables.ts'

const hex = ({ key }: RawElement): string => Buffer.from(key!.value!).toString('hex')
const nameOf = ({ set, element }: Placed): string => `${set.family} ${set.set} ${hex(element)}`

const sameKeys = (a: readonly RawElement[], b: readonly RawElement[]): boolean => {
  const keys = new Set(a.map(hex))
  return a.length === b.length && b.every((element) => keys.has(hex(element)))
}

/** What an attachment finds at its places, and whose list says so: see {@link Change.listed}. */
interface Found {
  readonly placed: Placed
  readonly before: RawElement | undefined
  readonly listed: string | undefined
}

/** Somebody's element that their list does not have: between the two questions it became another one's, most likely. */
const isTorn = ({ before, listed }: Found): boolean =>
  before !== undefined && listed === undefined && markOf(before) !== undefined

const foundAt = async (
  connection: Connection,
  mark: string,
  places: readonly Placed[],
  { asked, lists }: Current,
): Promise<Found[]> => {
  const own = new Map(lists.map(({ host, elements }) => [host, new Set(elements.map(hex))]))
  const others: { readonly i: number; readonly request: Request<RawElement>; readonly other: string }[] = []
  const found = places.map((placed, i): Found => {
    const before = asked[i]
    if (!before) return { placed, before, listed: undefined }
    const there = { ...placed, element: before }
    const other = markOf(before)
    if (other === mark)
      return { placed, before, listed: own.get(placed.host)?.has(hex(entryOf(there))) ? mark : undefined }
    if (other !== undefined)
      others.push({ i, other, request: getElement(listSet(placed.host, other), entryOf(there)) })
    return { placed, before, listed: undefined }
  })
  const entries = await ask(
    connection,
    others.map(({ request }) => request),
  )
  for (const [n, { i, other }] of others.entries()) if (entries[n]) found[i] = { ...found[i]!, listed: other }
  return found
}

/** What has to change so that an attachment has what it wants. */
const changesFor = (
  owner: Owner,
  wanted: readonly Wanted[],
  found: readonly Found[],
  current: Current,
  takeOver: boolean,
): Changes => {
  const mark = ownerMark(owner)
  const kept = found.filter(({ before }) => takeOver || !before || markOf(before) === mark)
  const wantedNames = new Set(found.map(({ placed }) => nameOf(placed)))
  const comment = ownerComment(owner)
  const elements = [
    ...current.own.flatMap((placed): Change[] => {
      const { host, set, element } = placed
      return wantedNames.has(nameOf(placed))
        ? []
        : [{ host, set, before: element, after: undefined, listed: mark }]
    }),
    ...kept.flatMap(({ placed: { host, set, element }, before, listed }): Change[] =>
      before && sameElement(before, element) ? [] : [{ host, set, before, after: element, listed }],
    ),
  ]
  const lists = wanted.flatMap(({ host }): ListChange[] => {
    const before = current.lists.find((own) => own.host === host)
    const after = kept.flatMap(({ placed }) => (placed.host === host ? [entryOf(placed)] : []))
    // The entry of an element that changes leaves the list, though the same one may come.
    const stays = !elements.some((change) => change.host === host && change.listed === mark)
    if (before ? stays && sameKeys(before.elements, after) : after.length === 0) return []
    return [{ host, before, after: after.length > 0 ? after : undefined, comment }]
  })
  return { mark, elements, lists }
}

const completeAll = (wanted: readonly Wanted[], { listed }: Current): Operation[] =>
  wanted.flatMap((needs) =>
    needs.elements.length > 0 ? complete(needs.host, listed.get(needs.host)!, needs) : [],
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
    const found = await foundAt(connection, mark, places, current)
    changes = changesFor(forwarding, wanted, found, current, takeOver)
    const base = completeAll(wanted, current)
    return { operations: [...base, ...operationsOf(changes)], alone: base.length > 0 || found.some(isTorn) }
  })
}

const missingElement = (placed: Placed, found: RawElement | undefined, mark: string): string => {
  const words = `nftables: ${wordsOf(placed)}`
  if (!found) return words
  const there = wordsOf({ ...placed, element: found })
  return markOf(found) === mark
    ? `${words}: it is ${there}`
    : `${words}: another attachment has it, ${there} (${rawComment(found) ?? 'without a comment'})`
}

/**
 * What is missing for {@link addNftables} to be in force, in words; nothing: an empty list. Changes nothing.
 * @throws CniError code 7 for conditions that are not understood, RangeError for what is no address; NetlinkError
 */
export const missingNftables = async (
  { hostNftables: connection }: Pick<Attachment<unknown>, 'hostNftables'>,
  forwarding: Forwarding,
): Promise<string[]> => {
  const wanted = wantedOf(forwarding).filter(({ elements }) => elements.length > 0)
  if (wanted.length === 0) return []
  const places = wanted.flatMap(({ elements }) => elements)
  const hooked = await connection.run(listChains())
  const mark = ownerMark(forwarding)
  const { listed, lists, asked } = await readCurrent(connection, mark, places)
  const missing = wanted.flatMap((needs) => missingOf(needs.host, listed.get(needs.host)!, hooked, needs))
  const own = places.filter((placed, i) => {
    const found = asked[i]
    if (found && sameElement(found, placed.element)) return true
    missing.push(missingElement(placed, found, mark))
    return false
  })
  for (const { host } of wanted) {
    const entries = new Set(lists.find((one) => one.host === host)?.elements.map(hex))
    if (own.some((placed) => placed.host === host && !entries.has(hex(entryOf(placed)))))
      missing.push(
        `nftables: set ${host.family} ${table} ${listSet(host, mark).set}, the list of its elements`,
      )
  }
  return missing
}

/** Where it is all about removing: without nf_tables there is nothing to remove. */
const ifAny = async (change: Promise<void>): Promise<void> => {
  try {
    await change
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
  const plan = async (): Promise<Plan> => {
    const current = await readCurrent(connection, mark, [])
    removed = current.own.flatMap((placed) => mappingOf(placed) ?? [])
    const changes = operationsOf({
      mark,
      elements: current.own.map(({ host, set, element }) => ({
        host,
        set,
        before: element,
        after: undefined,
        listed: mark,
      })),
      lists: current.lists.map((before) => ({
        host: before.host,
        before,
        after: undefined,
        comment: undefined,
      })),
    })
    const others = referenceRules(current.listed, owner.containerId, addresses).map(deleteRule)
    return { operations: [...changes, ...others], alone: false }
  }
  await ifAny(carefully(connection, plan))
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
  const mark = networkMark(network)
  const plan = async (): Promise<Plan> => ({
    operations: await staleOperations(connection, mark, marks),
    alone: true,
  })
  await ifAny(carefully(connection, plan, { alone: true }))
}
