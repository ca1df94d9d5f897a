/** What can be known to be wrong is refused before anything is touched: not even an event is seen on the host. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { monitor } from '../../../netlink/index.ts'
import { classic, errorOf, links, type NodeCall, node } from './node.ts'

const fine: JsonObject = { bridge: 'cni0' }

describe('refused before anything is touched', () => {
  const cases: [what: string, conf: JsonObject, code: number, msg: string | RegExp, call?: NodeCall][] = [
    [
      'hairpin and promiscuous',
      { hairpinMode: true, promiscMode: true },
      7,
      'cannot set hairpin mode and promiscuous mode at the same time',
    ],
    [
      'IPAM with the interface down',
      { ...classic, disableContainerInterface: true },
      7,
      'cannot use IPAM when DisableContainerInterface flag is set',
    ],
    ['vlan below 0', { vlan: -1 }, 7, 'invalid VLAN ID -1 (must be between 0 and 4094)'],
    ['vlan 4095', { vlan: 4095 }, 7, 'invalid VLAN ID 4095 (must be between 0 and 4094)'],
    [
      'vlan not a number',
      { vlan: '7' },
      7,
      'failed to load netconf: bridge.vlan: expected integer, got string "7"',
    ],
    ['trunk of VLAN 0', { vlanTrunk: [{ id: 0 }] }, 7, 'incorrect trunk id parameter'],
    ['trunk of VLAN 4095', { vlanTrunk: [{ id: 4095 }] }, 7, 'incorrect trunk id parameter'],
    ['minID out of range', { vlanTrunk: [{ minID: 0, maxID: 5 }] }, 7, 'incorrect trunk minID parameter'],
    ['maxID out of range', { vlanTrunk: [{ minID: 1, maxID: 4095 }] }, 7, 'incorrect trunk maxID parameter'],
    [
      'minID above maxID',
      { vlanTrunk: [{ minID: 6, maxID: 5 }] },
      7,
      'minID is greater than maxID in trunk parameter',
    ],
    [
      'minID missing',
      { vlanTrunk: [{ maxID: 5 }] },
      7,
      'minID and maxID should be configured simultaneously, minID is missing',
    ],
    [
      'maxID missing',
      { vlanTrunk: [{ minID: 5 }] },
      7,
      'minID and maxID should be configured simultaneously, maxID is missing',
    ],
    ['no bridge name', { bridge: '' }, 7, /^failed to load netconf: bridge.bridge: expected interface name/],
    [
      'bridge name too long',
      { bridge: 'a-name-of-16-byt' },
      7,
      /^failed to load netconf: bridge.bridge: expected interface name/,
    ],
    ['bridge name with a slash', { bridge: '../cni0' }, 7, /^failed to load netconf: bridge.bridge/],
    ['bridge name with a space', { bridge: 'cni 0' }, 7, /^failed to load netconf: bridge.bridge/],
    [
      "the gateway's interface too long",
      { ...classic, bridge: 'twelve-bytes', vlan: 100 },
      7,
      /^the interface for the gateway of VLAN 100 can not be called "twelve-bytes.100"/,
    ],
    ['mtu below 0', { mtu: -1 }, 7, /^failed to load netconf: bridge.mtu: expected integer from 0/],
    ['mtu not an integer', { mtu: 1.5 }, 7, /^failed to load netconf: bridge.mtu/],
    [
      'mtu as text',
      { mtu: '1500' },
      7,
      /^failed to load netconf: bridge.mtu: expected .*, got string "1500"/,
    ],
    [
      'a flag as text',
      { isGateway: 'yes' },
      7,
      /^failed to load netconf: bridge.isGateway: expected boolean/,
    ],
    ['unknown backend', { ipMasqBackend: 'magic' }, 7, 'unknown ipmasq backend "magic"'],
    ['MAC that is none', {}, 7, 'invalid MAC address "nonsense"', { args: 'MAC=nonsense' }],
    [
      'MAC of 8 bytes',
      {},
      7,
      'invalid MAC address "02:00:00:00:00:00:00:01"',
      { args: 'MAC=02:00:00:00:00:00:00:01' },
    ],
    ['MAC of a group', {}, 7, 'invalid MAC address "01:00:5e:00:00:01"', { args: 'MAC=01:00:5e:00:00:01' }],
    ['MAC of zeros', {}, 7, 'invalid MAC address "00:00:00:00:00:00"', { args: 'MAC=00:00:00:00:00:00' }],
    [
      'MAC in the configuration',
      { runtimeConfig: { mac: 'nonsense' } },
      7,
      /runtimeConfig.mac: expected MAC address/,
    ],
    ['CNI_ARGS with an unknown key', {}, 4, 'ARGS: unknown args ["X=1"]', { args: 'X=1' }],
    ['CNI_ARGS with half a pair', {}, 4, 'ARGS: invalid pair "MAC"', { args: 'MAC' }],
    [
      'CNI_ARGS, though the MAC comes from elsewhere',
      { runtimeConfig: { mac: '02:00:00:00:00:01' } },
      4,
      'ARGS: invalid pair "MAC"',
      { args: 'MAC' },
    ],
    [
      'IPAM that is not installed',
      { ipam: { type: 'nowhere' } },
      999,
      /^failed to find plugin "nowhere" in path/,
    ],
    ['IPAM that is none', { ipam: { type: 'bridge' } }, 7, 'ipam.type "bridge" is not an IPAM plugin'],
    [
      'IPAM that is none, either',
      { ipam: { type: 'loopback' } },
      7,
      'ipam.type "loopback" is not an IPAM plugin',
    ],
    ["IPAM's configuration", { ipam: { type: 'host-local', subnet: '10.1.0.0/33' } }, 7, /./],
    [
      'a namespace that is not there',
      {},
      8,
      /^failed to open netns "\/run\/netns\/gone": /,
      { netnsPath: '/run/netns/gone' },
    ],
    [
      'a namespace that is a file',
      {},
      8,
      /^failed to open netns "\/etc\/hostname": /,
      { netnsPath: '/etc/hostname' },
    ],
    [
      'a namespace that is there, with the gateway',
      classic,
      8,
      /^failed to open netns/,
      { netnsPath: '/run/netns/gone' },
    ],
    ['a version that can not be told', { cniVersion: '9.9.9' }, 1, 'incompatible CNI versions'],
  ]
  test.each(cases)('%s', async (_what, conf, code, msg, call = {}) => {
    const it = await node()
    const container = await it.host.container()
    const events = monitor(it.netns, { groups: ['link', 'address', 'route'] })
    try {
      const error = await errorOf(it.add({ ...fine, ...conf }, { container, ...call }))
      expect(error.code).toBe(code)
      expect(error.msg).toMatch(msg)
      if (typeof msg === 'string') expect(error.msg).toBe(msg)
      expect(await events.take({ timeout: 0 })).toBeUndefined()
    } finally {
      events.close()
    }
    expect((await links(it.host)).map(({ ifname }) => ifname)).toEqual(['lo'])
    expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo'])
  })

  test('the host itself as the container', async () => {
    const it = await node()
    const error = await errorOf(it.add(fine, { netnsPath: it.host.path }))
    expect(error).toMatchObject({
      code: 8,
      msg: "plugin's netns and netns from CNI_NETNS should not be the same",
    })
    expect((await links(it.host)).map(({ ifname }) => ifname)).toEqual(['lo'])
  })
})

describe('refused by the kernel, with what it says, and undone', () => {
  test.each([
    ['an MTU that no veth can have', { mtu: 70000 }, /add link veth\w+|add link cni0/],
    ['an MTU below 68', { mtu: 40 }, /add link/],
    [
      'a gateway that is not in the subnet',
      {
        isGateway: true,
        ipam: {
          type: 'static',
          addresses: [{ address: '10.9.0.5/32', gateway: '10.7.0.1' }],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
      /create route 0\.0\.0\.0\/0 via 10\.7\.0\.1.*ENETUNREACH/,
    ],
    [
      'an address that is named twice',
      { ipam: { type: 'static', addresses: [{ address: '10.9.0.5/24' }, { address: '10.9.0.5/24' }] } },
      /add address 10\.9\.0\.5\/24.*EEXIST/,
    ],
    ['no address at all', { ipam: { type: 'static' } }, /^IPAM plugin returned missing IP config$/],
  ])('%s', async (_what, conf, msg) => {
    const it = await node()
    const container = await it.host.container()
    const error = await errorOf(it.add({ ...fine, ...conf } as JsonObject, { container }))
    expect(error.msg).toMatch(msg)
    expect(error.details ?? '').not.toContain('could not be undone')
    expect((await links(it.host)).map(({ ifname }) => ifname)).toEqual(['lo'])
    expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo'])
  })

  test('VLANs, where bridges do not filter them', async () => {
    const it = await node()
    const container = await it.host.container()
    const has = await it.host.run('ip', ['link', 'add', 'cni0', 'type', 'bridge', 'vlan_filtering', '1'])
    // Most kernels do; then there is nothing to see here.
    if (has.status === 0) return
    for (const prepare of [async () => {}, () => it.host.ip('link', 'add', 'cni0', 'type', 'bridge')]) {
      await prepare()
      const before = await links(it.host)
      const error = await errorOf(it.add({ ...fine, vlan: 100 }, { container }))
      expect(error.msg).toMatch(/(add link|set bridge).*EOPNOTSUPP/)
      expect(error.details).toContain('do not filter VLANs')
      expect((await links(it.host)).map(({ ifname }) => ifname)).toEqual(before.map(({ ifname }) => ifname))
    }
  })
})
