/** A chain of everything that can be one: what the tests of its faults have in common. */
import type { JsonObject } from '../../../cni/types.ts'

export const portMappings = [
  { hostPort: 8080, containerPort: 80, protocol: 'tcp' },
  { hostPort: 8053, containerPort: 53, protocol: 'udp' },
]

const plugins: readonly JsonObject[] = [
  {
    type: 'bridge',
    bridge: 'cni0',
    isGateway: true,
    ipMasq: true,
    ipam: {
      type: 'host-local',
      ranges: [[{ subnet: '10.22.0.0/16' }], [{ subnet: 'fd00:22::/64' }]],
      routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
    },
  },
  { type: 'tuning', mtu: 1400, sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1' } },
  {
    type: 'bandwidth',
    ingressRate: 10_000_000,
    ingressBurst: 1_000_000,
    egressRate: 10_000_000,
    egressBurst: 1_000_000,
  },
  { type: 'portmap', capabilities: { portMappings: true }, snat: true },
  { type: 'firewall', ingressPolicy: 'same-bridge' },
  { type: 'sbr' },
]

/** @param last is put at the end */
export const listOf = (...last: readonly JsonObject[]): string =>
  JSON.stringify({ cniVersion: '1.0.0', name: 'net', plugins: [...plugins, ...last] })

/** Shows on a host what belongs to an attachment. What all of them share and leave does not count. */
export const hostScript = [
  'ip -o link | sed "s/^[0-9]*: //; s/ group .*//"',
  'ip -o addr show scope global',
  'ip -4 route show table all; ip -6 route show table all | grep -v " fe80::\\|^multicast\\|^ff00::"',
  'tc qdisc | grep -v noqueue',
  'find /var/lib/cni /run -type f ! -path "/run/netns/*" ! -path "/run/mount/*" ! -path /run/trace ! -name lock ! -name "last_*" -printf "%p\\n" 2>/dev/null',
  'nft list ruleset | grep -E "10\\.22\\.|fd00:22|veth|CNI-[0-9a-f]|CNI-DN|8080|8053|iifname|oifname"',
  ':',
].join('\n')

export const containerScript =
  'ip -o link | sed "s/^[0-9]*: //"; ip -o addr; ip -4 route show table all; ip -4 rule; ip -6 rule'
