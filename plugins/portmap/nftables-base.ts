/** What of the rule set does not belong to one attachment: recognised, completed, and told what is missing of it. */
import {
  addChain,
  addRule,
  addSet,
  addTable,
  type Chain,
  deleteRule,
  flushChain,
  insertRule,
  jump,
  type Operation,
  type Part,
  type Rule,
  sameListing,
  sameRule,
  truncateComment,
} from '../../netlink/nftables/index.ts'
import type { Conditions } from './conditions.ts'
import {
  type BaseName,
  baseChains,
  baseRule,
  chainComments,
  chains,
  groupChain,
  groupOf,
  type HostTable,
  lookupRule,
  mapFor,
  mapKinds,
  snatRule,
  snatSet,
  table,
  tableComment,
} from './nftables-tables.ts'

/** Rules of the table of one family, by their chains: sorted when first asked for. */
export class Listed {
  readonly rules: readonly Rule[]
  #sorted: Map<string, Rule[]> | undefined

  constructor(rules: readonly Rule[]) {
    this.rules = rules
  }

  #byChain(): ReadonlyMap<string, readonly Rule[]> {
    if (this.#sorted) return this.#sorted
    const sorted = new Map<string, Rule[]>()
    for (const rule of this.rules) {
      const { chain } = rule
      const others = sorted.get(chain)
      if (others) others.push(rule)
      else sorted.set(chain, [rule])
    }
    this.#sorted = sorted
    return sorted
  }

  get(chain: string): readonly Rule[] | undefined {
    return this.#byChain().get(chain)
  }
  /** The chains that have rules. */
  chains(): Iterable<string> {
    return this.#byChain().keys()
  }
}

/** The groups that the table has chains for; the first is that of networks without conditions. */
export const groupsIn = (listed: Listed): readonly string[] => [
  '',
  ...[...listed.chains()].flatMap((chain) => groupOf(chain) ?? []),
]

/** What an attachment needs of the table, besides its elements. */
export interface Needs {
  readonly conditions: Conditions
  /** Lengths of networks that are masqueraded. */
  readonly prefixes: readonly number[]
}

const is = (rule: Rule | undefined, parts: readonly Part[]): boolean =>
  rule !== undefined && sameRule(rule, parts)

const holdsLookups = (rules: readonly Rule[], host: HostTable, group: string): boolean =>
  rules.length === mapKinds.length && mapKinds.every((kind, i) => is(rules[i], lookupRule(host, kind, group)))

/** The name of a chain as it stands in the rules that lead to it; decoding these would take longer than all the rest. */
const names = ({ raw }: Rule, text: string): boolean =>
  Buffer.from(raw.buffer, raw.byteOffset, raw.length).includes(text)

/** The rules of the common chain that are not a group's. */
const commonRules = (listed: Listed): readonly Rule[] =>
  (listed.get(chains.forward) ?? []).filter((rule) => !names(rule, groupChain('')))

/** The rules that lead to a group's chain. */
export const groupJumps = (listed: Listed, group: string): readonly Rule[] =>
  (listed.get(chains.forward) ?? []).filter((rule) => names(rule, `${groupChain(group)}\0`))

const baseNames = Object.keys(baseChains) as BaseName[]

const brokenBases = (host: HostTable, listed: Listed): readonly BaseName[] =>
  baseNames.filter((chain) => {
    const rules = listed.get(chain)
    return rules?.length !== 1 || !is(rules[0], baseRule(host, chain))
  })

const lookupRules = (host: HostTable, chain: string, group: string): Operation[] =>
  mapKinds.map((kind) => addRule({ family: host.family, table, chain, rule: lookupRule(host, kind, group) }))

