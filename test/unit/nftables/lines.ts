/**
 * Rules as nft prints them, and the parts that make the same. The unit tests compare their bytes with what nft sends
 * (fixtures.json), the kernel tests with what the kernel and nft say about them.
 */
import {
  accept,
  continues,
  counter,
  dnat,
  dnatMap,
  drop,
  type Family,
  fib,
  fields,
  goto,
  jump,
  limit,
  log,
  masked,
  masquerade,
  match,
  named,
  notrack,
  type Part,
  range,
  redirect,
  reject,
  returns,
  setCtMark,
  setMetaMark,
  snat,
  vmap,
} from '../../../netlink/nftables/index.ts'

/** A rule of a chain that is at a hook where the kernel takes it. */
export interface Line {
  readonly family: Family
  /** What kind of chain it needs. */
  readonly chain: 'filter' | 'srcnat' | 'dnat' | 'raw'
  readonly line: string
  readonly parts: readonly Part[]
}

const of =
  (family: Family, chain: Line['chain']) =>
  (line: string, ...parts: Part[]): Line => ({ family, chain, line, parts })

const inet = of('inet', 'filter')
const inetSrc = of('inet', 'srcnat')
const inetDst = of('inet', 'dnat')
const ip = of('ip', 'filter')
const ipSrc = of('ip', 'srcnat')
const ipDst = of('ip', 'dnat')
const ip6 = of('ip6', 'filter')
const ip6Src = of('ip6', 'srcnat')
const ip6Dst = of('ip6', 'dnat')
const bridge = of('bridge', 'filter')

const mac1 = '02:00:00:00:00:01'
const mac2 = '02:00:00:00:00:02'

/** The sets and chains that the lines below refer to. */
export const context = `
  chain other { }
  set addresses { type ipv4_addr; }
  set ports { type inet_service; }
  set pairs { type ipv4_addr . inet_service; }
  map verdicts { type ifname : verdict; }
  map hosts { type inet_service : ipv4_addr; }
  map places { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
  map places6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
  set networks { type ipv4_addr . ipv4_addr; }
  set networks6 { type ipv6_addr . ipv6_addr; }
`

