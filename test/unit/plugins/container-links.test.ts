/** ipvlan, vlan and dummy: what they refuse before they touch anything, and what they ask of the kernel. */
import { describe, expect, test } from 'vitest'
import { CniArgs } from '../../../cni/args.ts'
import { CniError } from '../../../cni/error.ts'
import type { Attachment } from '../../../cni/plugin.ts'
import { parseConf, parseConfLenient } from '../../../cni/schema.ts'
import type { JsonObject, Result } from '../../../cni/types.ts'
import { UndoStack } from '../../../cni/undo.ts'
import { linkLayout } from '../../../netlink/link/layout.ts'
import { nsidLayout } from '../../../netlink/nsid.ts'
import { NLM_F } from '../../../netlink/request.ts'
import { plugins, vlan } from '../../../plugins/index.ts'
import { type FakeHandler, FakeKernel, fakeObject } from '../../support/fake-kernel.ts'

const RTM_NEWLINK = 16
const RTM_DELLINK = 17
const RTM_GETLINK = 18
const RTM_NEWNSID = 88
const RTM_GETNSID = 90
const ENODEV = 19
const EOPNOTSUPP = 95
const ARPHRD_ETHER = 1

const eth1: FakeHandler = () => ({
  objects: [
    fakeObject(
      RTM_NEWLINK,
      linkLayout,
      { index: 5, type: ARPHRD_ETHER, flags: 1 },
      { ifname: 'eth1', mtu: 1500, address: '02:00:00:00:00:01' },
    ),
  ],
})

/** An attachment without IPAM to a kernel of make-believe. */
const attach = (type: string, conf: JsonObject, more: Partial<Attachment<unknown>> = {}) => {
  const plugin = plugins.get(type)!
  const host = new FakeKernel({ [RTM_GETLINK]: eth1 })
  const container = new FakeKernel({
    [RTM_GETLINK]: () => ({ errno: ENODEV }),
    [RTM_NEWLINK]: () => ({}),
    [RTM_GETNSID]: () => ({ objects: [fakeObject(RTM_NEWNSID, nsidLayout, { family: 0 }, { nsid: 0 })] }),
  })
  const rawConf = { name: 'net', master: 'eth1', ...conf }
  const attachment = {
    conf: parseConf(plugin.conf, rawConf, type),
    ...{ rawConf, cniVersion: '1.1.0', network: 'net', args: new CniArgs('', true) },
    ...{ containerId: 'cid', ifName: 'eth0', netnsPath: '/run/netns/x', ipam: null, prevResult: null },
    ...{ host: host.connect(), container: container.connect(), undo: new UndoStack() },
    hostNetns: { fd: 7 },
    netns: { fd: 8 },
    log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    signal: new AbortController().signal,
    ...more,
  } as unknown as Attachment<unknown>
  return { plugin, container, attachment }
}

/** The message of a configuration that is refused, and that nothing was changed. */
const refusal = async (type: string, conf: JsonObject, more?: Partial<Attachment<unknown>>) => {
  try {
    const { plugin, container, attachment } = attach(type, conf, more)
    await plugin.add(attachment).then(
      () => {
        throw new Error('it was accepted')
      },
      (error: unknown) => {
        expect(container.requests).toEqual([])
        throw error
      },
    )
  } catch (error) {
    if (error instanceof CniError) return { code: error.code, msg: error.msg }
    throw error
  }
}

const ipam = (type: string) => ({ type }) as unknown as Attachment<unknown>['ipam']
const result = (interfaces: Result['interfaces']): Result => ({ interfaces })

