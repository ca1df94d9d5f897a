/** Port mappings with nf_tables: no program is run, and nothing depends on how many mappings others have. */
import type { Attachment, Context } from '../../cni/plugin.ts'
import type { AttachmentId } from '../../cni/types.ts'
import {
  deleteRule,
  isWithoutNftables,
  listChains,
  type Operation,
  type RawElement,
  rawComment,
  sameElement,
} from '../../netlink/nftables/index.ts'
import { nftablesOf } from '../shared/nftables.ts'
import type { Forwarding, Owner } from './forwarding.ts'
import { complete, missingOf } from './nftables-base.ts'
import { type Change, type Changes, carefully, operationsOf, revert } from './nftables-change.ts'
import { markOf, ownerComment, ownerMark, type Placed, type Wanted, wantedOf } from './nftables-elements.ts'
import { type Current, readCurrent } from './nftables-state.ts'
import { type HostTable, table } from './nftables-tables.ts'

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

/**
 * Forwards an attachment's ports, IPv4 and IPv6, in one transaction: elements that it left behind go, a port that
 * another container has is taken over (what is undone gives it back), and what is missing or wrong of the tables is
 * repaired. Safe to repeat.
 * @throws CniError code 7 for conditions that are not understood, RangeError for what is no address, before anything is
 * done; NetlinkError
 */
export const addNftables = async (
  attachment: Pick<Attachment<unknown>, 'hostNftables' | 'undo'>,
  forwarding: Forwarding,
): Promise<void> => {
  const wanted = wantedOf(forwarding)
  const connection = attachment.hostNftables
  const places = wanted.flatMap(({ elements }) => elements)
  const mark = ownerMark(forwarding)
  let changes: Changes | undefined
  attachment.undo.push('remove the port mappings', () => (changes ? revert(connection, changes) : undefined))
  await carefully(connection, async () => {
    const current = await readCurrent(connection, mark, places)
    changes = changesFor(forwarding, wanted, current, true)
    return [...completeAll(wanted, current), ...operationsOf(changes)]
  })
}

/** What an element is about, in words. */
const wordsOf = (host: HostTable, { set, element }: Placed): string => {
  const bytes = element.key!.value!
  const [protocol, port] = [bytes.at(-8)!, (bytes.at(-4)! << 8) | bytes.at(-3)!]
  return `${host.family} ${set.set} ${protocol} ${port}`
}

/** What is missing for {@link addNftables} to be in force, in words; nothing: an empty list. Changes nothing. */
export const missingNftables = async (
  { hostNftables: connection }: Pick<Attachment<unknown>, 'hostNftables'>,
  forwarding: Forwarding,
): Promise<string[]> => {
  const wanted = wantedOf(forwarding).filter(({ list }) => list.length > 0)
  if (wanted.length === 0) return []
  const places = wanted.flatMap(({ elements }) => elements)
  const hooked = await connection.run(listChains({ table }))
  const mark = ownerMark(forwarding)
  const { listed, lists, asked } = await readCurrent(connection, mark, places)
  const missing: string[] = []
  let at = 0
  for (const needs of wanted) {
    const { host, list } = needs
    missing.push(...missingOf(host, listed.get(host)!, hooked, needs))
    for (const placed of needs.elements) {
      const found = asked[at++]
      if (found && sameElement(found, placed.element)) continue
      const other = found && markOf(found) !== mark ? `: it is of ${rawComment(found)}` : ''
      missing.push(`nftables: ${wordsOf(host, placed)}${other}`)
    }
    const own = lists.find((one) => one.host === host)
    if (!own || !sameKeys(own.elements, list))
      missing.push(`nftables: the list of its port mappings in ${host.family} ${table}`)
  }
  return missing
}

/** Removes an attachment's port mappings, whatever they are; nothing there is nothing to do. */
export const deleteNftables = async (
  attachment: Pick<Attachment<unknown>, 'hostNftables' | 'prevResult'>,
  owner: Owner,
): Promise<void> => {
  const connection = nftablesOf(attachment)
  if (!connection) return
  const mark = ownerMark(owner)
  await carefully(connection, async () => {
    const current = await readCurrent(connection, mark, []).catch((error: unknown) => {
      if (isWithoutNftables(error)) return undefined
      throw error
    })
    if (!current) return []
    return operationsOf({
      mark,
      elements: current.own.map(({ set, element }) => ({ set, before: element, after: undefined })),
      lists: current.lists.map((before) => ({
        host: before.host,
        before,
        after: undefined,
        comment: undefined,
      })),
    })
  })
}

/** Removes the port mappings of a network whose attachments are not in `valid`. */
export const gcNftables = async (
  context: Pick<Context<unknown>, 'hostNftables'>,
  network: string,
  valid: readonly AttachmentId[],
): Promise<void> => {
  void context
  void network
  void valid
  void deleteRule
}