/** Adding what exists changes nothing. */
const completeBase = (host: HostTable, listed: Listed): Operation[] => {
  const { family } = host
  const broken = brokenBases(host, listed)
  const common = commonRules(listed)
  const lookups = holdsLookups(common, host, '')
  if (broken.length === 0 && lookups) return []
  return [
    addTable({ family, table, comment: tableComment }),
    ...mapKinds.map((kind) => addSet(mapFor(host, kind, ''))),
    ...Object.entries(chainComments).map(([chain, comment]) => addChain({ family, table, chain, comment })),
    ...(lookups ? [] : [...common.map(deleteRule), ...lookupRules(host, chains.forward, '')]),
    ...baseNames.map((chain) => addChain({ family, table, chain, base: baseChains[chain] })),
    ...broken.flatMap((chain) => [
      flushChain({ family, table, chain }),
      addRule({ family, table, chain, rule: baseRule(host, chain) }),
    ]),
  ]
}

const hasSnat = (host: HostTable, listed: Listed, prefix: number): boolean =>
  (listed.get(chains.snat) ?? []).some((rule) => is(rule, snatRule(host, prefix)))

const completeSnat = (host: HostTable, listed: Listed, prefix: number): Operation[] =>
  hasSnat(host, listed, prefix)
    ? []
    : [
        addSet(snatSet(host, prefix)),
        addRule({ family: host.family, table, chain: chains.snat, rule: snatRule(host, prefix) }),
      ]

const hasGroup = (host: HostTable, listed: Listed, { group }: Conditions): boolean =>
  groupJumps(listed, group).length === 1 && holdsLookups(listed.get(groupChain(group)) ?? [], host, group)

const completeGroup = (host: HostTable, listed: Listed, conditions: Conditions): Operation[] => {
  const { group, text, parts } = conditions
  if (group === '' || hasGroup(host, listed, conditions)) return []
  const { family } = host
  const chain = groupChain(group)
  return [
    ...mapKinds.map((kind) => addSet(mapFor(host, kind, group))),
    addChain({
      family,
      table,
      chain,
      comment: truncateComment(`Port mappings, if ${text.replaceAll('"', '')}`),
    }),
    flushChain({ family, table, chain }),
    ...lookupRules(host, chain, group),
    ...groupJumps(listed, group).map(deleteRule),
    // Before the maps of networks without conditions: what is more exact comes first.
    insertRule({ family, table, chain: chains.forward, rule: [...parts, jump(chain)] }),
  ]
}

/** Listings that nothing was missing of, by what was needed: the table changes only when somebody needs more of it. */
const whole = new Map<string, readonly Rule[]>()
const MOST = 64

/** What is missing of the table, or wrong. */
export const complete = (host: HostTable, listed: Listed, { conditions, prefixes }: Needs): Operation[] => {
  const key = [host.family, conditions.group, ...prefixes].join(' ')
  const before = whole.get(key)
  if (before && sameListing(before, listed.rules)) return []
  const operations = [
    ...completeBase(host, listed),
    ...completeGroup(host, listed, conditions),
    ...prefixes.flatMap((prefix) => completeSnat(host, listed, prefix)),
  ]
  if (operations.length === 0) {
    if (whole.size === MOST) whole.clear()
    whole.set(key, listed.rules)
  }
  return operations
}

/** The same in words. */
export const missingOf = (
  host: HostTable,
  listed: Listed,
  hooked: readonly Chain[],
  { conditions, prefixes }: Needs,
): string[] => {
  const { family } = host
  const where = `${family} ${table}`
  const missing: string[] = []
  for (const name of baseNames) {
    const base = hooked.find(({ family: of, chain }) => of === family && chain === name)?.base
    const { type, hook, priority } = baseChains[name]
    if (base?.type !== type || base.hook !== hook || base.priority !== priority)
      missing.push(`nftables: chain ${where} ${name} of type ${type} at hook ${hook}, priority ${priority}`)
  }
  for (const chain of brokenBases(host, listed)) missing.push(`nftables: the rule of chain ${where} ${chain}`)
  if (!holdsLookups(commonRules(listed), host, ''))
    missing.push(`nftables: the rules of chain ${where} ${chains.forward}`)
  if (conditions.group !== '' && !hasGroup(host, listed, conditions))
    missing.push(`nftables: chain ${where} ${groupChain(conditions.group)}, for ${conditions.text}`)
  for (const prefix of prefixes)
    if (!hasSnat(host, listed, prefix))
      missing.push(`nftables: the rule of chain ${where} ${chains.snat} for ${snatSet(host, prefix).set}`)
  return missing
}
