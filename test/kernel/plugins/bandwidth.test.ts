/** Limits of bandwidth: what ADD makes, of each key, and what it refuses. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { ifbs, limits, qdiscs, remains, shown, wire, wired } from './bandwidth.ts'
import { classic, errorOf, linkOf, node, unheard } from './node.ts'

const ingressOnly = { type: 'bandwidth', ingressRate: 4_000_000, ingressBurst: 6_000_000 } as const
const egressOnly = { type: 'bandwidth', egressRate: 3_200_000, egressBurst: 6_000_000 } as const

test('both directions', async () => {
  const { it, container, prevResult, veth } = await wired()
  const result = await it.add(limits, { container, prevResult })
  const [ifb, ...more] = await ifbs(it.host)
  expect(more).toEqual([])
  // The first 12 hex digits of the SHA-512 of netcid-1, as the Go plugin has it.
  expect(ifb).toMatchObject({ ifname: 'bwpc56677a01e3b', ifalias: 'linkwright:net/cid-1/eth0' })
  expect(result).toEqual({
    ...prevResult,
    interfaces: [...prevResult.interfaces!, { name: ifb!.ifname, mac: ifb!.address, mtu: 1500 }],
  })
  expect(await linkOf(it.host, ifb!.ifname)).toMatchObject({
    mtu: 1500,
    flags: expect.arrayContaining(['UP']),
  })
  expect((await linkOf(it.host, ifb!.ifname)).addr_info).toEqual([])
  expect(await qdiscs(it.host)).toMatchObject([
    { dev: veth, kind: 'tbf', handle: '1:', options: { rate: 500_000, burst: 750_000, lat: 25_000 } },
    { dev: veth, kind: 'ingress', handle: 'ffff:' },
    { dev: ifb!.ifname, kind: 'tbf', handle: '1:', options: { rate: 400_000, burst: 750_000, lat: 25_000 } },
  ])
  expect(await it.host.must('tc', ['filter', 'show', 'dev', veth, 'ingress'])).toMatch(
    /protocol all pref 1 u32 .*flowid 1:1 [\s\S]*match 00000000\/00000000 at 0\n.*mirred \(Egress Redirect to device bwpc56677a01e3b\) stolen/,
  )
  await it.check(limits, { container, prevResult: result })
  await it.del(limits, { container, prevResult: result })
  expect(await remains(it.host)).toEqual([])
  expect(it.warnings).toEqual([])
})

test('one direction', async () => {
  const { it, container, prevResult, veth } = await wired()
  expect(await it.add(ingressOnly, { container, prevResult })).toEqual(prevResult)
  expect(await remains(it.host)).toEqual([`tbf of ${veth}`])
  await it.check(ingressOnly, { container, prevResult })
  await it.del(ingressOnly, { container, prevResult })
  const result = await it.add(egressOnly, { container, prevResult })
  expect(result.interfaces).toHaveLength(3)
  expect(await remains(it.host)).toEqual([`ingress of ${veth}`, 'tbf of bwpc56677a01e3b', 'bwpc56677a01e3b'])
  await it.check(egressOnly, { container, prevResult: result })
})

test('of a runtime, and of two plugins in one chain', async () => {
  const { it, container, prevResult } = await wired()
  const { type, ...bandwidth } = ingressOnly
  const first = await it.add({ type, runtimeConfig: { bandwidth } }, { container, prevResult })
  const second = await it.add(egressOnly, { container, prevResult: first })
  await it.check({ type, runtimeConfig: { bandwidth } }, { container, prevResult: second })
  await it.check(egressOnly, { container, prevResult: second })
})

test.each<[string, JsonObject]>([
  ['nothing', {}],
  ['an empty runtime', { runtimeConfig: { bandwidth: {} } }],
  ['no bandwidth', { runtimeConfig: { bandwidth: null } }],
  ['zeros', { ingressRate: 0, ingressBurst: 0, egressRate: 0, egressBurst: 0 }],
  // One of the configuration's own keys is enough.
  [
    'a zero before the runtime',
    { egressRate: 0, runtimeConfig: { bandwidth: { ingressRate: 8e6, ingressBurst: 8e6 } } },
  ],
  ['subnets alone', { shapedSubnets: ['10.0.0.0/8'] }],
])('limited to %s: passed on as it is', async (_title, more) => {
  const { it, container, prevResult } = await wired()
  const conf = { type: 'bandwidth', ...more }
  expect(await it.add(conf, { container, prevResult })).toEqual(prevResult)
  await it.check(conf, { container, prevResult })
  expect(await remains(it.host)).toEqual([])
  await it.del(conf, { container, prevResult })
  const error = await errorOf(it.add(conf, { container }))
  expect(error).toMatchObject({ code: 7, msg: 'must be called as chained plugin' })
})

test('rates beyond 32 bits', async () => {
  const { it, container, prevResult, veth } = await wired()
  const conf = { type: 'bandwidth', ingressRate: 48_000_000_000, ingressBurst: 34_359_738_351 }
  await it.add(conf, { container, prevResult })
  await it.check(conf, { container, prevResult })
  expect(await qdiscs(it.host)).toMatchObject([{ dev: veth, options: { rate: 6_000_000_000 } }])
})

test('a burst that no packet fits into is warned of', async () => {
  const { it, container, prevResult } = await wired()
  const conf = {
    type: 'bandwidth',
    ingressRate: 8000,
    ingressBurst: 8000,
    egressRate: 8_000_000,
    egressBurst: 12_112,
  }
  await it.add(conf, { container, prevResult })
  expect(it.warnings).toEqual([
    expect.stringMatching(/^ingressBurst is 1000 bytes, a packet on veth\w+ up to 1514/),
  ])
})

describe('a repeated ADD', () => {
  test.each<[string, JsonObject]>([
    ['without subnets', {}],
    ['with subnets', { unshapedSubnets: ['10.0.0.0/8', 'fd00::/8'] }],
  ])('%s changes nothing', async (_title, more) => {
    const { it, container, prevResult, veth } = await wired()
    const conf = { ...limits, ...more }
    const first = await it.add(conf, { container, prevResult })
    const before = await shown(it.host, veth)
    expect(await it.add(conf, { container, prevResult })).toEqual(first)
    expect(await shown(it.host, veth)).toEqual(before)
    await it.check(conf, { container, prevResult: first })
    await it.del(conf, { container, prevResult })
    expect(await remains(it.host)).toEqual([])
  })

  test('with other limits changes them, and changes them back where it fails', async () => {
    const { it, container, prevResult, veth } = await wired()
    const result = await it.add(limits, { container, prevResult })
    const before = await shown(it.host, veth)
    const faster = { ...limits, ingressRate: 80_000_000, egressRate: 64_000_000 }
    await errorOf(it.add(faster, { container, prevResult, deliver: unheard }))
    expect(await shown(it.host, veth)).toEqual(before)
    await it.add(faster, { container, prevResult })
    await it.check(faster, { container, prevResult: result })
    const divided = { ...faster, shapedSubnets: ['10.9.0.0/24'] }
    await it.add(divided, { container, prevResult })
    await it.check(divided, { container, prevResult: result })
    await it.add(limits, { container, prevResult })
    await it.check(limits, { container, prevResult: result })
    expect(await ifbs(it.host)).toHaveLength(1)
  })

  test('where the IFB has gone', async () => {
    const { it, container, prevResult } = await wired()
    await it.add(limits, { container, prevResult })
    await it.host.ip('link', 'del', 'bwpc56677a01e3b')
    const result = await it.add(limits, { container, prevResult })
    await it.check(limits, { container, prevResult: result })
    expect(await container.ping('10.9.0.1')).toBe(true)
  })
})

test('a failed ADD leaves nothing', async () => {
  const { it, container, prevResult } = await wired()
  for (const more of [{}, { shapedSubnets: ['10.0.0.0/8'] }]) {
    const error = await errorOf(it.add({ ...limits, ...more }, { container, prevResult, deliver: unheard }))
    expect(error.msg).toBe('nobody listens')
    expect(await remains(it.host)).toEqual([])
  }
})

test('two attachments of a container do not collide', async () => {
  const { it, container, prevResult, veth } = await wired()
  const second = { container, ifName: 'net1' }
  const other = await it.add(wire('10.8.0.5/24', '10.8.0.1'), second)
  const results = await Promise.all([
    it.add(limits, { container, prevResult }),
    it.add(egressOnly, { ...second, prevResult: other }),
  ])
  const names = results.map(({ interfaces }) => interfaces!.at(-1)!.name)
  expect(new Set(names).size).toBe(2)
  expect(names).toContain('bwpc56677a01e3b')
  await it.check(limits, { container, prevResult: results[0] })
  await it.check(egressOnly, { ...second, prevResult: results[1] })
  // Without a result, in any order.
  await it.del(egressOnly, second)
  await it.check(limits, { container, prevResult: results[0] })
  expect((await ifbs(it.host)).map(({ ifname }) => ifname)).toEqual([names[0]])
  expect(await remains(it.host)).toEqual([
    `tbf of ${veth}`,
    `ingress of ${veth}`,
    `tbf of ${names[0]}`,
    names[0],
  ])
})

describe('refused, before anything is touched', () => {
  test.each<[JsonObject, RegExp | string]>([
    [{ ingressRate: 8 }, 'if rate is set, burst must also be set'],
    [{ egressBurst: 8 }, 'if burst is set, rate must also be set'],
    [{ ingressRate: 8, ingressBurst: 34_359_738_360 }, 'burst cannot be more than 4GB'],
    [{ egressRate: 7, egressBurst: 8 }, 'egressRate and egressBurst must be at least 8'],
    [
      { ingressRate: -1, ingressBurst: 8 },
      /^failed to load netconf: bandwidth.ingressRate: expected integer from 0/,
    ],
    [
      { ingressRate: '8M', ingressBurst: 8 },
      /^failed to load netconf: bandwidth.ingressRate: expected number/,
    ],
    [{ runtimeConfig: { bandwidth: { egressRate: 8 } } }, 'if rate is set, burst must also be set'],
    [
      { ...limits, shapedSubnets: ['10.0.0.0/8'], unshapedSubnets: ['::/0'] },
      'unshapedSubnets and shapedSubnets cannot be both specified, one of them should be discarded',
    ],
    [
      { ...limits, shapedSubnets: ['10.0.0.1'] },
      /^bad subnet "10.0.0.1" provided, details invalid CIDR address/,
    ],
  ])('%j', async (more, msg) => {
    const { it, container, prevResult } = await wired()
    const conf = { type: 'bandwidth', ...more }
    const error = await errorOf(it.add(conf, { container, prevResult }))
    expect(error).toMatchObject({ code: 7, msg: typeof msg === 'string' ? msg : expect.stringMatching(msg) })
    expect(await errorOf(it.check(conf, { container, prevResult }))).toMatchObject({ msg: error.msg })
    expect(await remains(it.host)).toEqual([])
    await it.del(conf, { container, prevResult })
  })

  test('an interface that is no veth', async () => {
    const it = await node()
    const container = await it.host.container()
    await it.host.ip('link', 'add', 'eth1', 'up', 'type', 'veth', 'peer', 'name', 'far')
    const prevResult = await it.add({ type: 'macvlan', master: 'eth1' }, { container })
    const error = await errorOf(it.add(limits, { container, prevResult }))
    expect(error).toMatchObject({
      code: 7,
      msg: 'container interface eth0 has no veth peer: it is a macvlan',
      details: expect.stringContaining('use it behind bridge or ptp'),
    })
    expect(await remains(it.host)).toEqual([])
  })

  test('a veth whose other end is elsewhere', async () => {
    const it = await node()
    const container = await it.host.container()
    const far = await it.host.container('far')
    const add = (words: string) => ['-c', `ip link add ${words}`]
    await container.must('sh', add(`eth0 index 40 type veth peer name veth9 index 41 netns ${far.pid}`))
    // One of the host's has the very index, and leads to the same one in another container.
    const third = await it.host.container('third')
    await it.host.must('sh', add('vethx index 41 type veth peer name eth0 index 40'))
    await it.host.ip('link', 'set', 'eth0', 'netns', `${third.pid}`)
    const prevResult = { cniVersion: '1.1.0', interfaces: [{ name: 'eth0', sandbox: container.path }] }
    const error = await errorOf(it.add(limits, { container, prevResult }))
    expect(error).toMatchObject({ code: 7, msg: 'veth peer with index 41 is not in host ns' })
    expect(await remains(it.host)).toEqual([])
  })

  test('no interface', async () => {
    const it = await node()
    const container = await it.host.container()
    const prevResult = { cniVersion: '1.1.0', interfaces: [{ name: 'eth0', sandbox: container.path }] }
    expect(await errorOf(it.add(limits, { container, prevResult }))).toMatchObject({
      msg: 'container interface eth0 has no veth peer: there is no such interface',
    })
    expect(await errorOf(it.add(limits, { container, prevResult: { cniVersion: '1.1.0' } }))).toMatchObject({
      msg: 'no interfaces provided',
    })
  })

  test.each([
    ['qdisc add dev VETH root handle 7: pfifo limit 9', /has qdisc pfifo 7: already/],
    ['qdisc add dev VETH clsact', /has qdisc clsact ffff: already/],
    [
      'filter add dev VETH parent ffff: protocol ip pref 9 u32 match ip src 10.0.0.0/8 action mirred egress mirror dev lo',
      /has filters for what comes in already/,
    ],
  ])("somebody else's %s", async (command, msg) => {
    const { it, container, prevResult, veth } = await wired()
    if (command.startsWith('filter')) await it.host.must('tc', ['qdisc', 'add', 'dev', veth, 'ingress'])
    await it.host.must('tc', command.replace('VETH', veth).split(' '))
    const before = await shown(it.host, veth)
    const error = await errorOf(it.add(limits, { container, prevResult }))
    expect(error).toMatchObject({ code: 999, msg: expect.stringMatching(msg) })
    expect(error.msg).toContain('file exists')
    await it.del(limits, { container, prevResult })
    expect(await shown(it.host, veth)).toEqual(before)
  })
})

test('behind a bridge, found by its pair and not by a name', async () => {
  const { it, container, prevResult, veth } = await wired({ type: 'bridge', ...classic })
  await it.host.ip('link', 'set', veth, 'down')
  await it.host.ip('link', 'set', veth, 'name', 'renamed', 'up')
  await it.add(limits, { container, prevResult })
  expect(await remains(it.host)).toContain('tbf of renamed')
})

describe('STATUS', () => {
  test.each<[string, JsonObject]>([
    ['limits', limits],
    ['subnets', { ...limits, shapedSubnets: ['10.0.0.0/8'] }],
    ['nothing', { type: 'bandwidth' }],
  ])('%s: the kernel has what they need, and nothing is left of the question', async (_title, conf) => {
    const it = await node()
    await it.call('STATUS', conf)
    expect(await remains(it.host)).toEqual([])
  })

  test('what ADD would refuse', async () => {
    const it = await node()
    expect(await errorOf(it.call('STATUS', { type: 'bandwidth', ingressRate: 8 }))).toMatchObject({ code: 7 })
  })
})
