import { describe, expect, test } from 'vitest'
import { parseConf } from '../../../cni/schema.ts'
import type { IpConfig, Route } from '../../../cni/types.ts'
import { UndoStack } from '../../../cni/undo.ts'
import { type BridgeAttachment, bridgeConf } from '../../../plugins/bridge/conf.ts'
import { type Bridge, ensureBridge } from '../../../plugins/bridge/device.ts'
import { conflicts, firstAddress, planGateways } from '../../../plugins/bridge/gateways.ts'
import type { Hold } from '../../../plugins/bridge/hold.ts'
import { ensureVlanGateway, wantedVlans } from '../../../plugins/bridge/vlan-port.ts'
import { portVlans, wantsFiltering } from '../../../plugins/bridge/vlans.ts'
import { FakeKernel } from '../../support/fake-kernel.ts'

describe('vlan and vlanTrunk', () => {
  test.each([
    [{ vlan: 0 }, { untagged: 0, tagged: [] }],
    [{ vlan: 4094 }, { untagged: 4094, tagged: [] }],
    [
      { vlan: 0, vlanTrunk: [] },
      { untagged: 0, tagged: [] },
    ],
    [
      { vlan: 0, vlanTrunk: [{}] },
      { untagged: 0, tagged: [] },
    ],
    [
      { vlan: 5, vlanTrunk: [{ id: 7 }, { id: 3 }, { id: 7 }] },
      {
        untagged: 5,
        tagged: [
          [3, 3],
          [7, 7],
        ],
      },
    ],
    [
      { vlan: 0, vlanTrunk: [{ minID: 10, maxID: 12 }, { id: 13 }, { minID: 11, maxID: 15 }] },
      { untagged: 0, tagged: [[10, 15]] },
    ],
    [
      { vlan: 0, vlanTrunk: [{ id: 9, minID: 1, maxID: 2 }] },
      {
        untagged: 0,
        tagged: [
          [1, 2],
          [9, 9],
        ],
      },
    ],
    [
      { vlan: 0, vlanTrunk: [{ minID: 1, maxID: 4094 }] },
      { untagged: 0, tagged: [[1, 4094]] },
    ],
  ])('%j', (conf, expected) => {
    expect(portVlans(conf)).toEqual(expected)
  })

  test('become what a port carries: the untagged one last, so that it keeps its flags', () => {
    expect(wantedVlans({ untagged: 0, tagged: [] })).toEqual([])
    expect(wantedVlans({ untagged: 0, tagged: [[7, 9]] })).toEqual([
      { vid: 7, last: 9 },
      { vid: 1, pvid: true, untagged: true },
    ])
    expect(wantedVlans({ untagged: 8, tagged: [[7, 9]] }).at(-1)).toEqual({
      vid: 8,
      pvid: true,
      untagged: true,
    })
  })

  test('need a bridge that filters, an empty trunk too', () => {
    expect(wantsFiltering({ vlan: 0 })).toBe(false)
    expect(wantsFiltering({ vlan: 1 })).toBe(true)
    expect(wantsFiltering({ vlan: 0, vlanTrunk: [] })).toBe(true)
  })
})

