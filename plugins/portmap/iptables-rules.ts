/**
 * The rules of the iptables backend, those of the Go plugin, in the nat table:
 *
 *     PREROUTING, OUTPUT    -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
 *     CNI-HOSTPORT-DNAT     -p tcp -m comment --comment "dnat name: …" -m multiport --dports 8080,8443 -j CNI-DN-…
 *     CNI-DN-…              -s 10.22.0.0/16 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
 *                           -s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
 *                           -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.22.0.5:80
 *     CNI-HOSTPORT-SETMARK  -m comment --comment … -j MARK --set-xmark 0x2000/0x2000
 *     POSTROUTING           -m comment --comment … -j CNI-HOSTPORT-MASQ, before all else
 *     CNI-HOSTPORT-MASQ     -m mark --mark 0x2000/0x2000 -j MASQUERADE
 *
 * The words are in the order in which `iptables -S` prints them, so that a rule that is there is known by its text.
 */
import { formatCidr, formatIp, network as networkOf, parseCidr, parseIp } from '../../netlink/ip.ts'
import type { Version } from '../shared/iptables.ts'
import type { Forwarding, PortMapping } from './forwarding.ts'
import { DNAT_CHAIN, dnatChain, entryComment, MASQ_CHAIN, SETMARK_CHAIN } from './iptables-names.ts'

/** A rule as arguments, without its chain. */
export type Words = readonly string[]

/** A rule in its place. */
export interface Placed {
  readonly chain: string
  readonly rule: Words
}

/** What an attachment needs of one of the two nat tables. */
export interface Rules {
  readonly version: Version
  /** The container's chain. */
  readonly chain: string
  /** What is in it, in order. */
  readonly rules: readonly Words[]
  /** What leads to it, in `CNI-HOSTPORT-DNAT`. */
  readonly entries: readonly Words[]
  /** What all containers share: chains with one rule, which this network's configuration decides. */
  readonly marks: readonly Placed[]
  /** What leads to the shared chains. `POSTROUTING`'s comes before all else, the others come last. */
  readonly jumps: readonly Placed[]
}

/** Ports that one multiport match takes. */
const MAX_PORTS = 15

const loopback = '127.0.0.1/32'

const jumpToDnat: Words = ['-m', 'addrtype', '--dst-type', 'LOCAL', '-j', DNAT_CHAIN]
const jumpToMasq: Words = ['-m', 'comment', '--comment', 'CNI portfwd requiring masquerade', '-j', MASQ_CHAIN]

const marksOf = (bit: number): Placed[] => {
  const value = `0x${(2 ** bit).toString(16)}`
  const mark = `${value}/${value}`
  return [
    {
      chain: SETMARK_CHAIN,
      rule: ['-m', 'comment', '--comment', 'CNI portfwd masquerade mark', '-j', 'MARK', '--set-xmark', mark],
    },
    { chain: MASQ_CHAIN, rule: ['-m', 'mark', '--mark', mark, '-j', 'MASQUERADE'] },
  ]
}

/** What a packet for the mapping matches; null: it is of the other family. */
const matchOf = ({ protocol, hostPort, hostIp }: PortMapping, version: Version): Words | null => {
  const port = ['-p', protocol, '-m', protocol, '--dport', String(hostPort)]
  const ip = hostIp === undefined ? null : parseIp(hostIp)
  if (!ip) return port
  if (ip.length !== (version === 4 ? 4 : 16)) return null
  return ip.every((byte) => byte === 0) ? port : ['-d', `${formatIp(ip)}/${ip.length * 8}`, ...port]
}

const targetOf = (ip: Uint8Array, port: number): string =>
  ip.length === 4 ? `${formatIp(ip)}:${port}` : `[${formatIp(ip)}]:${port}`

/** Ports by protocol, both in the Go plugin's order, in pieces that one match takes. */
const entriesOf = (
  { network, containerId, mappings, ...forwarding }: Forwarding,
  version: Version,
): Words[] => {
  const conditions = version === 4 ? forwarding.conditionsV4 : forwarding.conditionsV6
  const comment = ['-m', 'comment', '--comment', entryComment(network, containerId)]
  const ports = new Map<string, number[]>()
  for (const { protocol, hostPort } of mappings) {
    const known = ports.get(protocol) ?? []
    if (!known.includes(hostPort)) ports.set(protocol, [...known, hostPort])
  }
  return [...ports]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([protocol, all]) =>
      Array.from({ length: Math.ceil(all.length / MAX_PORTS) }, (_, i) => [
        ...['-p', protocol, ...comment, '-m', 'multiport', '--dports'],
        all.slice(i * MAX_PORTS, (i + 1) * MAX_PORTS).join(','),
        ...conditions,
        ...['-j', dnatChain(network, containerId)],
      ]),
    )
}

/** The rules of one family; null where nothing is mapped in it. */
export const rulesFor = (forwarding: Forwarding, version: Version): Rules | null => {
  const { network, containerId, mappings, addresses, snat, masqAll, markMasqBit } = forwarding
  const bytes = version === 4 ? 4 : 16
  const own = addresses.map(parseCidr).find((cidr) => cidr?.ip.length === bytes)
  if (!own) return null
  const external = forwarding.externalSetMarkChain
  const mark = ['-j', external || SETMARK_CHAIN]
  const subnet = formatCidr({ ip: networkOf(own), prefix: own.prefix })
  const rules = mappings.flatMap((mapping): Words[] => {
    const match = matchOf(mapping, version)
    if (!match) return []
    const to = ['-j', 'DNAT', '--to-destination', targetOf(own.ip, mapping.containerPort)]
    return [
      // From the container itself and from its subnet the answer would not come back this way.
      ...(snat ? [masqAll ? [...match, ...mark] : ['-s', subnet, ...match, ...mark]] : []),
      ...(snat && !masqAll && version === 4 ? [['-s', loopback, ...match, ...mark]] : []),
      [...match, ...to],
    ]
  })
  if (rules.length === 0) return null
  const marked = snat && external === ''
  return {
    version,
    chain: dnatChain(network, containerId),
    rules,
    entries: entriesOf(forwarding, version),
    marks: marked ? marksOf(markMasqBit) : [],
    jumps: [
      { chain: 'PREROUTING', rule: jumpToDnat },
      { chain: 'OUTPUT', rule: jumpToDnat },
      ...(marked ? [{ chain: 'POSTROUTING', rule: jumpToMasq }] : []),
    ],
  }
}