describe('refused before anything is touched', () => {
  test.each<[string, JsonObject, string, Partial<Attachment<unknown>>?]>([
    ['ipvlan', { mode: 'L2' }, 'unknown ipvlan mode: "L2"'],
    ['ipvlan', { flag: 'passthru' }, 'unknown ipvlan flag: "passthru"'],
    ['ipvlan', { mtu: -1 }, 'invalid MTU -1, must be [0, master MTU]'],
    ['ipvlan', { mtu: 1501 }, 'invalid MTU 1501, must be [0, master MTU(1500)]'],
    ['ipvlan', { mode: 'l3' }, 'ipvlan mode l3 requires an IPAM configuration'],
    ['ipvlan', { mode: 'l3s' }, 'IPAM plugin "dhcp" can not work in ipvlan mode l3s', { ipam: ipam('dhcp') }],
    ...[[], [{ name: '' }], [{ name: 'a' }, { name: 'b' }]].map(
      (interfaces): [string, JsonObject, string, Partial<Attachment<unknown>>] => [
        'ipvlan',
        { master: '' },
        'chained master failure. PrevResult lacks a single named interface',
        { prevResult: result(interfaces) },
      ],
    ),
    [
      'vlan',
      { master: '' },
      '"master" field is required. It specifies the host interface name to create the VLAN for',
    ],
    ['vlan', { vlanId: -1 }, 'invalid VLAN ID -1 (must be between 0 and 4095 inclusive)'],
    ['vlan', { vlanId: 4095 }, 'invalid VLAN ID 4095 (must be between 0 and 4095 inclusive)'],
    ['vlan', { protocol: '802.1x' }, 'unknown VLAN protocol: "802.1x"'],
    ['vlan', { mtu: 1501 }, 'invalid MTU 1501, must be [0, master MTU(1500)]'],
    ['vlan', { vlanId: '5' }, 'failed to load netconf: vlan.vlanId: expected integer, got string "5"'],
    ['dummy', {}, 'dummy interface requires an IPAM configuration'],
  ])('%s %j: %s', async (type, conf, msg, more) => {
    expect(await refusal(type, conf, more)).toEqual({ code: 7, msg })
  })

  test.each<[string, JsonObject, string, Partial<Attachment<unknown>>?]>([
    ['ipvlan', { mode: 'l3' }, 'IPAM plugin "dhcp" can not work in ipvlan mode l3', { ipam: ipam('dhcp') }],
    ['dummy', {}, 'dummy interface requires an IPAM configuration'],
  ])('by STATUS, too: %s %j: %s', async (type, conf, msg, more) => {
    const { plugin, attachment } = attach(type, conf, more)
    await expect(plugin.status!(attachment)).rejects.toMatchObject({ code: 7, msg })
  })

  test('a missing master of vlan is said in the same words, and does not matter to DEL', () => {
    expect(() => parseConf(vlan.conf, { name: 'net' }, 'vlan')).toThrow('"master" field is required')
    expect(parseConfLenient(vlan.conf, { name: 'net', vlanId: 9999 }).conf).toMatchObject({
      master: '',
      vlanId: 0,
    })
  })
})

describe('a kernel without such links', () => {
  test.each([
    ['ipvlan', {}, /modprobe ipvlan/],
    ['macvlan', {}, /modprobe macvlan/],
    ['vlan', {}, /modprobe 8021q/],
    ['dummy', {}, /modprobe dummy/],
  ] as const)('%s: names the module', async (type, conf, details) => {
    const container = new FakeKernel({
      [RTM_GETLINK]: () => ({ errno: ENODEV }),
      [RTM_NEWLINK]: () => ({ errno: EOPNOTSUPP, message: 'Unknown device type' }),
      [RTM_GETNSID]: () => ({ objects: [fakeObject(RTM_NEWNSID, nsidLayout, { family: 0 }, { nsid: 0 })] }),
    })
    const assigns = { type: 'x', add: () => Promise.resolve({ ips: [{ address: '10.0.0.2/24' }] }) }
    const { plugin, attachment } = attach(type, conf, {
      container: container.connect(),
      ipam: assigns as unknown as Attachment<unknown>['ipam'],
    })
    await expect(plugin.add(attachment)).rejects.toMatchObject({
      code: 999,
      msg: expect.stringContaining('Unknown device type'),
      details: expect.stringMatching(details),
    })
  })
})

