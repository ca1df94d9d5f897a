/** host-local: what it prints and what it leaves on disk, beside the Go plugin. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { goVersions } from '../../support/plugin.ts'
import { dataDir, type Operation, peers, printed } from './peers.ts'

const both = peers()

type Step = Omit<Operation, 'conf'> & { readonly conf?: JsonObject }

interface Scenario {
  readonly ipam?: JsonObject | null
  /** Other keys of the configuration. */
  readonly rest?: JsonObject
  /** Files that are there before, below the network's directory. */
  readonly files?: Readonly<Record<string, string>>
  readonly steps: readonly Step[]
}

let networks = 0

/** Does the same on both nodes, and compares after each step. */
const compare = async ({ ipam = {}, rest = {}, files = {}, steps }: Scenario): Promise<void> => {
  const name = `net-${++networks}`
  const { go, ours } = both
  for (const peer of [go, ours]) peer.put(`${dataDir}/${name}`, files)
  for (const step of steps) {
    const conf: JsonObject = {
      cniVersion: '1.0.0',
      name,
      type: 'bridge',
      ...(ipam && { ipam: { type: 'host-local', ...ipam } }),
      ...rest,
      ...step.conf,
    }
    const [expected, actual] = await Promise.all(
      [go, ours].map((peer) => peer.run('host-local', { ...step, conf })),
    )
    const what = `${step.command} ${JSON.stringify(step)}`
    expect(actual!.error?.msg, what).toEqual(expected!.error?.msg)
    expect(actual!.status, what).toBe(expected!.status)
    expect(printed(actual!), what).toEqual(printed(expected!))
    const left = go.files(name)
    const ourLeft = ours.files(name)
    // Every command of the Go plugin makes the directory and its lock; of ours, those that may change something.
    const lock = `${dataDir}/${name}/lock`
    if (!(lock in ourLeft)) delete left[lock]
    expect(ourLeft, what).toEqual(left)
  }
}

const add: Step = { command: 'ADD' }
const check: Step = { command: 'CHECK' }
const del: Step = { command: 'DEL' }
const cycle = [add, check, del, del]
const subnet = '10.1.0.0/24'

