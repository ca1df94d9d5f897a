/** Configurations of the bridge plugin: every key, and what keys do together. */
import { allVersions, type JsonObject } from '../../../cni/types.ts'
import type { PrivateHost } from '../../support/space.ts'
import type { Refused } from './refusal.ts'
import type { Attachment, Scenario } from './sides.ts'

const v4 = { type: 'host-local', subnet: '10.22.0.0/16', routes: [{ dst: '0.0.0.0/0' }] }
const v6 = { type: 'host-local', subnet: 'fd00:22::/64', routes: [{ dst: '::/0' }] }
const dual = {
  type: 'host-local',
  ranges: [[{ subnet: '10.22.0.0/16' }], [{ subnet: 'fd00:22::/64' }]],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
}
const fixed = (addresses: readonly JsonObject[], more: JsonObject = {}): JsonObject => ({
  type: 'static',
  addresses,
  ...more,
})
const one = [{ address: '10.9.0.5/24', gateway: '10.9.0.1' }]

/** The Go plugin of 2022 knows no other backend, and no key to choose it by. */
const byIptables = { ipMasq: true, ipMasqBackend: 'iptables' }

const scenario = (
  title: string,
  conf: JsonObject,
  more: Omit<Scenario, 'title' | 'conf'> = {},
): Scenario => ({
  title,
  conf,
  ...more,
})

const twoContainers: readonly Attachment[] = [{ container: 'blue' }, { container: 'red' }]
const twoInterfaces: readonly Attachment[] = [{ container: 'blue' }, { container: 'blue', ifName: 'net1' }]

const layer2: Scenario[] = [
  scenario('nothing but a type', {}),
  scenario('a name of its own', { bridge: 'br-lan' }),
  scenario('the longest name', { bridge: 'fifteen-letters' }),
  scenario('an empty ipam', { ipam: {} }),
  scenario('an ipam of null', { ipam: null }),
  scenario('keys of any case', { BRIDGE: 'br1', MTU: 1400, HairpinMode: true }),
  scenario('keys that nobody knows', { bridge: 'br1', colour: 'blue', labels: { a: ['b'] } }),
  scenario('mtu', { mtu: 1400 }),
  scenario('a large mtu', { mtu: 9000 }),
  scenario('an mtu of 0', { mtu: 0 }),
  scenario('hairpinMode', { hairpinMode: true }),
  scenario('promiscMode', { promiscMode: true }),
  scenario('macspoofchk', { macspoofchk: true }),
  scenario('everything of layer 2', { mtu: 1300, hairpinMode: true, macspoofchk: true }),
  scenario('gateway keys without IPAM', {
    isGateway: true,
    isDefaultGateway: true,
    ipMasq: true,
    forceAddress: true,
  }),
  scenario('two containers', {}, { attachments: twoContainers }),
  scenario('two interfaces', { macspoofchk: true }, { attachments: twoInterfaces }),
  scenario('dns', { dns: { nameservers: ['1.1.1.1'], domain: 'a.org', search: ['b'], options: ['c'] } }),
]

const macs: Scenario[] = [
  scenario('MAC of CNI_ARGS', {}, { attachments: [{ container: 'blue', args: 'MAC=02:11:22:33:44:55' }] }),
  scenario(
    'MAC of CNI_ARGS, other keys ignored',
    {},
    { attachments: [{ container: 'blue', args: 'IgnoreUnknown=true;K8S_POD_NAME=x;MAC=02-11-22-33-44-55' }] },
  ),
  scenario('MAC of runtimeConfig', {
    capabilities: { mac: true },
    runtimeConfig: { mac: '02:11:22:33:44:66' },
  }),
  scenario('MAC of args', { args: { cni: { mac: '0211.2233.4477' } } }),
  scenario(
    'MAC of all three',
    {
      runtimeConfig: { mac: '02:11:22:33:44:66' },
      args: { cni: { mac: '02:11:22:33:44:77' } },
      macspoofchk: true,
    },
    { attachments: [{ container: 'blue', args: 'MAC=02:11:22:33:44:55' }] },
  ),
].map((own) => ({ ...own, keepContainerMac: true }))

