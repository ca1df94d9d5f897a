/**
 * Turns a rule's parts into expressions, as nft does it: adds what a match depends on (`ip saddr` in an inet table
 * must first ask whether the packet is IPv4) and joins comparisons of neighbouring header fields into one.
 *
 * Modelled on what nft 1.0.6 sends. Two things it gets wrong are not copied: it joins `!=` comparisons, which changes
 * their meaning, and it moves matches behind a counter or a limit that stood after them.
 */
import type { Family } from '../constants.ts'
import { REG_1 } from '../constants.ts'
import { dataTypes } from '../datatypes.ts'
import type { Expression } from '../expressions.ts'
import type { SetContent } from '../set-values.ts'
import { joinPayloads } from './join.ts'

/** One match or statement of a rule. */
export type Part = (rule: RuleContext) => void

/** A comparison of header bytes for equality: what {@link joinPayloads} may join with its neighbours. */
export interface PayloadStep {
  readonly kind: 'payload'
  readonly base: 'link' | 'network' | 'transport'
  readonly offset: number
  readonly value: Uint8Array
  /** Later matches rely on it (`ether type`, `ip protocol`), so that it must not move forward. */
  readonly key: boolean
}
/** A match without side effects. */
interface MatchStep {
  readonly kind: 'match'
  readonly expressions: readonly Expression[]
}
/** Something that acts; matches must not move across it. */
interface StatementStep {
  readonly kind: 'statement'
  readonly expressions: readonly Expression[]
}
export type Step = PayloadStep | MatchStep | StatementStep

/** Placeholder of an anonymous set's number in `lookup.setId`: its index in {@link BuiltRule.sets}. */
const ANONYMOUS = /^__(?:set|map)%d$/

/** A finished rule. */
export interface BuiltRule {
  /** Sets to make with the rule: `{ 80, 443 }`. */
  readonly sets: readonly SetContent[]
  /** The expressions, with the numbers that the transaction gave to `sets`. */
  expressions(setIds: readonly number[]): readonly Expression[]
}

/** The network protocols that fields belong to. */
export type NetworkProtocol = 'ip' | 'ip6' | 'arp'

/** Loads `source` into register 1 and compares it for equality. */
const equals = (source: Expression, value: Uint8Array): Expression[] => [
  source,
  { kind: 'cmp', data: { sreg: REG_1, op: 'eq', data: { value } } },
]

/** What has been said so far about the packet, and the expressions that say it. */
export class RuleContext {
  readonly family: Family
  readonly steps: Step[] = []
  readonly sets: SetContent[] = []
  /** Known for certain at this point of the rule. */
  network: NetworkProtocol | undefined
  /** IPPROTO_*; undefined when unknown. */
  transport: number | undefined
  /** The rule has looked into the Ethernet header. */
  ether: boolean

  constructor(family: Family) {
    this.family = family
    this.network = family === 'ip' || family === 'ip6' || family === 'arp' ? family : undefined
    this.ether = family === 'bridge' || family === 'netdev'
  }

  match(...expressions: Expression[]): void {
    this.steps.push({ kind: 'match', expressions })
  }
  statement(...expressions: Expression[]): void {
    this.steps.push({ kind: 'statement', expressions })
  }
  payload(step: Omit<PayloadStep, 'kind'>): void {
    this.steps.push({ kind: 'payload', ...step })
  }

  /**
   * The fields that follow belong to IPv4, IPv6 or ARP. Throws RangeError where the rule has said otherwise.
   * @param viaEther what nft does for ICMP in bridge tables: ask the Ethernet header instead of `meta protocol`
   */
  needNetwork(protocol: NetworkProtocol, viaEther = false): void {
    if (this.network === protocol) return
    if (this.network !== undefined)
      throw new RangeError(`a rule can not match ${this.network} and ${protocol} at once`)
    const type = dataTypes.ether_type.encode(protocol)
    if (this.family === 'inet' && !this.ether) {
      if (protocol === 'arp') throw new RangeError('inet tables do not see ARP')
      this.match(
        ...equals(
          { kind: 'meta', data: { key: 'nfproto', dreg: REG_1 } },
          dataTypes.nf_proto.encode(protocol === 'ip' ? 'ipv4' : 'ipv6'),
        ),
      )
    } else if (this.family === 'inet' || viaEther || protocol === 'arp')
      this.payload({ base: 'link', offset: 12, value: type, key: true })
    else this.match(...equals({ kind: 'meta', data: { key: 'protocol', dreg: REG_1 } }, type))
    this.network = protocol
  }

  /** The fields that follow belong to the transport protocol. Throws RangeError where the rule has said otherwise. */
  needTransport(protocol: number): void {
    if (this.transport === protocol) return
    if (this.transport !== undefined)
      throw new RangeError(`a rule can not match the IP protocols ${this.transport} and ${protocol} at once`)
    this.match(
      ...equals(
        { kind: 'meta', data: { key: 'l4proto', dreg: REG_1 } },
        dataTypes.inet_proto.encode(protocol),
      ),
    )
    this.transport = protocol
  }

  /** The fields that follow belong to the Ethernet header, which a packet in these tables may not have. */
  needEther(): void {
    if (this.ether) return
    this.match(
      ...equals(
        { kind: 'meta', data: { key: 'iiftype', dreg: REG_1 } },
        dataTypes.iface_type.encode('ether'),
      ),
    )
    this.ether = true
  }

  /** A lookup in a set that is made together with the rule. `flags` as in NFTA_LOOKUP_FLAGS. */
  anonymous(set: SetContent, options: { dreg?: number; inverted?: boolean } = {}): Expression {
    this.sets.push(set)
    return {
      kind: 'lookup',
      data: {
        sreg: REG_1,
        ...(options.dreg !== undefined && { dreg: options.dreg }),
        set: set.data ? '__map%d' : '__set%d',
        setId: this.sets.length - 1,
        ...(options.inverted && { flags: 1 }),
      },
    }
  }
}

const toExpressions = (step: Step): readonly Expression[] =>
  step.kind !== 'payload'
    ? step.expressions
    : equals(
        {
          kind: 'payload',
          data: { dreg: REG_1, base: step.base, offset: step.offset, len: step.value.length },
        },
        step.value,
      )

/** Builds a rule for a table of `family`. Throws RangeError for values and combinations that make no sense. */
export const build = (family: Family, parts: readonly Part[]): BuiltRule => {
  const context = new RuleContext(family)
  for (const part of parts) part(context)
  const expressions = joinPayloads(context.steps).flatMap(toExpressions)
  return {
    sets: context.sets,
    expressions: (setIds) =>
      context.sets.length === 0
        ? expressions
        : expressions.map((expression): Expression => {
            if (expression.kind !== 'lookup' || !expression.data) return expression
            const { set, setId } = expression.data as { set?: string; setId?: number }
            if (set === undefined || setId === undefined || !ANONYMOUS.test(set)) return expression
            return { kind: 'lookup', data: { ...expression.data, setId: setIds[setId] } }
          }),
  }
}

/** The expressions of a rule without anonymous sets, for comparison and tests. */
export const expressionsOf = (family: Family, parts: readonly Part[]): readonly Expression[] =>
  build(family, parts).expressions([])
