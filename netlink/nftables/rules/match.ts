/**
 * Matches: what a packet must look like. Each function's comment gives the words for nft. Every match takes a value,
 * a list of values (an anonymous set, `{ 80, 443 }`), a range `[from, to]` as `range(from, to)`, or `named('set')`
 * for a set of the table, and the operator `'eq'` (the default) or `'ne'`.
 */
import { network, parseCidr } from '../../ip.ts'
import { REG_1 } from '../constants.ts'
import { ctStates, ctStatuses, type Scalar } from '../datatypes.ts'
import type { Expression } from '../expressions.ts'
import { intervalsOf, type SetContent } from '../set-values.ts'
import type { Part, RuleContext } from './context.ts'
import { type Field, fib, fields, loadConcat } from './field.ts'

export type Operator = 'eq' | 'ne'

/** `FROM-TO`, both included. */
export interface Range {
  readonly from: Scalar
  readonly to: Scalar
}
/** Values from `from` to `to`: `10.1.0.5-10.1.0.9`, `1024-65535`. */
export const range = (from: Scalar, to: Scalar): Range => ({ from, to })

/** `@NAME`: a set or map of the same table. */
export interface NamedSet {
  readonly set: string
}
/** A set or map of the same table by its name: `@NAME`. */
export const named = (set: string): NamedSet => ({ set })

/** What a field is compared with. Address fields also take prefixes, name fields a trailing `*`. */
export type Operand = Scalar | Range | NamedSet | readonly (Scalar | Range)[]

const compare = (op: 'eq' | 'neq' | 'lte' | 'gte', value: Uint8Array): Expression => ({
  kind: 'cmp',
  data: { sreg: REG_1, op, data: { value } },
})
/** nft names the operation only where a person has written `&`. */
const mask = (bits: Uint8Array, written = false): Expression => ({
  kind: 'bitwise',
  data: {
    sreg: REG_1,
    dreg: REG_1,
    ...(written && { op: 'bool' }),
    len: bits.length,
    mask: { value: bits },
    xor: { value: new Uint8Array(bits.length) },
  },
})
const cmpOp = (op: Operator): 'eq' | 'neq' => (op === 'eq' ? 'eq' : 'neq')

const isRange = (value: Operand): value is Range => typeof value === 'object' && 'from' in value
const isNamed = (value: Operand): value is NamedSet => typeof value === 'object' && 'set' in value

/** `ip saddr 10.0.0.0/8`. Whole bytes are compared as such; nft masks only where the prefix ends within one. */
const matchPrefix = (rule: RuleContext, field: Field, text: string, op: Operator): void => {
  const cidr = parseCidr(text)
  const { payload, type } = field
  if (!cidr || cidr.ip.length !== type.size || !payload)
    throw new RangeError(`${JSON.stringify(text)} is not a prefix for ${field.name}`)
  const { prefix } = cidr
  const base = network(cidr)
  if (prefix % 8 === 0 && prefix > 0) {
    const bytes = prefix / 8
    rule.match(
      { kind: 'payload', data: { dreg: REG_1, ...payload, len: bytes } },
      compare(cmpOp(op), base.subarray(0, bytes)),
    )
  } else {
    const bits = network({ ip: new Uint8Array(type.size).fill(0xff), prefix })
    rule.match(field.load(REG_1), mask(bits), compare(cmpOp(op), base))
  }
}

const matchRange = (rule: RuleContext, field: Field, { from, to }: Range, op: Operator): void => {
  const { type } = field
  const [low, high] = [type.encode(from), type.encode(to)]
  const load = [field.load(REG_1)]
  if (type.order === 'host') {
    // Ranges compare byte by byte, so that what is in host order is turned round first.
    if (type.size !== 2 && type.size !== 4) throw new RangeError(`${field.name} takes no range`)
    const { size } = type
    load.push({ kind: 'byteorder', data: { sreg: REG_1, dreg: REG_1, op: 'hton', len: size, size } })
    const swap = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1
    if (swap) for (const bytes of [low, high]) bytes.reverse()
  }
  if (Buffer.compare(low, high) > 0) throw new RangeError(`${field.name}: the range ${from}-${to} is empty`)
  if (op === 'eq') rule.match(...load, compare('gte', low), compare('lte', high))
  else
    rule.match(...load, {
      kind: 'range',
      data: { sreg: REG_1, op: 'neq', from: { value: low }, to: { value: high } },
    })
}

