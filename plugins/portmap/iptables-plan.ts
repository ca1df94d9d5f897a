/** From what the nat table holds to what it should: commands for iptables-restore. */
import { splitRule } from '../shared/iptables.ts'
import { DNAT_CHAIN } from './iptables-names.ts'
import type { Rules, Words } from './iptables-rules.ts'

/** Chains of the nat table that are there, with their rules. */
export type Listing = ReadonlyMap<string, readonly Words[]>

/** Reads the lines of `iptables -S`. */
export const readListing = (lines: readonly string[]): Listing => {
  const listing = new Map<string, Words[]>()
  for (const line of lines) {
    const [command, chain, ...rule] = splitRule(line)
    if (chain === undefined || !(command === '-P' || command === '-N' || command === '-A')) continue
    const rules = listing.get(chain) ?? []
    if (command === '-A') rules.push(rule)
    listing.set(chain, rules)
  }
  return listing
}

/** The word behind an option. */
const after = (rule: Words, option: string): string | undefined => {
  const at = rule.indexOf(option)
  return at < 0 ? undefined : rule[at + 1]
}

/** Whether two rules are the same, word by word. */
export const sameWords = (a: Words, b: Words): boolean =>
  a.length === b.length && a.every((word, i) => word === b[i])

/** Where a rule of a container's chain leads; undefined where it translates nothing. */
const destinationOf = (rule: Words): string | undefined =>
  after(rule, '--to-destination')
    ?.replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')

/** The addresses that the rules of a container's chain lead to. */
export const destinationsOf = (listing: Listing, chain: string): string[] => [
  ...new Set((listing.get(chain) ?? []).flatMap((rule) => destinationOf(rule) ?? [])),
]

/** What of a packet a rule of a container's chain looks at. */
const matchOf = (rule: Words): string =>
  ['-p', '--dport', '-d'].map((option) => after(rule, option) ?? '').join(' ')

/** Rules of another attachment of the container: those that lead to its addresses, and the marks that belong to them. */
const othersRules = (rules: readonly Words[], others: ReadonlySet<string>): Words[] => {
  const isOthers = (rule: Words): boolean => others.has(destinationOf(rule) ?? '')
  const matches = new Set(rules.filter(isOthers).map(matchOf))
  return rules.filter((rule) =>
    destinationOf(rule) === undefined ? matches.has(matchOf(rule)) : isOthers(rule),
  )
}

/** What leads to a chain. */
const leadingTo = (listing: Listing, from: string, to: string): Words[] =>
  (listing.get(from) ?? []).filter((rule) => after(rule, '-j') === to)

interface Remains {
  /** Of the container's chain. */
  readonly rules: readonly Words[]
  /** Of what leads to it: what goes. */
  readonly leaving: readonly Words[]
}

/** What of a container's rules belongs to its other attachments in the network, by their addresses. */
const remains = (listing: Listing, chain: string, others: ReadonlySet<string>): Remains => {
  const rules = othersRules(listing.get(chain) ?? [], others)
  const ports = new Set(rules.map((rule) => `${after(rule, '-p')}/${after(rule, '--dport')}`))
  const isNeeded = (entry: Words): boolean =>
    (after(entry, '--dports') ?? '').split(',').some((port) => ports.has(`${after(entry, '-p')}/${port}`))
  const leaving = leadingTo(listing, DNAT_CHAIN, chain).filter((entry) => !isNeeded(entry))
  return { rules, leaving }
}

/**
 * Replaces what an attachment has by what it should have, and makes what is missing of what all share. The newest
 * mapping of a port is the first to be asked.
 * @param others addresses of the container's other attachments in the network, whose rules stay
 */
export const addCommands = (listing: Listing, wanted: Rules, others: ReadonlySet<string>): Words[] => {
  const { chain, marks, jumps, entries } = wanted
  const { rules, leaving } = remains(listing, chain, others)
  const isThere = (from: string, rule: Words): boolean =>
    (listing.get(from) ?? []).some((one) => sameWords(one, rule))
  const kept = leadingTo(listing, DNAT_CHAIN, chain).filter((entry) => !leaving.includes(entry))
  return [
    ...marks.flatMap(({ chain: shared, rule }): Words[] => [
      [`:${shared}`, '-', '[0:0]'],
      ['-A', shared, ...rule],
    ]),
    // Not emptied like the others: it has everybody's rules. Where somebody has just made it this fails.
    ...(listing.has(DNAT_CHAIN) ? [] : [['-N', DNAT_CHAIN]]),
    ...jumps
      .filter(({ chain: from, rule }) => !isThere(from, rule))
      .map(({ chain: from, rule }) => [from === 'POSTROUTING' ? '-I' : '-A', from, ...rule]),
    [`:${chain}`, '-', '[0:0]'],
    ...[...wanted.rules, ...rules].map((rule) => ['-A', chain, ...rule]),
    ...leaving.map((entry) => ['-D', DNAT_CHAIN, ...entry]),
    ...entries
      .filter((entry) => !kept.some((one) => sameWords(one, entry)))
      .map((entry) => ['-I', DNAT_CHAIN, ...entry])
      .reverse(),
  ]
}

/**
 * Removes what an attachment has, and the chain where nothing is left in it.
 * @param chains the container's, each with the shared chain that leads to it
 */
export const deleteCommands = (
  listing: Listing,
  chains: readonly (readonly [shared: string, chain: string])[],
  others: ReadonlySet<string>,
): Words[] =>
  chains.flatMap(([shared, chain]): Words[] => {
    const { rules, leaving } = remains(listing, chain, others)
    if (rules.length > 0)
      return [
        [`:${chain}`, '-', '[0:0]'],
        ...rules.map((rule) => ['-A', chain, ...rule]),
        ...leaving.map((entry) => ['-D', shared, ...entry]),
      ]
    return [
      ...leadingTo(listing, shared, chain).map((entry) => ['-D', shared, ...entry]),
      ...(listing.has(chain)
        ? [
            ['-F', chain],
            ['-X', chain],
          ]
        : []),
    ]
  })