const routed: Scenario[] = [
  ...(['isGateway', 'isDefaultGateway'] as const).flatMap((key) => [
    scenario(`${key}, IPv4`, { [key]: true, ipam: { ...v4, routes: [] } }),
    scenario(`${key}, IPv6`, { [key]: true, ipam: { ...v6, routes: [] } }),
    scenario(`${key}, both families`, { [key]: true, ipam: { ...dual, routes: [] } }),
    scenario(`${key}, static without a gateway`, { [key]: true, ipam: fixed([{ address: '10.9.0.5/24' }]) }),
    scenario(`${key}, static IPv6 without a gateway`, {
      [key]: true,
      ipam: fixed([{ address: 'fd00:9::5/64' }]),
    }),
    scenario(`${key}, another gateway`, {
      [key]: true,
      ipam: fixed([{ address: '10.9.0.5/24', gateway: '10.9.0.200' }]),
    }),
  ]),
  scenario('no gateway', { ipam: v4 }),
  scenario('no gateway, none known', { ipam: fixed([{ address: '10.9.0.5/24' }]) }),
  scenario('the classic one', { isGateway: true, ...byIptables, ipam: v4 }),
  scenario('the classic one of IPv6', { isGateway: true, ...byIptables, ipam: v6 }),
  scenario('the classic one of both', { isGateway: true, ...byIptables, ipam: dual }),
  scenario(
    'the classic one, two containers',
    { isGateway: true, ...byIptables, ipam: v4 },
    { attachments: twoContainers },
  ),
  scenario(
    'the classic one with everything',
    { isGateway: true, ...byIptables, ipam: dual, mtu: 1400, hairpinMode: true, macspoofchk: true },
    { attachments: twoContainers, thorough: true },
  ),
  scenario(
    'two interfaces of a container',
    { isGateway: true, ipam: v4 },
    { attachments: twoInterfaces, thorough: true },
  ),
  scenario('isDefaultGateway and isGateway', {
    isDefaultGateway: true,
    isGateway: true,
    ipam: { ...v4, routes: [] },
  }),
  scenario('isDefaultGateway, a default route by another gateway', {
    isDefaultGateway: true,
    ipam: fixed(one, { routes: [{ dst: '0.0.0.0/0', gw: '10.9.0.77' }] }),
  }),
  scenario('isDefaultGateway, a default route of the other family', {
    isDefaultGateway: true,
    ipam: fixed([...one, { address: 'fd00:9::5/64' }], { routes: [{ dst: '::/0', gw: 'fd00:9::77' }] }),
  }),
  scenario('isDefaultGateway, a default route by the same gateway', {
    isDefaultGateway: true,
    ipam: fixed([{ address: '10.9.0.5/24' }], { routes: [{ dst: '0.0.0.0/0' }] }),
  }),
  scenario('two gateways of IPv4', {
    isGateway: true,
    ipam: fixed([...one, { address: '172.20.0.5/16', gateway: '172.20.0.1' }]),
  }),
  scenario('masquerade without a gateway', { ...byIptables, ipam: v4 }),
  scenario('masquerade of two addresses', {
    ...byIptables,
    isGateway: false,
    ipam: fixed([...one, { address: 'fd00:9::5/64' }]),
  }),
  scenario('a small subnet', { isGateway: true, ipam: { type: 'host-local', subnet: '10.7.7.0/30' } }),
  scenario('/31', { ipam: fixed([{ address: '10.9.0.4/31' }]) }),
  scenario('/32', { ipam: fixed([{ address: '10.9.0.4/32' }]) }),
  scenario('/128', { ipam: fixed([{ address: 'fd00:9::5/128' }]) }),
  scenario('/0', { ipam: fixed([{ address: '10.9.0.4/8' }]) }),
  scenario('routes', {
    ipam: fixed(one, {
      routes: [
        { dst: '172.16.0.0/12' },
        { dst: '192.168.5.7/16', gw: '10.9.0.7' },
        { dst: '198.51.100.0/24', gw: '10.9.0.8' },
        { dst: '198.51.100.0/24', gw: '10.9.0.9' },
      ],
    }),
  }),
  scenario('routes of IPv6', {
    ipam: fixed([{ address: 'fd00:9::5/64', gateway: 'fd00:9::1' }], {
      routes: [
        { dst: 'fd00:a::/48' },
        { dst: 'fd00:b::7/48', gw: 'fd00:9::8' },
        { dst: 'fd00:c::/48', gw: 'fd00:9::8' },
        { dst: 'fd00:c::/48', gw: 'fd00:9::9' },
      ],
    }),
  }),
  scenario('routes on the link', {
    ipam: fixed([{ address: '10.9.0.5/24' }], { routes: [{ dst: '10.50.0.0/16' }] }),
  }),
  scenario('several addresses of IPv4', {
    ipam: fixed([...one, { address: '10.9.0.6/24' }, { address: '172.20.0.5/16', gateway: '172.20.0.1' }], {
      routes: [{ dst: '0.0.0.0/0' }],
    }),
  }),
  scenario('several addresses of IPv6', {
    isGateway: true,
    ipam: fixed([{ address: 'fd00:9::5/64' }, { address: 'fd00:a::5/64' }]),
  }),
  scenario("dns of the network's", {
    dns: { domain: 'a.org' },
    ipam: fixed(one, { dns: { nameservers: ['9.9.9.9'], search: ['x'] } }),
  }),
  scenario('dns that names nothing', {
    dns: { nameservers: [] },
    ipam: fixed(one, { dns: { nameservers: ['9.9.9.9'] } }),
  }),
  scenario('addresses of runtimeConfig', {
    isGateway: true,
    capabilities: { ips: true },
    runtimeConfig: { ips: ['10.22.0.77/16'] },
    ipam: v4,
  }),
  scenario(
    'addresses of CNI_ARGS',
    { ipam: v4 },
    {
      attachments: [{ container: 'blue', args: 'IgnoreUnknown=1;IP=10.22.0.99' }],
    },
  ),
]