describe('gateways', () => {
  test.each([
    ['10.9.0.5/24', '10.9.0.1'],
    ['10.9.0.255/8', '10.0.0.1'],
    ['10.9.255.7/31', '10.9.255.7'],
    ['10.9.0.255/32', '10.9.1.0'],
    ['fd00:9::5/64', 'fd00:9::1'],
    ['fd00:9::ffff/128', 'fd00:9::1:0'],
  ])('the first address of %s is %s', (cidr, expected) => {
    expect(firstAddress(cidr)).toBe(expected)
  })

  const plan = (
    conf: { isGateway?: boolean; isDefaultGateway?: boolean },
    ips: readonly IpConfig[],
    routes: readonly Route[] = [],
  ) => planGateways({ isGateway: false, isDefaultGateway: false, ...conf }, { ips, routes })

  test('are those of IPAM, or the first address, once each', () => {
    const { addresses, ips } = plan({ isGateway: true }, [
      { address: '10.9.0.5/24' },
      { address: '10.9.0.6/24', gateway: '10.9.0.1' },
      { address: 'fd00:9::5/64', gateway: 'FD00:9:0::00ff' },
    ])
    expect(addresses).toEqual(['10.9.0.1/24', 'fd00:9::ff/64'])
    expect(ips.map((ip) => [ip.interface, ip.gateway])).toEqual([
      [2, '10.9.0.1'],
      [2, '10.9.0.1'],
      [2, 'FD00:9:0::00ff'],
    ])
  })

  test('are nothing to a network without', () => {
    const { addresses, ips, routes } = plan({}, [
      { address: '10.9.0.5/24' },
      { address: 'fd00:9::5/64', gateway: 'fd00:9::1' },
    ])
    expect({ addresses, routes, gateways: ips.map(({ gateway }) => gateway) }).toEqual({
      addresses: [],
      routes: [],
      gateways: [undefined, 'fd00:9::1'],
    })
  })

  test.each<[string, Route[], Route[]]>([
    ['none', [], [{ dst: '0.0.0.0/0', gw: '10.9.0.1' }]],
    ['one without a gateway', [{ dst: '0.0.0.0/0' }], [{ dst: '0.0.0.0/0' }]],
    ['one by another', [{ dst: '0.0.0.0/0', gw: '10.9.0.9' }], [{ dst: '0.0.0.0/0', gw: '10.9.0.9' }]],
    ['one of the other family', [{ dst: '::/0' }], [{ dst: '::/0' }, { dst: '0.0.0.0/0', gw: '10.9.0.1' }]],
    ['one with host bits', [{ dst: '10.0.0.0/0' }], [{ dst: '10.0.0.0/0' }]],
  ])('isDefaultGateway adds a default route where there is %s', (_what, routes, expected) => {
    expect(plan({ isDefaultGateway: true }, [{ address: '10.9.0.5/24' }], routes).routes).toEqual(expected)
  })

  test.each([
    ['10.9.0.2/24', '10.9.0.1/24', true],
    ['10.9.0.1/24', '10.9.0.1/24', false],
    ['10.9.0.1/16', '10.9.0.1/24', true],
    ['172.16.0.1/12', '10.9.0.1/24', true],
    ['fd00::1/64', '10.9.0.1/24', false],
    ['fd00:1::1/64', 'fd00:2::1/64', false],
    ['fd00:2::7/64', 'fd00:2::1/64', true],
    ['fd00::1/16', 'fd00:2::1/64', true],
    ['fd00:2::1:1/112', 'fd00:2::1/64', true],
    ['fe80::1/64', 'fd00:2::1/64', false],
  ])('%s in the way of %s: %s', (present, wanted, expected) => {
    expect(conflicts(present, wanted)).toBe(expected)
  })
})

describe('what a bridge needs on the host', () => {
  const ENODEV = 19
  const EEXIST = 17

  /** A kernel that answers whoever makes a link, and never finds one. */
  const lossy = (errno: number) => {
    let made = 0
    const kernel = new FakeKernel({
      16: () => {
        // Not for ever, whatever is tested.
        if (made++ === 20) throw new Error('there is no end to it')
        return { errno }
      },
      18: () => ({ errno: ENODEV }),
    })
    const attachment = {
      host: kernel.connect(),
      conf: { bridge: 'cni0', mtu: 0, promiscMode: false, vlan: 7 },
      undo: new UndoStack(),
    } as unknown as BridgeAttachment
    return { attachment, made: () => made }
  }
  const hold = { undo: new UndoStack(), ownPorts: new Set() } as unknown as Hold
  const ways: [what: string, (attachment: BridgeAttachment) => Promise<unknown>][] = [
    ['the bridge', (attachment) => ensureBridge(attachment, hold)],
    [
      "a VLAN's gateway",
      (attachment) => ensureVlanGateway(attachment, hold, { name: 'cni0', index: 3, mtu: 1500 } as Bridge),
    ],
  ]

  test.each(ways)('is made a few times at most where it is not found: %s', async (_, ensure) => {
    const { attachment, made } = lossy(0)
    await expect(ensure(attachment)).rejects.toMatchObject({ msg: expect.stringContaining('is not there') })
    expect(made()).toBeLessThanOrEqual(10)
  })

  test.each(ways)('is tried a few times where others are quicker: %s', async (_, ensure) => {
    const { attachment, made } = lossy(EEXIST)
    await expect(ensure(attachment)).rejects.toMatchObject({ errno: EEXIST })
    expect(made()).toBeLessThanOrEqual(10)
  })

  test.each(['br%d', '100%'])('is not called %j, of which the kernel makes another name', (bridge) => {
    expect(() => parseConf(bridgeConf, { name: 'net', type: 'bridge', bridge }, 'bridge')).toThrow(
      'bridge.bridge: expected interface name',
    )
  })
})
