/** What rules compare, look up and translate: header fields, and what the kernel knows about a packet. */
import { formatIp, network } from '../../ip.ts'
import { registerAt } from '../constants.ts'
import { type DataType, dataTypes, protocols } from '../datatypes.ts'
import { type CtKey, type Expression, FIB_F, type MetaKey } from '../expressions.ts'
import type { NetworkProtocol, PayloadStep, RuleContext } from './context.ts'

/** Where a value comes from. For `match.field`, `match.concat`, `vmap` and `dnatMap`. */
export interface Field {
  /** As nft writes it: `ip saddr`. */
  readonly name: string
  readonly type: DataType
  /** Position in a header; undefined for what does not come from the packet's bytes. */
  readonly payload?: { readonly base: PayloadStep['base']; readonly offset: number } | undefined
  /** The value tells which protocol follows: see {@link PayloadStep.key}. */
  readonly key?: boolean | undefined
  /** Adds what must be known before the field can be read. */
  require(rule: RuleContext): void
  /** Reads it into a register. */
  load(dreg: number): Expression
  /** Bits that count, where not all do; see {@link masked}. */
  readonly mask?: Uint8Array | undefined
  /** What a rule knows once the field equals `value`. */
  learn?(rule: RuleContext, value: Uint8Array): void
}

type Options = Pick<Field, 'key' | 'learn'>
type Require = (rule: RuleContext) => void

const nothing = (): void => {}

const header = (
  name: string,
  type: DataType,
  base: PayloadStep['base'],
  offset: number,
  require: Require,
  options: Options = {},
): Field => ({
  name,
  type,
  payload: { base, offset },
  require,
  load: (dreg) => ({ kind: 'payload', data: { dreg, base, offset, len: type.size } }),
  ...options,
})

const meta = (name: string, key: MetaKey, type: DataType, options: Options = {}): Field => ({
  name,
  type,
  require: nothing,
  load: (dreg) => ({ kind: 'meta', data: { key, dreg } }),
  ...options,
})

const ct = (name: string, key: CtKey, type: DataType, direction?: 'original' | 'reply'): Field => ({
  name,
  type,
  require: nothing,
  load: (dreg) => ({ kind: 'ct', data: { key, dreg, ...(direction && { direction }) } }),
})

const ofNetwork =
  (protocol: NetworkProtocol): Require =>
  (rule) =>
    rule.needNetwork(protocol)

const transport =
  (protocol: number): Require =>
  (rule) =>
    rule.needTransport(protocol)

/** ICMP exists over one network protocol only, so that one is asked for first, unless l4proto is known already. */
const icmp =
  (protocol: 'ip' | 'ip6', number: number): Require =>
  (rule) => {
    if (rule.transport === undefined) rule.needNetwork(protocol, true)
    rule.needTransport(number)
  }

const ether: Require = (rule) => rule.needEther()

const learnTransport = (rule: RuleContext, value: Uint8Array): void => {
  rule.transport = value[0]
}

const etherTypes: readonly (readonly [number, NetworkProtocol])[] = [
  [0x0800, 'ip'],
  [0x86dd, 'ip6'],
  [0x0806, 'arp'],
]
const learnNetwork = (rule: RuleContext, value: Uint8Array): void => {
  const number = (value[0]! << 8) | value[1]!
  rule.network = etherTypes.find(([type]) => type === number)?.[1] ?? rule.network
}

const t = dataTypes

const ports = (name: string, require: Require) => ({
  sport: header(`${name} sport`, t.inet_service, 'transport', 0, require),
  dport: header(`${name} dport`, t.inet_service, 'transport', 2, require),
})
const tcp = ports('tcp', transport(protocols.tcp))
const udp = ports('udp', transport(protocols.udp))
const sctp = ports('sctp', transport(protocols.sctp))
const th = ports('th', nothing)