describe('asked of the kernel', () => {
  const linkOf = async (type: string, conf: JsonObject) => {
    const { plugin, container, attachment } = attach(type, conf)
    const made = await plugin.add(attachment)
    const messages = container.requests.filter(({ type }) => type === RTM_NEWLINK)
    return { made, ...messages[0]!.as(linkLayout).attributes }
  }
  test.each([
    [{}, 'l2', {}],
    [{ mode: '', flag: '' }, 'l2', {}],
    [{ flag: 'bridge' }, 'l2', {}],
    [{ flag: 'private' }, 'l2', { private: true }],
    [{ flag: 'vepa' }, 'l2', { vepa: true }],
  ])('ipvlan %j', async (conf, mode, flags) => {
    const { made, linkinfo, mtu, address } = await linkOf('ipvlan', conf)
    expect(linkinfo?.own).toMatchObject({
      kind: 'ipvlan',
      data: { mode, flags: { private: false, vepa: false, ...flags } },
    })
    expect({ mtu, address }).toEqual({ mtu: 1500, address: undefined })
    expect(made.interfaces).toEqual([
      { name: 'eth0', mac: '02:00:00:00:00:01', mtu: 1500, sandbox: '/run/netns/x' },
    ])
  })

  test.each([
    [{}, { id: 0, protocol: '802.1Q' }],
    [
      { vlanId: 4094, protocol: '' },
      { id: 4094, protocol: '802.1Q' },
    ],
    [
      { vlanId: 7, protocol: '802.1AD' },
      { id: 7, protocol: '802.1ad' },
    ],
  ])('vlan %j', async (conf, data) => {
    const { linkinfo, mtu, address } = await linkOf('vlan', {
      ...conf,
      mtu: 1400,
      runtimeConfig: { mac: '02-00-00-00-00-07' },
    })
    expect(linkinfo?.own).toMatchObject({ kind: 'vlan', data })
    expect({ mtu, address }).toEqual({ mtu: 1400, address: '02:00:00:00:00:07' })
  })
})

describe('DEL again, beside a link of the Go plugins with the same MAC', () => {
  const mac = '02:00:00:00:00:01'
  const deleted = async (type: string, names: readonly string[]) => {
    const objects = names.map((ifname, i) =>
      fakeObject(
        RTM_NEWLINK,
        linkLayout,
        { index: 7 + i, type: ARPHRD_ETHER, flags: 1 },
        { ifname, mtu: 1500, address: mac, linkinfo: { own: { kind: type } } },
      ),
    )
    const found: FakeHandler = ({ flags, as }) => {
      if ((flags & NLM_F.dump) === NLM_F.dump) return { objects }
      const object = objects[names.indexOf(as(linkLayout).attributes.ifname ?? '')]
      return object ? { objects: [object] } : { errno: ENODEV }
    }
    const container = new FakeKernel({ [RTM_GETLINK]: found, [RTM_DELLINK]: () => ({}) })
    const prevResult = result([{ name: 'eth0', mac, sandbox: '/run/netns/x' }])
    const { plugin, attachment } = attach(type, {}, { container: container.connect(), prevResult })
    await plugin.del(attachment)
    return container.requests
      .filter((request) => request.type === RTM_DELLINK)
      .map((request) => request.as(linkLayout).index)
  }

  test.each(['ipvlan', 'vlan'])('%s: all of a master have its MAC, so it tells nothing', async (type) => {
    expect(await deleted(type, ['eth0', 'net1'])).toEqual([7])
    expect(await deleted(type, ['net1'])).toEqual([])
  })

  test.each(['macvlan', 'dummy'])('%s: a MAC of its own tells one that was renamed', async (type) => {
    expect(await deleted(type, ['eth0', 'net1'])).toEqual([7])
    expect(await deleted(type, ['net1'])).toEqual([7])
  })
})