const anonymousSet = (field: Field, values: readonly (Scalar | Range)[]): SetContent => {
  if (values.length === 0) throw new RangeError(`${field.name}: an empty set matches nothing`)
  if (field.type.name === 'ifname' && values.some((value) => String(value).endsWith('*')))
    throw new RangeError(`${field.name}: a set takes whole names only`)
  return intervalsOf({ key: [field.type], elements: values.map((value) => ({ key: value })) })
}

/** `FIELD [!=] VALUE` for any field. */
export const matchField =
  (field: Field, value: Operand, op: Operator = 'eq'): Part =>
  (rule) => {
    field.require(rule)
    const { type, payload } = field
    if (Array.isArray(value)) {
      const load = field.load(REG_1)
      rule.match(load, rule.anonymous(anonymousSet(field, value), { inverted: op === 'ne' }))
    } else if (typeof value === 'object' && isNamed(value as Operand)) {
      const { set } = value as NamedSet
      rule.match(field.load(REG_1), {
        kind: 'lookup',
        data: { sreg: REG_1, set, ...(op === 'ne' && { flags: 1 }) },
      })
    } else if (typeof value === 'object' && isRange(value as Operand))
      matchRange(rule, field, value as Range, op)
    else if (typeof value === 'string' && value.includes('/')) {
      const hosts = parseCidr(value)
      if (hosts && hosts.prefix === type.size * 8)
        return matchField(field, value.slice(0, value.indexOf('/')), op)(rule)
      matchPrefix(rule, field, value, op)
    } else if (type.name === 'ifname' && typeof value === 'string' && value.endsWith('*')) {
      if (value === '*') throw new RangeError(`${field.name} "*" matches everything`)
      const prefix = new TextEncoder().encode(value.slice(0, -1))
      rule.match(field.load(REG_1), compare(cmpOp(op), prefix))
    } else {
      const bytes = type.encode(value as Scalar)
      if (payload && op === 'eq') rule.payload({ ...payload, value: bytes, key: field.key ?? false })
      else rule.match(field.load(REG_1), compare(cmpOp(op), bytes))
      if (op === 'eq') field.learn?.(rule, bytes)
    }
  }

/** `FIELD a,b`: any of the bits is set. `FIELD != a,b`: the value is another than exactly these. */
const bits =
  (field: Field, words: Readonly<Record<string, number>>, names: readonly string[], op: Operator): Part =>
  (rule) => {
    let number = 0
    for (const name of names) {
      if (!Object.hasOwn(words, name)) throw new RangeError(`${field.name} knows no ${JSON.stringify(name)}`)
      number |= words[name]!
    }
    if (number === 0) throw new RangeError(`${field.name} needs at least one word`)
    const value = field.type.encode(number)
    field.require(rule)
    if (op === 'ne') rule.match(field.load(REG_1), compare('neq', value))
    else rule.match(field.load(REG_1), mask(value), compare('neq', new Uint8Array(value.length)))
  }

/** `FIELD & MASK == VALUE` */
const masked =
  (field: Field, bitmask: number, value: number, op: Operator): Part =>
  (rule) => {
    field.require(rule)
    rule.match(
      field.load(REG_1),
      mask(field.type.encode(bitmask), true),
      compare(cmpOp(op), field.type.encode(value)),
    )
  }

const of =
  (field: Field) =>
  (value: Operand, op: Operator = 'eq'): Part =>
    matchField(field, value, op)

