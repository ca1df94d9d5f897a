/** What conditions may be about, by nft's words. */
import { type Field, fib, fields } from '../../netlink/nftables/index.ts'

/** How a field is compared. */
export interface Comparable {
  readonly field: Field
  /** Words are bits of a mask: `ct state new,established`. */
  readonly bits?: boolean | undefined
}

const plain = (field: Field): Comparable => ({ field })
const bits = (field: Field): Comparable => ({ field, bits: true })

const interfaces = {
  iifname: plain(fields.iifname),
  oifname: plain(fields.oifname),
  // nft looks the name up and compares the number, which another interface of that name does not have.
  iif: plain(fields.iifname),
  oif: plain(fields.oifname),
  iifgroup: plain(fields.iifgroup),
  oifgroup: plain(fields.oifgroup),
  mark: plain(fields.mark),
} as const

const meta = {
  ...interfaces,
  l4proto: plain(fields.l4proto),
  nfproto: plain(fields.nfproto),
  protocol: plain(fields.protocol),
  pkttype: plain(fields.pkttype),
} as const

const prefixed = (prefix: string, all: Readonly<Record<string, Comparable>>): [string, Comparable][] =>
  Object.entries(all).map(([name, comparable]) => [`${prefix} ${name}`, comparable])

/** By the words that they begin with. */
export const comparables: ReadonlyMap<string, Comparable> = new Map([
  ['ip saddr', plain(fields.ipSaddr)],
  ['ip daddr', plain(fields.ipDaddr)],
  ['ip protocol', plain(fields.ipProtocol)],
  ['ip6 saddr', plain(fields.ip6Saddr)],
  ['ip6 daddr', plain(fields.ip6Daddr)],
  ['ip6 nexthdr', plain(fields.ip6Nexthdr)],
  ...Object.entries(interfaces),
  ...prefixed('meta', meta),
  ['tcp sport', plain(fields.tcpSport)],
  ['tcp dport', plain(fields.tcpDport)],
  ['udp sport', plain(fields.udpSport)],
  ['udp dport', plain(fields.udpDport)],
  ['sctp sport', plain(fields.sctpSport)],
  ['sctp dport', plain(fields.sctpDport)],
  ['th sport', plain(fields.thSport)],
  ['th dport', plain(fields.thDport)],
  ['icmp type', plain(fields.icmpType)],
  ['icmpv6 type', plain(fields.icmpv6Type)],
  ['ct state', bits(fields.ctState)],
  ['ct status', bits(fields.ctStatus)],
  ['ct mark', plain(fields.ctMark)],
  ['ct direction', plain(fields.ctDirection)],
  ['fib daddr type', plain(fib(['daddr'], 'type'))],
  ['fib saddr type', plain(fib(['saddr'], 'type'))],
])

/** Most words that one begins with. */
export const MOST_WORDS = 3

/** What is understood, for an error. */
export const understood = `${[...comparables.keys()].join(', ')}; each with a value, ==, !=, a prefix (10.0.0.0/8), a range (1024-65535), a set ({ 80, 443 }), and marks with a mask (meta mark & 0xff == 0x1)`