describe('configurations that work', () => {
  test.each<[string, Scenario]>([
    ['one subnet', { ipam: { subnet }, steps: cycle }],
    ['the classic one', { ipam: { subnet: '10.22.0.0/16', routes: [{ dst: '0.0.0.0/0' }] }, steps: cycle }],
    [
      'routes of all kinds',
      {
        ipam: {
          subnet,
          routes: [
            { dst: '0.0.0.0/0' },
            { dst: '192.168.3.4/16', gw: '10.1.0.9' },
            { dst: '2001:DB8::0:1/64', gw: '2001:DB8:0::1' },
            { dst: '::ffff:10.9.0.0/112', gw: '::ffff:10.1.0.1' },
            { dst: '10.8.0.0/16', gw: '' },
          ],
        },
        steps: cycle,
      },
    ],
    ['an empty list of routes', { ipam: { subnet, routes: [] }, steps: cycle }],
    ['a range', { ipam: { subnet, rangeStart: '10.1.0.100', rangeEnd: '10.1.0.101' }, steps: cycle }],
    ['a gateway', { ipam: { subnet, gateway: '10.1.0.254' }, steps: cycle }],
    ['a gateway elsewhere', { ipam: { subnet, gateway: '192.0.2.1' }, steps: cycle }],
    ['a gateway of the other family', { ipam: { subnet, gateway: 'fe80::1' }, steps: cycle }],
    [
      'empty texts',
      {
        ipam: { subnet, rangeStart: '', rangeEnd: '', gateway: '', dataDir: '', resolvConf: '' },
        steps: cycle,
      },
    ],
    [
      'the network and broadcast address',
      {
        ipam: { subnet: '10.1.0.0/30', rangeStart: '10.1.0.0', rangeEnd: '10.1.0.3' },
        steps: ['a', 'b', 'c', 'd'].map((containerId) => ({ command: 'ADD', containerId })),
      },
    ],
    ['IPv6', { ipam: { subnet: '2001:DB8:1::/64' }, steps: cycle }],
    [
      'IPv6 /126',
      {
        ipam: { subnet: '2001:db8::/126' },
        steps: ['a', 'b', 'c'].map((containerId) => ({ command: 'ADD', containerId })),
      },
    ],
    ['both families', { ipam: { ranges: [[{ subnet }], [{ subnet: '2001:db8::/64' }]] }, steps: cycle }],
    [
      'both families the other way round',
      { ipam: { ranges: [[{ subnet: '2001:db8::/64' }], [{ subnet }]] }, steps: cycle },
    ],
    [
      'a set of several ranges',
      {
        ipam: {
          ranges: [
            [
              { subnet, rangeStart: '10.1.0.9', rangeEnd: '10.1.0.10' },
              { subnet: '10.2.0.0/30' },
              { subnet, rangeStart: '10.1.0.20', rangeEnd: '10.1.0.21', gateway: '10.1.0.20' },
            ],
          ],
        },
        steps: [
          ...['a', 'b', 'c', 'd', 'e'].map((containerId) => ({ command: 'ADD', containerId })),
          { command: 'DEL', containerId: 'b' },
          { command: 'ADD', containerId: 'f' },
        ],
      },
    ],
    [
      'ranges from everywhere, in their order',
      {
        ipam: { subnet, ranges: [[{ subnet: '10.2.0.0/24' }]] },
        rest: { runtimeConfig: { ipRanges: [[{ subnet: '10.3.0.0/24' }], [{ subnet: '2001:db8::/64' }]] } },
        steps: cycle,
      },
    ],
    [
      'keys in any case',
      {
        ipam: null,
        rest: {
          IPAM: { TYPE: 'host-local', SubNet: subnet, RANGESTART: '10.1.0.7' },
          RuntimeConfig: null,
          Args: null,
        },
        steps: cycle,
      },
    ],
    [
      'nulls',
      {
        ipam: { subnet, routes: null, ranges: null, dataDir: null },
        rest: { dns: {}, args: { cni: null } },
        steps: cycle,
      },
    ],
    [
      'another interface of the same container',
      {
        ipam: { subnet },
        steps: [
          add,
          { ...add, ifName: 'net1' },
          { ...del, ifName: 'net1' },
          check,
          { ...check, ifName: 'net1' },
        ],
      },
    ],
  ])('%s', (_, scenario) => compare(scenario))

  test.each(goVersions)('version %s', async (cniVersion) => {
    const ranges = [[{ subnet }], [{ subnet: '2001:db8::/64' }]]
    const routes = [{ dst: '0.0.0.0/0' }, { dst: '::/0', gw: '2001:db8::9' }]
    await compare({ ipam: { ranges, routes }, rest: { cniVersion }, steps: cycle })
    await compare({ ipam: { subnet }, rest: { cniVersion }, steps: [add, del] })
  })

  test('no version', () => compare({ ipam: { subnet }, rest: { cniVersion: null }, steps: [add, del] }))

  test('resolvConf', async () => {
    const text =
      '# c\n;c\nnameserver 192.0.2.1 x\nnameserver\n\tnameserver  192.0.2.2\ndomain a\ndomain b c\nsearch d e\nsearch f\noptions g\nother h\n'
    for (const peer of [both.go, both.ours]) peer.put('/run', { 'resolv.conf': text, empty: '' })
    for (const cniVersion of ['0.2.0', '0.4.0', '1.0.0']) {
      await compare({ ipam: { subnet, resolvConf: '/run/resolv.conf' }, rest: { cniVersion }, steps: [add] })
      await compare({ ipam: { subnet, resolvConf: '/run/empty' }, rest: { cniVersion }, steps: [add] })
    }
    await compare({ ipam: { subnet, resolvConf: '/run/none' }, steps: [add, del] })
    await compare({ ipam: { subnet, resolvConf: '/run' }, steps: [add] })
  })
})

