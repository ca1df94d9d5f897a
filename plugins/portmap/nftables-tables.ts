/**
 * The rule set that port mappings live in. The tables are those of the reference plugin, which flushes and refills its
 * own chains there (`prerouting`, `output`, `hostports`, …, priority -100); ours have names and a priority of their
 * own. A packet takes the same few steps however many mappings there are:
 *
 *     table ip cni_hostport {
 *       comment "CNI portmap plugin"
 *       map portmap_hostip { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
 *       map portmap_any { type inet_proto . inet_service : ipv4_addr . inet_service
 *         elements = { tcp . 8080 comment "6fd94d501e58f0aa-…, net: …, if: …, id: …" : 10.22.0.5 . 80 }
 *       }
 *       chain portmap {
 *         dnat ip to ip daddr . meta l4proto . th dport map @portmap_hostip
 *         dnat ip to meta l4proto . th dport map @portmap_any
 *       }
 *       chain portmap_prerouting { type nat hook prouting priority dstnat + 1; fib daddr type local goto portmap }
 *       chain portmap_output { type nat hook output priority -99; fib daddr type local goto portmap }
 *       set portmap_snat_16 { type ipv4_addr . ipv4_addr; elements = { 10.22.0.0 . 10.22.0.5 } }
 *       chain portmap_snat { ip saddr & 255.255.0.0 . ip daddr @portmap_snat_16 masquerade }
 *       chain portmap_postrouting { type nat hook postrouting priority srcnat; ct status dnat goto portmap_snat }
 *     }
 */
import {
  type BaseChain,
  dnatMap,
  type Field,
  fields,
  goto,
  masked,
  masquerade,
  match,
  type Part,
  priorities,
  type SetOptions,
} from '../../netlink/nftables/index.ts'

/** The name of both tables. */
export const table = 'cni_hostport'
export const tableComment = 'CNI portmap plugin'

/** What differs between the tables of IPv4 and IPv6. */
export interface HostTable {
  readonly family: 'ip' | 'ip6'
  readonly table: typeof table
  readonly address: 'ipv4_addr' | 'ipv6_addr'
  /** Bits of an address. */
  readonly bits: 32 | 128
  readonly unspecified: string
  readonly saddr: Field
  readonly daddr: Field
}

export const hostTables: readonly [HostTable, HostTable] = [
  {
    family: 'ip',
    table,
    address: 'ipv4_addr',
    bits: 32,
    unspecified: '0.0.0.0',
    saddr: fields.ipSaddr,
    daddr: fields.ipDaddr,
  },
  {
    family: 'ip6',
    table,
    address: 'ipv6_addr',
    bits: 128,
    unspecified: '::',
    saddr: fields.ip6Saddr,
    daddr: fields.ip6Daddr,
  },
]

/** Our chains; what the comments say is for people. */
export const chains = {
  forward: 'portmap',
  snat: 'portmap_snat',
  prerouting: 'portmap_prerouting',
  output: 'portmap_output',
  postrouting: 'portmap_postrouting',
} as const
export const chainComments = {
  [chains.forward]: 'Port mappings: where ports of this host lead to',
  [chains.snat]: 'Port mappings: connections whose answers have to come back this way',
} as const

/** Behind the reference's rules: where one of those claims a port, its container is the newer one. */
const behindReference = priorities.dstnat + 1
export const baseChains = {
  [chains.prerouting]: { type: 'nat', hook: 'prerouting', priority: behindReference },
  [chains.output]: { type: 'nat', hook: 'output', priority: behindReference },
  [chains.postrouting]: { type: 'nat', hook: 'postrouting', priority: priorities.srcnat },
} as const satisfies Readonly<Record<string, BaseChain>>
export type BaseName = keyof typeof baseChains

/** The one rule of a base chain. */
export const baseRule = ({ family }: HostTable, chain: BaseName): readonly Part[] => {
  if (chain === chains.postrouting) return [match.ctStatus(['dnat']), goto(chains.snat)]
  // No packet from ::1 leaves the host, whatever its sender becomes: refused at once, a client tries 127.0.0.1 next.
  const reaches = family === 'ip6' && chain === chains.output ? [match.ip6Daddr('::1', 'ne')] : []
  return [...reaches, match.fibDaddrType('local'), goto(chains.forward)]
}

/** What the chains of groups are called: networks with conditions, by a hash of these. */
const whenPrefix = 'portmap_when_'
/** The chain of a group: what happens to packets that meet its conditions. */
export const groupChain = (group: string): string => `${whenPrefix}${group}`
/** The group of such a chain; undefined for another chain. */
export const groupOf = (chain: string): string | undefined =>
  chain.startsWith(whenPrefix) ? chain.slice(whenPrefix.length) : undefined

export type MapKind = 'hostip' | 'any'
export const mapKinds = ['hostip', 'any'] as const satisfies readonly MapKind[]

/**
 * The two maps of mappings: those that answer on one address of the host, and those that answer on all.
 * @param group empty: of all networks without conditions
 */
export const mapFor = ({ family, address }: HostTable, kind: MapKind, group: string): SetOptions => ({
  family,
  table,
  set: `portmap_${kind}${group === '' ? '' : `_${group}`}`,
  key: kind === 'any' ? ['inet_proto', 'inet_service'] : [address, 'inet_proto', 'inet_service'],
  value: [address, 'inet_service'],
  comment: kind === 'any' ? 'Ports of all addresses of this host' : 'Ports of one address of this host',
})

/** The rule that looks a packet up in such a map: `dnat ip to … map @NAME`. */
export const lookupRule = (host: HostTable, kind: MapKind, group: string): readonly Part[] => [
  dnatMap({
    keys: [...(kind === 'hostip' ? [host.daddr] : []), fields.l4proto, fields.thDport],
    map: mapFor(host, kind, group).set,
    family: host.family,
    ports: true,
  }),
]

/** Who is masqueraded: networks of one length, with a container each; of length 0: the containers, for all senders. */
export const snatSet = ({ family, address }: HostTable, prefix: number): SetOptions => ({
  family,
  table,
  set: `portmap_snat_${prefix}`,
  key: prefix === 0 ? [address] : [address, address],
  comment: prefix === 0 ? 'Container, for all senders' : 'Network of the sender, and container',
})

/** The length in the name of such a set; undefined for another set. */
export const snatPrefix = (set: string): number | undefined => {
  const found = /^portmap_snat_(\d{1,3})$/.exec(set)
  return found ? Number(found[1]) : undefined
}

/** The rule that looks a packet up in such a set. */
export const snatRule = (host: HostTable, prefix: number): readonly Part[] => [
  match.concat(
    prefix === 0 ? [host.daddr] : [masked(host.saddr, prefix), host.daddr],
    snatSet(host, prefix).set,
  ),
  masquerade(),
]

/** Whether a set of the table is one of those that hold elements of attachments. */
export const isElementSet = (set: string): boolean => /^portmap_(hostip|any|snat)(_|$)/.test(set)