const address =
  (cidr: string) =>
  async (host: PrivateHost): Promise<void> => {
    await host.ip('link', 'add', 'cni0', 'address', '02:00:00:00:00:01', 'up', 'type', 'bridge')
    await host.ip('address', 'add', cidr, 'dev', 'cni0')
  }
const leftOver: Scenario[] = [
  scenario(
    'a bridge that is there',
    { isGateway: true, ipam: v4 },
    { prepare: (host) => host.ip('link', 'add', 'cni0', 'address', '02:00:00:00:00:01', 'type', 'bridge') },
  ),
  scenario('a bridge with its address', { isGateway: true, ipam: v4 }, { prepare: address('10.22.0.1/16') }),
  scenario(
    'forceAddress',
    { isGateway: true, forceAddress: true, ipam: v4 },
    { prepare: address('10.33.0.1/16') },
  ),
  scenario(
    'forceAddress, IPv6',
    { isGateway: true, forceAddress: true, ipam: v6 },
    { prepare: address('fd00:22::ff/48') },
  ),
  scenario(
    'an address of IPv6 that does not overlap',
    { isGateway: true, ipam: v6 },
    { prepare: address('fd00:33::1/64') },
  ),
  scenario(
    'an address of the other family',
    { isGateway: true, ipam: v4 },
    { prepare: address('fd00:33::1/64') },
  ),
]

/** A few that differ most, in every version. */
const versions = allVersions.flatMap((cniVersion) => [
  scenario(`${cniVersion}: the classic one`, {
    cniVersion,
    isGateway: true,
    ipam: { ...v4, resolvConf: '/etc/hosts' },
  }),
  scenario(`${cniVersion}: both families`, {
    cniVersion,
    isDefaultGateway: true,
    dns: { nameservers: ['1.1.1.1'] },
    ipam: fixed([...one, { address: 'fd00:9::5/64' }], {
      routes: [{ dst: '10.1.0.0/16' }, { dst: 'fd00:1::/48' }],
    }),
  }),
  ...(cniVersion < '0.3.0' ? [] : [scenario(`${cniVersion}: layer 2`, { cniVersion })]),
])

/** What came after 2022. */
const newer: Scenario[] = [
  scenario("dns of IPAM's", { ipam: fixed(one, { dns: { nameservers: ['9.9.9.9'], search: ['x'] } }) }),
  scenario("dns of IPAM's, an empty one of the network's", {
    dns: {},
    ipam: fixed(one, { dns: { nameservers: ['9.9.9.9'] } }),
  }),
  scenario('portIsolation', { portIsolation: true }, { attachments: twoContainers }),
  // The other one gives the bridge a carrier: without, what IPv6 has done until then is by chance.
  scenario(
    'disableContainerInterface',
    { disableContainerInterface: true },
    {
      attachments: [{ container: 'red', conf: { disableContainerInterface: false } }, { container: 'blue' }],
    },
  ),
  scenario(
    'masquerade by nftables',
    { isGateway: true, ipMasq: true, ipMasqBackend: 'nftables', ipam: dual },
    { attachments: twoContainers },
  ),
  scenario('masquerade by iptables', { isGateway: true, ...byIptables, ipam: dual }),
  scenario('routes with attributes', {
    ipam: fixed(one, {
      routes: [
        { dst: '172.16.0.0/12', priority: 50 },
        { dst: '192.168.0.0/16', table: 700 },
      ],
    }),
  }),
].map((own) => ({ ...own, newer: true }))

export const scenarios: readonly Scenario[] = [
  ...layer2,
  ...macs,
  ...routed,
  ...leftOver,
  ...versions,
  ...newer,
]

const key = (name: string, expected: string): RegExp =>
  new RegExp(`^failed to load netconf: bridge\\.${name}: expected ${expected}`)
const args = (text: string): Pick<Scenario, 'attachments'> => ({
  attachments: [{ container: 'blue', args: text }],
})