export const lines: readonly Line[] = [
  // Masquerading and spoof check, as the plugins write them.
  inetSrc('ip daddr 224.0.0.0/4 return', match.ipDaddr('224.0.0.0/4'), returns()),
  inetSrc('ip6 daddr ff00::/8 return', match.ip6Daddr('ff00::/8'), returns()),
  inetSrc('goto other', goto('other')),
  inetSrc(
    'ip saddr 10.22.0.5 ip daddr != 10.22.0.0/16 masquerade',
    match.ipSaddr('10.22.0.5'),
    match.ipDaddr('10.22.0.0/16', 'ne'),
    masquerade(),
  ),
  inetSrc(
    'ip6 saddr fd00:1::5 ip6 daddr != fd00:1::/64 masquerade',
    match.saddr('fd00:1::5'),
    match.daddr('fd00:1::/64', 'ne'),
    masquerade(),
  ),
  bridge('iifname "veth0" jump other', match.iifname('veth0'), jump('other')),
  bridge(`ether saddr ${mac1} return`, match.etherSaddr(mac1), returns()),

  // Addresses.
  inet('ip saddr 10.1.2.3', match.ipSaddr('10.1.2.3')),
  inet('ip saddr 10.1.2.0/23', match.ipSaddr('10.1.2.0/23')),
  inet('ip saddr != 10.1.2.0/23', match.ipSaddr('10.1.2.0/23', 'ne')),
  inet('ip saddr 10.0.0.0/9', match.ipSaddr('10.0.0.0/9')),
  inet('ip saddr 0.0.0.0/0', match.ipSaddr('0.0.0.0/0')),
  inet('ip saddr 10.1.2.3-10.1.2.9', match.ipSaddr(range('10.1.2.3', '10.1.2.9'))),
  inet('ip saddr != 10.1.2.3-10.1.2.9', match.ipSaddr(range('10.1.2.3', '10.1.2.9'), 'ne')),
  inet('ip saddr @addresses', match.ipSaddr(named('addresses'))),
  inet('ip saddr != @addresses', match.ipSaddr(named('addresses'), 'ne')),
  inet('ip saddr { 10.0.0.0/8, 192.168.0.1 }', match.ipSaddr(['192.168.0.1', '10.0.0.0/8'])),
  inet('ip saddr 10.1.2.3 ip daddr 10.1.2.4', match.ipSaddr('10.1.2.3'), match.ipDaddr('10.1.2.4')),
  inet('ip6 saddr fe80::1', match.ip6Saddr('fe80::1')),
  inet('ip6 saddr fe80::/10', match.ip6Saddr('fe80::/10')),
  inet('ip6 daddr != fe80::/64', match.ip6Daddr('fe80::/64', 'ne')),
  inet('ip6 daddr ::/0', match.ip6Daddr('::/0')),
  inet('ip6 saddr fe80::1 ip6 daddr fe80::2', match.ip6Saddr('fe80::1'), match.ip6Daddr('fe80::2')),
  ip('ip saddr 10.1.2.3 ip daddr != 10.1.2.4', match.ipSaddr('10.1.2.3'), match.ipDaddr('10.1.2.4', 'ne')),
  ip6('ip6 saddr fe80::1', match.ip6Saddr('fe80::1')),
  bridge('ip saddr 10.1.2.3', match.ipSaddr('10.1.2.3')),
  bridge('ip6 saddr fe80::1 tcp dport 80', match.ip6Saddr('fe80::1'), match.tcpDport(80)),

  // Interfaces.
  inet('iifname "eth0"', match.iifname('eth0')),
  inet('iifname "eth*"', match.iifname('eth*')),
  inet('iifname != "eth0"', match.iifname('eth0', 'ne')),
  inet('iifname { "a", "b" }', match.iifname(['a', 'b'])),
  inet('iifname "cni0" oifname != "cni0" drop', match.iifname('cni0'), match.oifname('cni0', 'ne'), drop()),
  inet('iif "lo"', match.iif(1)),
  inet('iifname vmap @verdicts', vmap([fields.iifname], 'verdicts')),
  inet(
    'ct state vmap { invalid : drop, established : accept, related : accept }',
    vmap(
      [fields.ctState],
      [
        { key: 'invalid', value: { verdict: 'drop' } },
        { key: 'established', value: { verdict: 'accept' } },
        { key: 'related', value: { verdict: 'accept' } },
      ],
    ),
  ),

  // Ethernet.
  bridge(`ether saddr != ${mac1} drop`, match.etherSaddr(mac1, 'ne'), drop()),
  bridge(`ether daddr ${mac2} ether saddr ${mac1}`, match.etherDaddr(mac2), match.etherSaddr(mac1)),
  bridge(`ether saddr ${mac1} ip saddr 10.1.2.3`, match.etherSaddr(mac1), match.ipSaddr('10.1.2.3')),
  bridge('ether type arp', match.etherType('arp')),
  bridge('arp operation request', match.arpOperation('request')),
  bridge('arp saddr ip 10.1.2.3', match.arpSaddrIp('10.1.2.3')),
  bridge(`arp saddr ether ${mac1}`, match.arpSaddrEther(mac1)),
  inet(`ether saddr ${mac1}`, match.etherSaddr(mac1)),
  inet(`ether saddr ${mac1} ip saddr 10.1.2.3`, match.etherSaddr(mac1), match.ipSaddr('10.1.2.3')),

  // Transport protocols.
  inet('tcp dport 80', match.tcpDport(80)),
  inet('tcp dport != 80', match.tcpDport(80, 'ne')),
  inet('tcp dport 80-90', match.tcpDport(range(80, 90))),
  inet('tcp dport != 80-90', match.tcpDport(range(80, 90), 'ne')),
  inet('tcp dport { 80, 443 }', match.tcpDport([80, 443])),
  inet('tcp dport @ports', match.tcpDport(named('ports'))),
  inet('tcp sport 1 tcp dport 2', match.tcpSport(1), match.tcpDport(2)),
  inet('udp dport 53', match.udpDport(53)),
  inet('tcp dport { 80, 1024-2048 }', match.tcpDport([80, range(1024, 2048)])),
  inet('sctp dport 9', match.sctpDport(9)),
  inet('th dport 53', match.thDport(53)),
  inet('meta l4proto tcp', match.l4proto('tcp')),
  inet('meta l4proto { tcp, udp }', match.l4proto(['tcp', 'udp'])),
  inet('ip saddr 10.1.2.3 tcp dport 80', match.ipSaddr('10.1.2.3'), match.tcpDport(80)),
  inet('tcp dport 80 ip saddr 10.1.2.3', match.tcpDport(80), match.ipSaddr('10.1.2.3')),
  inet('ip protocol tcp', match.ipProtocol('tcp')),
  inet('ip protocol tcp tcp dport 80', match.ipProtocol('tcp'), match.tcpDport(80)),
  inet('ip saddr . tcp dport @pairs', match.concat([fields.ipSaddr, fields.tcpDport], 'pairs')),
  inet('icmp type echo-request', match.icmpType('echo-request')),
  inet('icmpv6 type nd-neighbor-solicit', match.icmpv6Type('nd-neighbor-solicit')),
  ip('icmp type echo-request', match.icmpType('echo-request')),
  bridge('icmp type echo-request', match.icmpType('echo-request')),

  // Connection tracking and marks.
  inet('ct state established,related accept', match.ctState(['established', 'related']), accept()),
  inet('ct state invalid drop', match.ctState(['invalid']), drop()),
  inet('ct state != established accept', match.ctState(['established'], 'ne'), accept()),
  inet('ct status dnat', match.ctStatus(['dnat'])),
  inet('ct direction original', match.ctDirection('original')),
  inet('ct mark 0x00000001', match.ctMark(1)),
  inet('meta mark 0x00000001', match.mark(1)),
  inet('meta mark & 0x00002000 == 0x00002000', match.markBits(0x2000, 0x2000)),
  inet('meta mark set 0x00000001', setMetaMark(1)),
  inet('meta mark set meta mark | 0x00002000', setMetaMark({ or: 0x2000 })),
  inet('meta mark set meta mark & 0xffffdfff', setMetaMark({ and: 0xffffdfff })),
  inet('meta mark set ct mark', setMetaMark('ct mark')),
  inet('ct mark set meta mark', setCtMark('meta mark')),
  inet('ct mark set 0x00000001', setCtMark(1)),
  of('inet', 'raw')('notrack', notrack()),

  // Address translation.
  ipSrc('masquerade', masquerade()),
  ipSrc('masquerade random,persistent', masquerade({ random: true, persistent: true })),
  ipSrc('masquerade fully-random', masquerade({ fullyRandom: true })),
  ipSrc(
    'meta l4proto tcp masquerade to :1024-65535',
    match.l4proto('tcp'),
    masquerade({ ports: { from: 1024, to: 65535 } }),
  ),
  ipSrc('meta mark & 0x00002000 == 0x00002000 masquerade', match.markBits(0x2000, 0x2000), masquerade()),
  ipSrc(
    'ip saddr 10.0.0.2 ip daddr 10.0.0.2 masquerade',
    match.ipSaddr('10.0.0.2'),
    match.ipDaddr('10.0.0.2'),
    masquerade(),
  ),
  ipSrc('snat to 1.2.3.4', snat({ address: '1.2.3.4' })),
  ipSrc(
    'snat to 1.2.3.4-1.2.3.9 persistent',
    snat({ address: { from: '1.2.3.4', to: '1.2.3.9' }, persistent: true }),
  ),
  ipDst('tcp dport 8080 dnat to 10.0.0.2:80', match.tcpDport(8080), dnat({ address: '10.0.0.2', ports: 80 })),
  ipDst(
    'ip daddr 1.2.3.4 udp dport 8080 dnat to 10.0.0.2:80',
    match.ipDaddr('1.2.3.4'),
    match.udpDport(8080),
    dnat({ address: '10.0.0.2', ports: 80 }),
  ),
  ip6Dst(
    'tcp dport 8080 dnat to [fd00::1]:80',
    match.tcpDport(8080),
    dnat({ address: 'fd00::1', ports: 80 }),
  ),
  ipDst('fib daddr type local jump other', match.fibDaddrType('local'), jump('other')),
  inetDst('dnat ip to 10.0.0.2', dnat({ address: '10.0.0.2' })),
  inetDst('dnat ip6 to fd00::1', dnat({ address: 'fd00::1' })),
  inetDst('tcp dport 80 dnat to :81', match.tcpDport(80), dnat({ ports: 81 })),
  inetDst('tcp dport 80 redirect to :8080', match.tcpDport(80), redirect({ ports: 8080 })),
  ipDst('dnat to tcp dport map @hosts', dnatMap({ keys: [fields.tcpDport], map: 'hosts', family: 'ip' })),
  ipDst(
    'dnat ip to ip daddr . meta l4proto . th dport map @places',
    dnatMap({
      keys: [fields.ipDaddr, fields.l4proto, fields.thDport],
      map: 'places',
      family: 'ip',
      ports: true,
    }),
  ),
  ip6Dst(
    'dnat ip6 to meta l4proto . th dport map @places6',
    dnatMap({ keys: [fields.l4proto, fields.thDport], map: 'places6', family: 'ip6', ports: true }),
  ),
  ipSrc(
    'ip saddr & 255.255.0.0 . ip daddr @networks masquerade',
    match.concat([masked(fields.ipSaddr, 16), fields.ipDaddr], 'networks'),
    masquerade(),
  ),
  ip6Src(
    'ip6 saddr & ffff:ffff:ffff:fe00:: . ip6 daddr @networks6',
    match.concat([masked(fields.ip6Saddr, 55), fields.ip6Daddr], 'networks6'),
  ),
  inet('fib saddr . iif oif missing', match.fibReversePath('missing')),
  inet('fib daddr type != local', match.field(fib(['daddr'], 'type'), 'local', 'ne')),

  // The rest.
  inet('accept', accept()),
  inet('drop', drop()),
  inet('return', returns()),
  inet('continue', continues()),
  inet('jump other', jump('other')),
  inet('counter packets 3 bytes 4', counter({ packets: 3n, bytes: 4n })),
  inet('limit rate 10/second', limit({ rate: 10, per: 'second' })),
  inet('limit rate over 10/minute burst 7 packets', limit({ rate: 10, per: 'minute', burst: 7, over: true })),
  inet('log prefix "hello "', log({ prefix: 'hello ' })),
  inet('log prefix "hello " level err', log({ prefix: 'hello ', level: 'err' })),
  inet('log prefix "x" group 2', log({ prefix: 'x', group: 2 })),
  inet('reject', reject()),
  inet('reject with icmpx admin-prohibited', reject('admin-prohibited')),
  inet('meta l4proto tcp reject with tcp reset', reject('tcp-reset')),
  ip('reject', reject()),
  ip('reject with icmp host-unreachable', reject('host-unreachable')),
  ip6('reject with icmpv6 admin-prohibited', reject('admin-prohibited')),
]

/** The same for what only some kernels have: modules nft_meta_bridge and nft_reject_bridge. */
export const bridgeLines: readonly Line[] = [
  bridge('meta ibrname "cni0" accept', match.ibrname('cni0'), accept()),
  bridge('meta obrname != "cni0" drop', match.obrname('cni0', 'ne'), drop()),
  bridge('reject', reject()),
  bridge('reject with icmpx admin-prohibited', reject('admin-prohibited')),
  bridge('tcp dport 80 reject with tcp reset', match.tcpDport(80), reject('tcp-reset')),
]