/** The fields by name, camel case of nft's words. */
export const fields = {
  etherDaddr: header('ether daddr', t.ether_addr, 'link', 0, ether),
  etherSaddr: header('ether saddr', t.ether_addr, 'link', 6, ether),
  etherType: header('ether type', t.ether_type, 'link', 12, ether, { key: true, learn: learnNetwork }),
  arpOperation: header('arp operation', t.arp_op, 'network', 6, ofNetwork('arp')),
  arpSaddrEther: header('arp saddr ether', t.ether_addr, 'network', 8, ofNetwork('arp')),
  arpSaddrIp: header('arp saddr ip', t.ipv4_addr, 'network', 14, ofNetwork('arp')),
  ipProtocol: header('ip protocol', t.inet_proto, 'network', 9, ofNetwork('ip'), {
    key: true,
    learn: learnTransport,
  }),
  ipSaddr: header('ip saddr', t.ipv4_addr, 'network', 12, ofNetwork('ip')),
  ipDaddr: header('ip daddr', t.ipv4_addr, 'network', 16, ofNetwork('ip')),
  ip6Nexthdr: header('ip6 nexthdr', t.inet_proto, 'network', 6, ofNetwork('ip6'), {
    key: true,
    learn: learnTransport,
  }),
  ip6Saddr: header('ip6 saddr', t.ipv6_addr, 'network', 8, ofNetwork('ip6')),
  ip6Daddr: header('ip6 daddr', t.ipv6_addr, 'network', 24, ofNetwork('ip6')),
  icmpType: header('icmp type', t.icmp_type, 'transport', 0, icmp('ip', protocols.icmp)),
  icmpv6Type: header('icmpv6 type', t.icmpv6_type, 'transport', 0, icmp('ip6', protocols.icmpv6)),
  tcpSport: tcp.sport,
  tcpDport: tcp.dport,
  tcpFlags: header('tcp flags', t.tcp_flag, 'transport', 13, transport(protocols.tcp)),
  udpSport: udp.sport,
  udpDport: udp.dport,
  sctpSport: sctp.sport,
  sctpDport: sctp.dport,
  thSport: th.sport,
  thDport: th.dport,

  iif: meta('iif', 'iif', t.iface_index),
  oif: meta('oif', 'oif', t.iface_index),
  iifname: meta('iifname', 'iifname', t.ifname),
  oifname: meta('oifname', 'oifname', t.ifname),
  iifgroup: meta('iifgroup', 'iifgroup', t.devgroup),
  oifgroup: meta('oifgroup', 'oifgroup', t.devgroup),
  /** The bridge that a packet came in by; bridge family. */
  ibrname: meta('meta ibrname', 'ibrname', t.ifname),
  /** The bridge that a packet goes out by; bridge family. */
  obrname: meta('meta obrname', 'obrname', t.ifname),
  mark: meta('meta mark', 'mark', t.mark),
  nfproto: meta('meta nfproto', 'nfproto', t.nf_proto, {
    learn: (rule, value) => {
      if (rule.family === 'inet')
        rule.network = value[0] === 2 ? 'ip' : value[0] === 10 ? 'ip6' : rule.network
    },
  }),
  l4proto: meta('meta l4proto', 'l4proto', t.inet_proto, { learn: learnTransport }),
  /** EtherType as the kernel sees it. In inet tables nft still asks for nfproto after it, so nothing is learnt there. */
  protocol: meta('meta protocol', 'protocol', t.ether_type, {
    learn: (rule, value) => {
      if (rule.family !== 'inet') learnNetwork(rule, value)
    },
  }),
  pkttype: meta('meta pkttype', 'pkttype', t.pkt_type),

  ctState: ct('ct state', 'state', t.ct_state),
  ctStatus: ct('ct status', 'status', t.ct_status),
  ctMark: ct('ct mark', 'mark', t.mark),
  ctDirection: ct('ct direction', 'direction', t.ct_dir),
  ctOriginalIpSaddr: ct('ct original ip saddr', 'srcIp', t.ipv4_addr, 'original'),
  ctOriginalIpDaddr: ct('ct original ip daddr', 'dstIp', t.ipv4_addr, 'original'),
  ctOriginalIp6Saddr: ct('ct original ip6 saddr', 'srcIp6', t.ipv6_addr, 'original'),
  ctOriginalIp6Daddr: ct('ct original ip6 daddr', 'dstIp6', t.ipv6_addr, 'original'),
  /** nft wants `meta l4proto` before it. */
  ctOriginalProtoDst: ct('ct original proto-dst', 'protoDst', t.inet_service, 'original'),
} as const satisfies Record<string, Field>

/** A `fib` lookup: `fib daddr type`, `fib saddr . iif oif`. */
export const fib = (
  keys: readonly ('saddr' | 'daddr' | 'mark' | 'iif' | 'oif')[],
  result: 'type' | 'oif' | 'oifname' | 'present',
): Field => {
  const flags = keys.reduce((sum, key) => sum | FIB_F[key], result === 'present' ? FIB_F.present : 0)
  const types = { type: t.fib_addrtype, oif: t.iface_index, oifname: t.ifname, present: t.boolean }
  return {
    name: `fib ${keys.join(' . ')} ${result === 'present' ? 'oif' : result}`,
    type: types[result],
    require: nothing,
    load: (dreg) => ({
      kind: 'fib',
      data: { flags, result: result === 'present' ? 'oif' : result, dreg },
    }),
  }
}

/**
 * The part of an address that a prefix of `prefix` bits leaves: `ip saddr & 255.255.0.0`. In a concatenation it looks
 * up networks in a set that holds no ranges, which takes the same time however many there are.
 */
export const masked = (field: Field, prefix: number): Field => {
  const bits = field.type.size * 8
  if (!Number.isInteger(prefix) || prefix < 0 || prefix > bits)
    throw new RangeError(`${field.name} has no prefix of ${prefix} bits`)
  if (prefix === bits) return field
  const mask = network({ ip: new Uint8Array(field.type.size).fill(0xff), prefix })
  return { ...field, name: `${field.name} & ${formatIp(mask)}`, payload: undefined, mask }
}

/** Loads fields side by side, as the key of a concatenation. */
export const loadConcat = (rule: RuleContext, keys: readonly Field[]): Expression[] => {
  for (const field of keys) field.require(rule)
  let words = 0
  return keys.flatMap((field): Expression[] => {
    const { mask, type } = field
    const dreg = registerAt(words)
    words += Math.ceil(type.size / 4)
    const load = field.load(dreg)
    if (!mask) return [load]
    const data = {
      sreg: dreg,
      dreg,
      op: 'bool',
      len: type.size,
      mask: { value: mask },
      xor: { value: new Uint8Array(type.size) },
    } as const
    return [load, { kind: 'bitwise', data }]
  })
}
