/**
 * Port mappings by the `iptables` and `ip6tables` programs: only where they are asked for or nf_tables is missing. A
 * family takes one iptables-restore, and a few looks at single chains where it is the first one or there is something
 * of the container already. See iptables-cleanup.ts for how DEL does without
 * running anything on most hosts.
 */
import { invalidConfig } from '../../cni/error.ts'
import type { Attachment } from '../../cni/plugin.ts'
import { jumpTarget } from '../../netlink/nftables/index.ts'
import { hasLegacyTable, IptablesTable, programs, type Version } from '../shared/iptables.ts'
import type { Forwarding } from './forwarding.ts'
import { familyOf, listRules, mayHaveChain, present } from './iptables-kernel.ts'
import { DNAT_CHAIN } from './iptables-names.ts'
import { addCommands, destinationsOf, type Listing, readListing, sameWords } from './iptables-plan.ts'
import { type Placed, type Rules, rulesFor, type Words } from './iptables-rules.ts'
import { siblingAddresses } from './siblings.ts'

const versions = [4, 6] as const

const TRIES = 5

const nat = ({ exec }: Attachment<unknown>, version: Version): IptablesTable =>
  new IptablesTable(exec, programs[version], 'nat')

/**
 * The chains that an attachment has to do with: others may have tens of thousands of rules in the table.
 * @throws Error of the program
 */
const look = async (
  { hostNetns }: Attachment<unknown>,
  table: IptablesTable,
  { version, chain, marks }: Rules,
): Promise<Listing> => {
  // The old xtables read and print all of it whatever is asked for.
  if (hasLegacyTable(hostNetns, version, 'nat')) return readListing(await table.list())
  const names = ['PREROUTING', 'OUTPUT', 'POSTROUTING', DNAT_CHAIN, chain, ...marks.map((mark) => mark.chain)]
  return readListing((await Promise.all(names.map((name) => table.list(name)))).flat())
}

/**
 * The same for what is so on most ADDs, without running anything: nf_tables has the shared chains, and nothing of the
 * container. Null where it is not so.
 */
const lookAround = async (
  attachment: Attachment<unknown>,
  { version, chain, jumps }: Rules,
): Promise<Listing | null> => {
  if (hasLegacyTable(attachment.hostNetns, version, 'nat')) return null
  const which = familyOf(version)
  const there = await present(attachment, which, [
    ['', DNAT_CHAIN],
    ['', chain],
  ])
  if (there.length !== 1 || there[0]![1] !== DNAT_CHAIN) return null
  const listing = new Map<string, Words[]>([[DNAT_CHAIN, []]])
  for (const { chain: from, rule } of jumps) {
    const rules = await listRules(attachment, which, from)
    if (rules.some((one) => jumpTarget(one) === rule.at(-1))) listing.set(from, [rule])
  }
  return listing
}

/**
 * Changes a table along a plan, again from the start when somebody else changed it in between: a change that takes
 * nothing for granted that is not there. Where the plan comes out the same again, others are not to blame.
 * @throws Error of a program
 */
export const rewrite = async (table: IptablesTable, plan: () => Promise<readonly Words[]>): Promise<void> => {
  let refused: { readonly error: unknown; readonly text: string } | undefined
  for (let attempt = 1; ; attempt++) {
    const commands = await plan()
    const text = JSON.stringify(commands)
    if (refused?.text === text) throw refused.error
    if (commands.length === 0) return
    try {
      return await table.restore(commands)
    } catch (error) {
      if (attempt === TRIES) throw error
      refused = { error, text }
    }
  }
}

/** @throws CniError code 7 for what the programs have no words for */
const checkProtocols = ({ mappings }: Forwarding): void => {
  const other = mappings.find(({ protocol }) => protocol === 'udplite')
  if (other)
    throw invalidConfig(
      `iptables can not map port ${other.hostPort} of udplite`,
      'the nftables backend can: leave out "backend", or set it to "nftables"',
    )
}

/**
 * Maps the ports. What the attachment had before is replaced, all of a family at once. Safe to repeat.
 * @throws CniError code 7, before anything is done; Error of a program
 */
export const addIptables = async (attachment: Attachment<unknown>, forwarding: Forwarding): Promise<void> => {
  checkProtocols(forwarding)
  const own = forwarding.addresses.map((address) => address.split('/')[0])
  for (const version of versions) {
    const wanted = rulesFor(forwarding, version)
    if (!wanted) continue
    const table = nat(attachment, version)
    let first = true
    await rewrite(table, async () => {
      const known = first ? await lookAround(attachment, wanted) : null
      first = false
      const listing = known ?? (await look(attachment, table, wanted))
      const alone = destinationsOf(listing, wanted.chain).every((address) => own.includes(address))
      return addCommands(listing, wanted, alone ? new Set() : await siblingAddresses(attachment))
    })
  }
}

/** Everything that {@link addIptables} sees to. */
const placesOf = ({ chain, rules, entries, marks, jumps }: Rules): Placed[] => [
  ...jumps,
  ...marks,
  ...entries.map((rule) => ({ chain: DNAT_CHAIN, rule })),
  ...rules.map((rule) => ({ chain, rule })),
]

const missingIn = async (
  attachment: Attachment<unknown>,
  forwarding: Forwarding,
  version: Version,
): Promise<string[]> => {
  const wanted = rulesFor(forwarding, version)
  if (!wanted) return []
  const table = nat(attachment, version)
  // Most often it is looked for here because it is missing elsewhere.
  if (!(await mayHaveChain(attachment, version, wanted.chain)))
    return [`${table.program} chain ${wanted.chain}`]
  const listing = await look(attachment, table, wanted)
  const missing: string[] = []
  for (const { chain, rule } of placesOf(wanted)) {
    const have = listing.get(chain)
    if (have?.some((one) => sameWords(one, rule))) continue
    // Conditions may be printed in other words than they were given in.
    if (!have || !(await table.hasRule(chain, rule)))
      missing.push(`${table.program} rule in chain ${chain}: ${rule.join(' ')}`)
  }
  return missing
}

/**
 * What is missing of it, in words. Changes nothing.
 * @throws Error where a program is missing (ENOENT) or does not tell
 */
export const missingIptables = async (
  attachment: Attachment<unknown>,
  forwarding: Forwarding,
): Promise<string[]> => [
  ...(await missingIn(attachment, forwarding, 4)),
  ...(await missingIn(attachment, forwarding, 6)),
]
