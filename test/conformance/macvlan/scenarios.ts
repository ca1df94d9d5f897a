/** Configurations of the macvlan plugin: every key, and the addresses it meets. */
import { allVersions, type JsonObject } from '../../../cni/types.ts'
import type { Container, PrivateHost } from '../../support/space.ts'
import type { Refused } from '../bridge/refusal.ts'
import type { Scenario } from '../bridge/sides.ts'

/** What is in the container before. */
export interface MacvlanScenario extends Scenario {
  readonly inside?: (container: Container) => Promise<void>
}

/** An interface on a wire whose other end is on the same host. */
const wire = async (space: Container | PrivateHost, name: string, wireName: string): Promise<void> => {
  const peer = ['peer', 'name', wireName, 'address', '02:00:00:00:01:02']
  await space.ip('link', 'add', name, 'address', '02:00:00:00:01:01', 'type', 'veth', ...peer)
  await space.ip('link', 'set', wireName, 'up')
  await space.ip('link', 'set', name, 'up')
}
const prepare = (host: PrivateHost): Promise<void> => wire(host, 'eth1', 'wire1')

const one = { address: '10.9.0.5/24', gateway: '10.9.0.1' }
const one6 = { address: 'fd00:9::5/64', gateway: 'fd00:9::1' }
const fixed = (addresses: readonly JsonObject[], more: JsonObject = {}): JsonObject => ({
  type: 'static',
  addresses,
  routes: [{ dst: '0.0.0.0/0' }],
  ...more,
})
const both = fixed([one, one6], { routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }] })

const scenario = (
  title: string,
  conf: JsonObject,
  more: Omit<MacvlanScenario, 'title' | 'conf'> = {},
): MacvlanScenario => ({
  title,
  conf: { type: 'macvlan', master: 'eth1', ipam: fixed([one]), ...conf },
  prepare,
  ...more,
})
const mac = '02:00:00:00:00:05'
const keepMac = { keepContainerMac: true }

const keys: readonly MacvlanScenario[] = [
  ...['bridge', 'private', 'vepa', 'passthru', ''].map((mode) =>
    scenario(`mode ${mode || 'empty'}`, { mode }),
  ),
  scenario('no mode', {}, { thorough: true }),
  scenario(
    'two containers',
    { ipam: { type: 'host-local', subnet: '10.22.0.0/16' } },
    { attachments: [{ container: 'blue' }, { container: 'red' }] },
  ),
  scenario('mtu', { mtu: 1400 }),
  scenario('bcqueuelen', { bcqueuelen: 42 }, { newer: true }),
  scenario('mac', { mac }, keepMac),
  scenario(
    'MAC of CNI_ARGS',
    { mac: '02:00:00:00:00:06' },
    {
      ...keepMac,
      attachments: [{ container: 'blue', args: `IgnoreUnknown=1;MAC=${mac}` }],
    },
  ),
  scenario('MAC of runtimeConfig', { mac: '02:00:00:00:00:06', runtimeConfig: { mac } }, keepMac),
  scenario('IPv6', { ipam: fixed([one6], { routes: [{ dst: '::/0' }] }) }),
  scenario('both families', {
    ipam: {
      type: 'host-local',
      ranges: [[{ subnet: '10.22.0.0/16' }], [{ subnet: 'fd00:22::/64' }]],
      routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
    },
  }),
  scenario('layer 2', { ipam: {} }, { thorough: true }),
  scenario('dns', { dns: { domain: 'a.org' } }),
  scenario('keys of any case', { MTU: 1400, MODE: 'private' }),
  scenario(
    'no master: of the default route',
    { master: '' },
    {
      prepare: async (host) => {
        await prepare(host)
        await host.ip('address', 'add', '10.9.0.2/24', 'dev', 'eth1')
        await host.ip('route', 'add', 'default', 'via', '10.9.0.1')
      },
    },
  ),
  scenario(
    'a macvlan of a macvlan',
    { master: 'mv0' },
    {
      prepare: async (host) => {
        await prepare(host)
        await host.ip(
          'link',
          'add',
          'mv0',
          'link',
          'eth1',
          'address',
          '02:00:00:00:00:09',
          'up',
          'type',
          'macvlan',
          'mode',
          'bridge',
        )
      },
    },
  ),
  scenario(
    'linkInContainer',
    { linkInContainer: true, master: 'net1' },
    {
      newer: true,
      inside: (container) => wire(container, 'net1', 'wire1'),
    },
  ),
]

const versions = allVersions.map((cniVersion) =>
  scenario(
    `of ${cniVersion}`,
    // The oldest results do not tell the MAC, which is in the master's table.
    { cniVersion, mac, ipam: cniVersion < '0.3.0' ? fixed([one]) : both },
    keepMac,
  ),
)

export const scenarios = [...keys, ...versions]

export const refused: readonly Refused[] = [
  scenario('a mode that is none', { mode: 'source' }),
  scenario('an MTU above the master’s', { mtu: 1501 }),
  {
    ...scenario('an MTU of the loopback, which can be no master', { master: 'lo' }),
    ours: /^add link veth[0-9a-f]{8} \(macvlan\): EINVAL/,
  },
  { ...scenario('a MAC that is none', { mac: 'nonsense' }), ours: /macvlan\.mac: expected MAC address/ },
  scenario('IPAM without addresses', { ipam: { type: 'static' } }),
  scenario('no default route', { master: '' }),
  {
    ...scenario('a master that is not there', { master: 'eth9' }),
    ours: /^failed to lookup master "eth9": Link not found$/,
  },
]