/** The matches by name; see the head of this file for what they take. */
export const match = {
  field: matchField,
  /** `ip saddr 10.1.2.3`, `ip saddr != 10.0.0.0/8` */
  ipSaddr: of(fields.ipSaddr),
  /** `ip daddr 10.1.2.3` */
  ipDaddr: of(fields.ipDaddr),
  /** `ip protocol tcp` */
  ipProtocol: of(fields.ipProtocol),
  /** `ip6 saddr fe80::/10` */
  ip6Saddr: of(fields.ip6Saddr),
  /** `ip6 daddr fd00::1` */
  ip6Daddr: of(fields.ip6Daddr),
  /** `ip saddr …` or `ip6 saddr …`, by the family of the address or prefix */
  saddr: (address: string, op: Operator = 'eq'): Part =>
    matchField(address.includes(':') ? fields.ip6Saddr : fields.ipSaddr, address, op),
  /** `ip daddr …` or `ip6 daddr …`, by the family of the address or prefix */
  daddr: (address: string, op: Operator = 'eq'): Part =>
    matchField(address.includes(':') ? fields.ip6Daddr : fields.ipDaddr, address, op),
  /** `ether saddr 02:00:00:00:00:01` */
  etherSaddr: of(fields.etherSaddr),
  /** `ether daddr 02:00:00:00:00:01` */
  etherDaddr: of(fields.etherDaddr),
  /** `ether type arp` */
  etherType: of(fields.etherType),
  /** `arp operation request` */
  arpOperation: of(fields.arpOperation),
  /** `arp saddr ip 10.1.2.3` */
  arpSaddrIp: of(fields.arpSaddrIp),
  /** `arp saddr ether 02:00:00:00:00:01` */
  arpSaddrEther: of(fields.arpSaddrEther),
  /** `iifname "veth0"`, `iifname "veth*"` */
  iifname: of(fields.iifname),
  /** `oifname != "cni0"` */
  oifname: of(fields.oifname),
  /** `iif 7`: by number, faster, but bound to this one interface */
  iif: of(fields.iif),
  /** `oif 7` */
  oif: of(fields.oif),
  /** `meta ibrname "cni0"`; bridge family, kernel module nft_meta_bridge */
  ibrname: of(fields.ibrname),
  /** `meta obrname "cni0"`; bridge family, kernel module nft_meta_bridge */
  obrname: of(fields.obrname),
  /** `meta nfproto ipv4`; inet family */
  nfproto: of(fields.nfproto),
  /** `meta l4proto tcp` */
  l4proto: of(fields.l4proto),
  /** `meta protocol ip` */
  protocol: of(fields.protocol),
  /** `meta pkttype broadcast` */
  pkttype: of(fields.pkttype),
  /** `meta mark 0x1` */
  mark: of(fields.mark),
  /** `meta mark & 0x2000 == 0x2000` */
  markBits: (bitmask: number, value: number, op: Operator = 'eq'): Part =>
    masked(fields.mark, bitmask, value, op),
  /** `tcp dport 80` */
  tcpDport: of(fields.tcpDport),
  /** `tcp sport 80` */
  tcpSport: of(fields.tcpSport),
  /** `udp dport 53` */
  udpDport: of(fields.udpDport),
  /** `udp sport 53` */
  udpSport: of(fields.udpSport),
  /** `sctp dport 9` */
  sctpDport: of(fields.sctpDport),
  /** `sctp sport 9` */
  sctpSport: of(fields.sctpSport),
  /** `th dport 53`: whatever the transport protocol */
  thDport: of(fields.thDport),
  /** `th sport 53` */
  thSport: of(fields.thSport),
  /** `tcp flags & (syn | ack) == syn`, with numbers: `tcpFlags(0x12, 0x02)` */
  tcpFlags: (bitmask: number, value: number, op: Operator = 'eq'): Part =>
    masked(fields.tcpFlags, bitmask, value, op),
  /** `icmp type echo-request` */
  icmpType: of(fields.icmpType),
  /** `icmpv6 type nd-neighbor-solicit` */
  icmpv6Type: of(fields.icmpv6Type),
  /** `ct state established,related` */
  ctState: (states: readonly (keyof typeof ctStates)[], op: Operator = 'eq'): Part =>
    bits(fields.ctState, ctStates, states, op),
  /** `ct status dnat` */
  ctStatus: (statuses: readonly (keyof typeof ctStatuses)[], op: Operator = 'eq'): Part =>
    bits(fields.ctStatus, ctStatuses, statuses, op),
  /** `ct mark 0x1` */
  ctMark: of(fields.ctMark),
  /** `ct mark & 0xff == 0x1` */
  ctMarkBits: (bitmask: number, value: number, op: Operator = 'eq'): Part =>
    masked(fields.ctMark, bitmask, value, op),
  /** `ct direction original` */
  ctDirection: of(fields.ctDirection),
  /** `ct original ip daddr 10.1.2.3` */
  ctOriginalIpDaddr: of(fields.ctOriginalIpDaddr),
  /** `ct original proto-dst 80`; nft wants `meta l4proto` before it */
  ctOriginalProtoDst: of(fields.ctOriginalProtoDst),
  /** `fib daddr type local` */
  fibDaddrType: of(fib(['daddr'], 'type')),
  /** `fib saddr . iif oif missing`: reverse path filter */
  fibReversePath: (found: 'missing' | 'exists'): Part => matchField(fib(['saddr', 'iif'], 'present'), found),
  /** `ip saddr . tcp dport @NAME`: fields side by side, looked up in a set of the table */
  concat:
    (keys: readonly Field[], set: string, op: Operator = 'eq'): Part =>
    (rule) =>
      rule.match(...loadConcat(rule, keys), {
        kind: 'lookup',
        data: { sreg: REG_1, set, ...(op === 'ne' && { flags: 1 }) },
      }),
} as const
