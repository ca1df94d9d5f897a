/** The networks that containers are attached to. */
import type { JsonObject } from '../../../cni/types.ts'

/** A network's list, as the operator writes it. */
export interface Network {
  readonly name: string
  readonly plugins: readonly (JsonObject & { readonly type: string })[]
}

/** Interface of the host that macvlan is made on. */
export const MASTER = 'up0'
/** The other end of its wire. */
export const FAR = 'far0'

/**
 * As many addresses as attachments at the same time and one more: one that is not given back is missed before long.
 * @param attachments how many there are at most
 */
const pool = (net: number, attachments: number, dual = false): JsonObject => {
  const last = 2 + attachments
  const ranges = [
    [{ subnet: `10.200.${net}.0/26`, rangeStart: `10.200.${net}.2`, rangeEnd: `10.200.${net}.${last}` }],
  ]
  const prefix = `fd00:200:${net}`
  if (dual)
    ranges.push([
      { subnet: `${prefix}::/120`, rangeStart: `${prefix}::2`, rangeEnd: `${prefix}::${last.toString(16)}` },
    ])
  // Not the default route: a container may have two interfaces.
  return { type: 'host-local', ranges, routes: [{ dst: `10.210.${net}.0/24` }] }
}

export const networksFor = (attachments: number): Network[] => [
  {
    name: 'nat',
    plugins: [{ type: 'bridge', bridge: 'nat0', isGateway: true, ipMasq: true, ipam: pool(1, attachments) }],
  },
  { name: 'pairs', plugins: [{ type: 'ptp', ipMasq: true, ipam: pool(2, attachments) }] },
  { name: 'side', plugins: [{ type: 'macvlan', master: MASTER, ipam: pool(3, attachments) }] },
  {
    name: 'chain',
    plugins: [
      {
        ...{ type: 'bridge', bridge: 'chain0', isGateway: true, ipMasq: true, hairpinMode: true },
        ipam: pool(4, attachments),
      },
      { type: 'portmap', capabilities: { portMappings: true } },
      { type: 'firewall', ingressPolicy: 'same-bridge' },
      { type: 'tuning', mtu: 1400, sysctl: { 'net.core.somaxconn': '500' } },
    ],
  },
  {
    name: 'dual',
    plugins: [
      {
        ...{ type: 'bridge', bridge: 'dual0', isGateway: true, ipMasq: true, macspoofchk: true },
        ipam: pool(5, attachments, true),
      },
    ],
  },
  {
    name: 'programs',
    plugins: [
      { type: 'ptp', ipMasq: true, ipMasqBackend: 'iptables', ipam: pool(6, attachments, true) },
      { type: 'portmap', backend: 'iptables', capabilities: { portMappings: true } },
      { type: 'firewall', backend: 'iptables' },
      ...[{ type: 'bandwidth', ingressRate: 1e8, ingressBurst: 1e7, egressRate: 1e8, egressBurst: 1e7 }],
      { type: 'sbr' },
    ],
  },
  { name: 'switch', plugins: [{ type: 'bridge', bridge: 'switch0' }] },
  { name: 'taps', plugins: [{ type: 'tap', ipam: pool(7, attachments) }] },
]

/** The list's text. */
export const textOf = ({ name, plugins }: Network): string =>
  JSON.stringify({ cniVersion: '1.1.0', name, plugins })
