/** Configurations of the ptp plugin: every key, and the addresses it meets. */
import { allVersions, type JsonObject } from '../../../cni/types.ts'
import type { Refused } from '../bridge/refusal.ts'
import type { Scenario } from '../bridge/sides.ts'

const v4 = { type: 'host-local', subnet: '10.22.0.0/16', routes: [{ dst: '0.0.0.0/0' }] }
const v6 = { type: 'host-local', subnet: 'fd00:22::/64', routes: [{ dst: '::/0' }] }
const dual = {
  type: 'host-local',
  ranges: [[{ subnet: '10.22.0.0/16' }], [{ subnet: 'fd00:22::/64' }]],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
}
const one = { address: '10.9.0.5/24', gateway: '10.9.0.1' }
const one6 = { address: 'fd00:9::5/64', gateway: 'fd00:9::1' }
const fixed = (addresses: readonly JsonObject[], more: JsonObject = {}): JsonObject => ({
  type: 'static',
  addresses,
  ...more,
})
/** The Go plugin of 2022 knows no other backend, and no key to choose it by. */
const byIptables = { ipMasq: true, ipMasqBackend: 'iptables' }

const scenario = (
  title: string,
  conf: JsonObject,
  more: Omit<Scenario, 'title' | 'conf'> = {},
): Scenario => ({ title, conf: { type: 'ptp', ...conf }, ...more })

const two: Pick<Scenario, 'attachments'> = { attachments: [{ container: 'blue' }, { container: 'red' }] }

const general: readonly Scenario[] = [
  scenario('IPv4', { ipam: v4 }),
  scenario('IPv6', { ipam: v6 }),
  scenario('both families', { ipam: dual }, { thorough: true }),
  scenario('two containers', { ipam: dual }, two),
  scenario(
    'two interfaces of a container',
    { ipam: fixed([one]) },
    {
      attachments: [
        { container: 'blue' },
        {
          container: 'blue',
          ifName: 'net1',
          conf: { name: 'other', ipam: fixed([{ address: '10.8.0.5/24', gateway: '10.8.0.1' }]) },
        },
      ],
    },
  ),
  scenario('mtu', { mtu: 1400, ipam: v4 }),
  scenario('a large mtu', { mtu: 9000, ipam: v4 }),
  scenario('keys of any case', { MTU: 1400, IpMasq: false, ipam: v4 }),
  scenario('a prevResult that is not its business', {
    prevResult: { cniVersion: '1.0.0', ips: [{ address: '10.1.0.5/16' }] },
    ipam: v4,
  }),
  scenario(
    'CNI_ARGS for IPAM alone',
    { ipam: v4 },
    { attachments: [{ container: 'blue', args: 'IP=10.22.0.99' }] },
  ),
  scenario("dns of the network's", {
    dns: { domain: 'a.org' },
    ipam: fixed([one], { dns: { nameservers: ['9.9.9.9'] } }),
  }),
  scenario(
    "dns of IPAM's",
    { ipam: fixed([one], { dns: { nameservers: ['9.9.9.9'], search: ['x'] } }) },
    { newer: true },
  ),
]

const addresses: readonly Scenario[] = [
  scenario('several subnets of both families', {
    ipam: fixed(
      [
        one,
        { address: '172.20.0.5/16', gateway: '172.20.0.1' },
        one6,
        { address: 'fd00:a::5/64', gateway: 'fd00:a::1' },
      ],
      { routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }] },
    ),
  }),
  scenario('two addresses of a subnet with gateways of their own', {
    ipam: fixed([one, { address: '10.9.0.6/24', gateway: '10.9.0.2' }]),
  }),
  scenario('a route over another address of the subnet', {
    ipam: fixed([one, one6], {
      routes: [
        { dst: '192.168.0.0/16', gw: '10.9.0.77' },
        { dst: 'fd00:77::/48', gw: 'fd00:9::77' },
      ],
    }),
  }),
  scenario('/31', { ipam: fixed([{ address: '10.9.0.4/31', gateway: '10.9.0.5' }]) }),
  scenario('/128', { ipam: fixed([{ address: 'fd00:9::5/128', gateway: 'fd00:9::1' }]) }),
  scenario('a link-local gateway of IPv6', {
    ipam: fixed([{ address: 'fd00:9::5/64', gateway: 'fe80::1' }], { routes: [{ dst: '::/0' }] }),
  }),
  scenario('a gateway elsewhere', { ipam: fixed([{ address: '10.9.0.5/24', gateway: '10.8.0.1' }]) }),
]

const masqueraded: readonly Scenario[] = [
  scenario(
    'masquerade, both families, two containers',
    { ...byIptables, ipam: dual },
    { ...two, thorough: true },
  ),
  scenario('masquerade of IPv4', { ...byIptables, ipam: v4 }),
  scenario(
    'masquerade by nftables',
    { ipMasq: true, ipMasqBackend: 'nftables', ipam: dual },
    { ...two, newer: true },
  ),
]

const versions = allVersions.map((cniVersion) => scenario(`${cniVersion}`, { cniVersion, ipam: dual }))

export const scenarios: readonly Scenario[] = [...general, ...addresses, ...masqueraded, ...versions]

export const refused: readonly Refused[] = [
  scenario('no IPAM', {}),
  scenario('IPAM without addresses', { ipam: { type: 'static' } }),
  {
    ...scenario('no gateway', { ipam: fixed([{ address: '10.9.0.5/24' }]) }),
    ours: /^IPAM assigned 10\.9\.0\.5\/24 without a gateway$/,
  },
  {
    ...scenario('an MTU of text', { mtu: '1500', ipam: v4 }),
    ours: /^failed to load netconf: ptp\.mtu: expected integer.*, got string "1500"/,
  },
  {
    ...scenario('an MTU that is too small', { mtu: 20, ipam: v4 }),
    ours: /^add link veth[0-9a-f]{8} \(veth\): EINVAL/,
  },
  {
    ...scenario('the same interface twice', { ipam: v4 }),
    attachments: [{ container: 'blue' }, { container: 'blue', conf: { name: 'other' } }],
    ours: /^container veth name \("eth0"\) peer provided \("veth[0-9a-f]{8}"\) already exists$/,
  },
  {
    ...scenario('a default route over a gateway that is not reached', {
      ipam: fixed([one], { routes: [{ dst: '0.0.0.0/0', gw: '10.7.0.1' }] }),
    }),
    ours: /^create route 0\.0\.0\.0\/0 via 10\.7\.0\.1 dev \d+: ENETUNREACH/,
  },
]