describe('which address', () => {
  const ids = (...list: string[]) => list.map((containerId) => ({ command: 'ADD', containerId }))

  test.each<[string, Scenario]>([
    [
      'the one after the last',
      { ipam: { subnet }, files: { 'last_reserved_ip.0': '10.1.0.77' }, steps: ids('a', 'b') },
    ],
    [
      'the first after the end',
      { ipam: { subnet }, files: { 'last_reserved_ip.0': '10.1.0.254' }, steps: ids('a') },
    ],
    [
      'the first after nonsense',
      { ipam: { subnet }, files: { 'last_reserved_ip.0': '10.1.0.77\n' }, steps: ids('a') },
    ],
    [
      'the first after one of another range',
      { ipam: { subnet }, files: { 'last_reserved_ip.0': '10.2.0.1' }, steps: ids('a') },
    ],
    ['the first after nothing', { ipam: { subnet }, files: { 'last_reserved_ip.0': '' }, steps: ids('a') }],
    [
      'that is free',
      {
        ipam: { subnet },
        files: { '10.1.0.2': 'x\r\neth0', '10.1.0.3': 'y\r\neth0', '10.1.0.5': 'z' },
        steps: ids('a', 'b'),
      },
    ],
    [
      'beyond many that are taken',
      {
        ipam: { subnet },
        files: Object.fromEntries(
          Array.from({ length: 200 }, (_, i) => [`10.1.0.${i + 2}`, `x${i}\r\neth0`]),
        ),
        steps: [
          ...ids('a', 'b'),
          { command: 'DEL', containerId: 'x100' },
          { command: 'DEL', containerId: 'a' },
          ...ids('c'),
        ],
      },
    ],
    [
      'none',
      {
        ipam: { subnet: '10.1.0.0/30' },
        steps: [...ids('a', 'b'), { ...del, containerId: 'a' }, ...ids('b')],
      },
    ],
    [
      'none in the second set',
      { ipam: { ranges: [[{ subnet }], [{ subnet: '10.2.0.0/30' }]] }, steps: ids('a', 'b', 'c') },
    ],
    ['not a second one', { ipam: { subnet }, steps: [add, add] }],
    [
      'not a second one beside an old one',
      { ipam: { subnet }, files: { '10.1.0.9': 'cid-1', '10.1.0.10': 'cid-1' }, steps: [add] },
    ],
    [
      'a second one in another range',
      { ipam: { subnet }, files: { '10.2.0.9': 'cid-1\r\neth0' }, steps: [add, check, del] },
    ],
  ])('%s', (_, scenario) => compare(scenario))
})

describe('requested addresses', () => {
  const ranges = [[{ subnet, gateway: '10.1.0.5' }], [{ subnet: '2001:db8::/64' }]]
  const steps = cycle
  test.each<[string, Scenario]>([
    ['in CNI_ARGS', { ipam: { ranges }, steps: [{ ...add, args: 'IP=10.1.0.9' }, check, del] }],
    [
      'in CNI_ARGS with a prefix',
      { ipam: { ranges }, steps: [{ ...add, args: 'IgnoreUnknown=1;K8S_POD=x;IP=10.1.0.9/30' }] },
    ],
    ['in CNI_ARGS of IPv6', { ipam: { ranges }, steps: [{ ...add, args: 'IP=2001:DB8::0:9' }] }],
    ['in CNI_ARGS, empty', { ipam: { ranges }, steps: [{ ...add, args: 'IP=' }] }],
    ['in args', { ipam: { ranges }, rest: { args: { cni: { ips: ['10.1.0.9/8', '2001:db8::9'] } } }, steps }],
    ['in runtimeConfig', { ipam: { ranges }, rest: { runtimeConfig: { ips: ['2001:db8::9/64'] } }, steps }],
    [
      'everywhere, one of them twice',
      {
        ipam: { ranges: [...ranges, [{ subnet: '10.3.0.0/24' }]] },
        rest: { args: { cni: { ips: ['2001:db8::9', '10.1.0.9'] } }, runtimeConfig: { ips: ['10.3.0.9'] } },
        steps: [{ ...add, args: 'IP=10.1.0.9' }],
      },
    ],
    ['as IPv4-mapped', { ipam: { ranges }, rest: { runtimeConfig: { ips: ['::ffff:10.1.0.9'] } }, steps }],
    ['that is the gateway', { ipam: { ranges }, steps: [{ ...add, args: 'IP=10.1.0.5' }] }],
    [
      'that is taken',
      { ipam: { ranges }, files: { '10.1.0.9': 'x\r\neth0' }, steps: [{ ...add, args: 'IP=10.1.0.9' }] },
    ],
    [
      'that is taken, in the second set',
      {
        ipam: { ranges },
        files: { '2001:db8::9': 'x\r\neth0' },
        steps: [{ ...add, args: 'IP=2001:db8::9' }],
      },
    ],
    ['out of all ranges', { ipam: { ranges }, steps: [{ ...add, args: 'IP=10.2.0.9' }] }],
    [
      'of an attachment that has one',
      { ipam: { subnet }, steps: [add, { ...add, args: 'IP=10.1.0.9' }, check, del] },
    ],
  ])('%s', (_, scenario) => compare(scenario))
})