export const refused: readonly Refused[] = [
  { title: 'hairpinMode and promiscMode', conf: { hairpinMode: true, promiscMode: true } },
  { title: 'vlan too large', conf: { vlan: 4095 } },
  { title: 'vlan below 0', conf: { vlan: -1 } },
  { title: 'an MTU that can not be', conf: { mtu: 70000 }, ours: /^add link cni0 \(bridge\): EINVAL/ },
  { title: 'an MTU that is too small', conf: { mtu: 20 }, ours: /^add link cni0 \(bridge\): EINVAL/ },
  { title: 'an MTU of text', conf: { mtu: '1500' }, ours: key('mtu', 'integer.*, got string "1500"') },
  {
    title: 'an MTU with a fraction',
    conf: { mtu: 1400.5 },
    ours: key('mtu', 'integer.*, got number 1400.5'),
  },
  {
    title: 'a flag of text',
    conf: { isGateway: 'true' },
    ours: key('isGateway', 'boolean, got string "true"'),
  },
  { title: 'a bridge of no name', conf: { bridge: '' }, ours: key('bridge', 'interface name') },
  { title: 'a bridge of a number', conf: { bridge: 7 }, ours: key('bridge', 'string, got number 7') },
  {
    title: 'a bridge with a long name',
    conf: { bridge: 'sixteen-letters-' },
    ours: key('bridge', 'interface name'),
  },
  { title: 'a bridge with a slash', conf: { bridge: 'a/b' }, ours: key('bridge', 'interface name') },
  {
    title: 'a MAC that is none',
    conf: {},
    ...args('MAC=nonsense'),
    ours: /^invalid MAC address "nonsense"$/,
  },
  {
    title: 'a MAC of a group',
    conf: {},
    ...args('MAC=01:00:5e:00:00:01'),
    ours: /^invalid MAC address "01:00:5e:00:00:01"$/,
  },
  { title: 'CNI_ARGS with half a pair', conf: {}, ...args('MAC') },
  { title: 'CNI_ARGS with a strange key', conf: {}, ...args('X=1') },
  { title: 'CNI_ARGS with a strange IgnoreUnknown', conf: {}, ...args('IgnoreUnknown=x') },
  { title: 'IPAM that is not there', conf: { ipam: { type: 'nowhere' } }, delFails: true },
  { title: 'IPAM with a slash', conf: { ipam: { type: '../bridge' } }, delFails: true },
  {
    title: 'IPAM that is wrong',
    conf: { ipam: { type: 'host-local', subnet: '10.1.0.0/33' } },
    ours: /^failed to load netconf: host-local\.ipam\.subnet: expected .*, got string "10\.1\.0\.0\/33"/,
  },
  { title: 'IPAM without addresses', conf: { ipam: { type: 'static' } } },
  {
    title: 'IPAM that is full',
    conf: { ipam: { type: 'host-local', subnet: '10.1.0.0/30' } },
    attachments: [{ container: 'blue' }, { container: 'red' }],
  },
  {
    title: 'an address twice',
    conf: { ipam: fixed([...one, ...one]) },
    ours: /^add address 10\.9\.0\.5\/24 of link \d+: EEXIST/,
  },
  {
    title: 'a gateway that is not reached',
    conf: {
      ipam: fixed([{ address: '10.9.0.5/32', gateway: '10.8.0.1' }], { routes: [{ dst: '0.0.0.0/0' }] }),
    },
    ours: /^create route 0\.0\.0\.0\/0 via 10\.8\.0\.1 dev \d+: ENETUNREACH/,
  },
  { title: 'an address in the way', conf: { isGateway: true, ipam: v4 }, prepare: address('10.33.0.1/16') },
  {
    title: 'an address of IPv6 in the way',
    conf: { isGateway: true, ipam: v6 },
    prepare: address('fd00:22::ff/48'),
  },
  {
    title: 'something else of the name',
    conf: {},
    prepare: (host) => host.ip('link', 'add', 'cni0', 'type', 'veth', 'peer', 'name', 'x'),
  },
  { title: 'layer 2 in 0.2.0', conf: { cniVersion: '0.2.0' } },
  {
    title: 'several addresses in 0.2.0',
    conf: {
      cniVersion: '0.2.0',
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: '10.2.0.0/24' }]] },
    },
  },
  { title: 'a version that nobody knows', conf: { cniVersion: '9.9.9' }, delFails: true },
  { title: 'no name', conf: { name: '' }, delFails: true },
  { title: 'a name with a slash', conf: { name: '../net' }, delFails: true },
  {
    title: 'the same interface twice',
    conf: { ipam: v4 },
    attachments: [{ container: 'blue' }, { container: 'blue', conf: { name: 'other' } }],
    // Go's of 2022 say the same without the peer.
    ours: /^container veth name \("eth0"\) peer provided \("veth[0-9a-f]{8}"\) already exists$/,
  },
]