describe('what other releases and people left', () => {
  test.each<[string, Scenario]>([
    [
      'old files',
      {
        ipam: { subnet },
        files: {
          '10.1.0.5': 'cid-1',
          '10.1.0.6': 'cid-1\r\neth0',
          '10.1.0.7': 'cid-1\r\neth1',
          '10.1.0.8': 'cid-2',
        },
        steps: [check, del, check, del, check, del],
      },
    ],
    [
      'space around',
      { ipam: { subnet }, files: { '10.1.0.5': '\n cid-1\r\neth0 \n' }, steps: [check, add, del] },
    ],
    ['other line ends', { ipam: { subnet }, files: { '10.1.0.5': 'cid-1\neth0' }, steps: [check, add, del] }],
    ['other names', { ipam: { subnet }, files: { name: 'cid-1\r\neth0' }, steps: [check, add, del] }],
    [
      'directories',
      {
        ipam: { subnet },
        files: { 'a/b/10.1.0.9': 'cid-1\r\neth0', 'a/b/10.1.0.8': 'cid-2\r\neth0' },
        steps: [check, add, del, check],
      },
    ],
  ])('%s', (_, scenario) => compare(scenario))
})

describe('configurations that do not work', () => {
  test.each<[string, Scenario]>([
    ['no ipam', { ipam: null, steps: [add] }],
    ['no range', { ipam: {}, steps: [add] }],
    ['no subnet', { ipam: { rangeStart: '10.1.0.1' }, steps: [add] }],
    ['an empty set', { ipam: { ranges: [[]] }, steps: [add] }],
    ['a range without a subnet', { ipam: { ranges: [[{}]] }, steps: [add] }],
    ['/31', { ipam: { subnet: '10.1.0.0/31' }, steps: [add] }],
    ['/32', { ipam: { subnet: '10.1.0.7/32' }, steps: [add] }],
    ['/127', { ipam: { subnet: '2001:db8::/127' }, steps: [add] }],
    ['a mapped subnet', { ipam: { subnet: '::ffff:10.1.0.0/112' }, steps: [add] }],
    ['a mapped subnet that is too small', { ipam: { subnet: '::ffff:10.1.0.0/127' }, steps: [add] }],
    ['host bits', { ipam: { subnet: '10.1.2.3/16' }, steps: [add] }],
    ['host bits of IPv6', { ipam: { subnet: '2001:db8::1/64' }, steps: [add] }],
    ['a start outside', { ipam: { subnet, rangeStart: '10.2.0.1' }, steps: [add] }],
    ['a start of the other family', { ipam: { subnet, rangeStart: '2001:DB8::1' }, steps: [add] }],
    ['an end outside', { ipam: { subnet, rangeEnd: '10.1.1.0' }, steps: [add] }],
    [
      'an end before the start',
      { ipam: { subnet, rangeStart: '10.1.0.9', rangeEnd: '10.1.0.8' }, steps: [add] },
    ],
    [
      'both families in a set',
      { ipam: { ranges: [[{ subnet }, { subnet: '2001:db8::/64' }]] }, steps: [add] },
    ],
    ['overlaps in a set', { ipam: { ranges: [[{ subnet }, { subnet: '10.1.0.0/16' }]] }, steps: [add] }],
    [
      'overlaps of sets',
      { ipam: { subnet, ranges: [[{ subnet: '10.2.0.0/16' }], [{ subnet: '10.1.0.0/16' }]] }, steps: [add] },
    ],
    [
      'two of a family in an old version',
      {
        ipam: { subnet, ranges: [[{ subnet: '10.2.0.0/16' }]] },
        rest: { cniVersion: '0.2.0' },
        steps: [add],
      },
    ],
    [
      'CNI_ARGS without sense',
      {
        ipam: { subnet },
        steps: ['IP', 'A=B', 'IP=10.1', 'IP=10.1.0.9;', 'IP=a=b', 'IgnoreUnknown=x'].map((args) => ({
          ...add,
          args,
        })),
      },
    ],
    ['CHECK of nothing', { ipam: { subnet }, steps: [check] }],
  ])('%s', (_, scenario) => compare(scenario))
})
