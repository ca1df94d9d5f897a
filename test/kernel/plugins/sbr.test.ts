/** sbr: what comes from an address leaves by its interface; every key, verb and error. */
import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { Netns } from '../../../netlink/index.ts'
import { errorOf, unheard } from './node.ts'
import {
  attach,
  everything,
  mainRoutes,
  resultOf,
  rulesOf,
  sbr,
  service,
  tableRoutes,
  twoNetworks,
  wires,
} from './sbr.ts'

const [eth0, net1] = wires

test('packets leave by the interface that has their source, over both families', async () => {
  const { it, container } = await twoNetworks()
  const answers = () =>
    Promise.all(
      wires.flatMap(({ ip, ip6 }) => [
        service.reaches(container, ip, service.ip),
        service.reaches(container, ip6, service.ip6),
      ]),
    )
  // The second network's packets take the first one's default route, and its router does not let them through.
  expect(await answers()).toEqual([true, true, false, false])
  for (const wire of wires) await it.add(sbr(), attach(container, wire))
  expect(await answers()).toEqual([true, true, true, true])
  for (const wire of wires) await it.check(sbr(), attach(container, wire))
  for (const _again of [1, 2]) for (const wire of wires) await it.del(sbr(), attach(container, wire))
  expect(await rulesOf(container)).toEqual([])
  for (const table of [100, 101, 102, 103]) expect(await tableRoutes(container, table)).toEqual([])
})

test('each address has a table with the routes of its interface, and the main table has them no longer', async () => {
  const { it, container } = await twoNetworks()
  await container.ip('route', 'add', '198.51.100.0/24', 'via', net1.gateway, 'metric', '7', 'mtu', '1300')
  await container.ip('route', 'add', '10.77.0.0/16', 'dev', 'net1', 'table', '77')
  const prevResult = resultOf(container, net1)
  expect(await it.add(sbr(), attach(container, net1, prevResult))).toEqual(prevResult)
  expect(await rulesOf(container)).toEqual(['from 10.2.0.2 lookup 100', 'from fd00:2::2 lookup 101'])
  expect(await tableRoutes(container, 100)).toEqual([
    'default via 10.2.0.1 dev net1',
    'default via 10.2.0.1 dev net1 metric 2000',
    '10.2.0.0/24 dev net1 proto kernel scope link src 10.2.0.2',
    '198.51.100.0/24 via 10.2.0.1 dev net1 metric 7 mtu 1300',
  ])
  expect(await tableRoutes(container, 101)).toEqual([
    'fd00:2::/64 dev net1 proto kernel metric 256',
    'fe80::/64 dev net1 proto kernel metric 256',
    'default via fd00:2::1 dev net1 metric 1024',
    'default via fd00:2::1 dev net1 metric 2000',
  ])
  expect((await mainRoutes(container)).filter((line) => line.includes('net1'))).toEqual([])
  expect(await tableRoutes(container, 77)).toEqual(['10.77.0.0/16 dev net1 scope link'])
  // The other interface keeps what it has, and both what IPv6 does not work without.
  expect((await mainRoutes(container)).filter((line) => line.includes('eth0')).length).toBe(4)
  expect((await tableRoutes(container, 254)).filter((line) => line.startsWith('fe80::/64')).length).toBe(2)
})

test('a default route that only the result tells of is used', async () => {
  const { it, container } = await twoNetworks()
  await container.must('sh', ['-ec', 'ip route del default dev net1; ip -6 route del default dev net1'])
  const ips = resultOf(container, net1).ips!.map(({ gateway, ...one }) => one)
  const routes = [
    { dst: '0.0.0.0/0', gw: net1.gateway, mtu: 1400 },
    { dst: '::/0', gw: net1.gateway6, priority: 50 },
  ]
  const call = attach(container, net1, resultOf(container, net1, { ips, routes }))
  await it.add(sbr(), call)
  expect(await tableRoutes(container, 100)).toContain('default via 10.2.0.1 dev net1 mtu 1400')
  expect(await tableRoutes(container, 101)).toContain('default via fd00:2::1 dev net1 metric 50')
  expect(await service.reaches(container, net1.ip, service.ip)).toBe(true)
  await it.check(sbr(), call)
})

test('gateways take the place of what IPAM and the main table say', async () => {
  const { it, container } = await twoNetworks()
  const conf = sbr({ gateways: ['10.2.0.77', 'FD00:2::77'] })
  await it.add(conf, attach(container, net1))
  const defaults = async (table: number) =>
    (await tableRoutes(container, table)).filter((line) => line.startsWith('default'))
  expect(await defaults(100)).toEqual(['default via 10.2.0.77 dev net1'])
  expect(await defaults(101)).toEqual(['default via fd00:2::77 dev net1 metric 1024'])
  await it.check(conf, attach(container, net1))
  expect((await mainRoutes(container)).filter((line) => line.includes('net1'))).toEqual([])
})

test('with source hints the main table still leads to the subnets', async () => {
  const { it, container } = await twoNetworks()
  const conf = sbr({ addSourceHints: true })
  await it.add(conf, attach(container, net1))
  expect((await mainRoutes(container)).filter((line) => line.includes('net1'))).toEqual([
    '10.2.0.0/24 dev net1 proto kernel scope link src 10.2.0.2',
    'fd00:2::/64 dev net1 proto kernel src fd00:2::2 metric 256',
  ])
  expect(await tableRoutes(container, 100)).toContain('default via 10.2.0.1 dev net1')
  await it.check(conf, attach(container, net1))
})

test('with a table only rules are made, and that table is not touched', async () => {
  const { it, container } = await twoNetworks()
  const conf = sbr({ table: 4_000_000_000, gateways: ['nobody looks'] })
  await container.ip('route', 'add', 'default', 'via', net1.gateway, 'dev', 'net1', 'table', '4000000000')
  const before = await everything(container)
  await it.add(conf, attach(container, net1))
  // A rule that is there already will do.
  await it.add(conf, attach(container, net1))
  expect(await rulesOf(container)).toEqual([
    'from 10.2.0.2 lookup 4000000000',
    'from fd00:2::2 lookup 4000000000',
  ])
  expect((await everything(container)).routes).toEqual(before.routes)
  await it.check(conf, attach(container, net1))
  await it.del(conf, attach(container, net1))
  expect(await everything(container)).toEqual(before)
  expect((await errorOf(it.check(conf, attach(container, net1)))).msg).toMatch(
    'there is no rule for source 10.2.0.2 that leads to table 4000000000',
  )
})

test('tables that are in use in whatever way are passed by', async () => {
  const { it, container } = await twoNetworks()
  await container.must('sh', [
    '-ec',
    'ip route add 192.0.2.0/24 dev eth0 table 100; ip -6 rule add from fd00:7::1 lookup 101; ip rule add to 192.0.2.1 lookup 103',
  ])
  await it.add(sbr(), attach(container, net1))
  expect(
    (await rulesOf(container)).filter((line) => line.includes(':2::2') || line.includes('10.2.0.2')),
  ).toEqual(['from 10.2.0.2 lookup 102', 'from fd00:2::2 lookup 104'])
})

test('two ADDs at the same time get tables of their own', async () => {
  const { it, container } = await twoNetworks()
  await Promise.all(wires.map((wire) => it.add(sbr(), attach(container, wire))))
  const tables = (await rulesOf(container)).map((line) => line.split(' ').at(-1))
  expect(tables.sort()).toEqual(['100', '101', '102', '103'])
  for (const wire of wires) await it.check(sbr(), attach(container, wire))
})

test('an ADD waits for another plugin that is at work in the container, as long as its caller likes', async () => {
  const { it, container } = await twoNetworks()
  const before = await everything(container)
  using netns = Netns.open(container.path)
  const lock = netns.tryLock('exclusive')!
  const caller = new AbortController()
  const waiting = it.add(sbr(), { ...attach(container, net1), signal: caller.signal })
  caller.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
  expect(await everything(container)).toEqual(before)
  const next = it.add(sbr(), attach(container, net1))
  lock.release()
  await next
})

describe('IPv6', () => {
  test('of several ways each interface keeps its own, and advertised routes stay with the kernel', async () => {
    const { it, container } = await twoNetworks()
    const script = [
      'ip -6 route del default dev net1',
      'ip -6 route add fd00:50::/64 nexthop via fd00:2::1 dev net1 nexthop via fd00:2::3 dev net1 weight 3',
      'ip -6 route add fd00:51::/64 nexthop via fd00:1::1 dev eth0 nexthop via fd00:2::1 dev net1',
      'ip -6 route add fd00:52::/64 via fd00:2::1 dev net1 expires 500 pref high',
      'ip -6 route add default via fe80::1 dev net1 proto ra metric 99 expires 1800',
    ]
    await container.must('sh', ['-ec', script.join('\n')])
    const call = attach(container, net1)
    await it.add(sbr(), call)
    // The kernel counts down.
    const steady = (lines: string[]) => lines.map((line) => line.replace(/expires \d+sec/, 'expires N'))
    const inTable = steady(await tableRoutes(container, 101)).join('\n')
    expect(inTable).toMatch(
      /^fd00:50::\/64.*\s+(nexthop )?via fd00:2::1 dev net1.*\s+(nexthop )?via fd00:2::3 dev net1.* weight 3/m,
    )
    expect(inTable).toContain('fd00:51::/64 via fd00:2::1 dev net1 metric 1024')
    expect(inTable).toContain('fd00:52::/64 via fd00:2::1 dev net1 metric 1024 expires N pref high')
    expect(inTable).toContain('default via fe80::1 dev net1 proto static metric 99')
    expect(inTable).toContain('default via fd00:2::1 dev net1 metric 1024')
    const left = steady(await mainRoutes(container)).join('\n')
    expect(left).not.toContain('fd00:50::')
    expect(left).not.toContain('fd00:52::')
    expect(left).toMatch(/fd00:51::\/64 [^d]*(nexthop via fd00:2::1 dev net1|nexthop via fd00:1::1 dev eth0)/)
    expect(left).toContain('default via fe80::1 dev net1 proto ra metric 99 expires N')
    await it.check(sbr(), call)
  })

  test('routes of a family in which there is no address stay', async () => {
    const { it, container } = await twoNetworks()
    const six = async () => (await mainRoutes(container)).filter((line) => line.includes('fd00:2:'))
    const before = await six()
    expect(before.length).toBe(2)
    const result = resultOf(container, net1)
    await it.add(sbr(), attach(container, net1, { ...result, ips: result.ips!.slice(0, 1) }))
    expect(await six()).toEqual(before)
    expect(await rulesOf(container)).toEqual(['from 10.2.0.2 lookup 100'])
  })
})

test('a gateway outside of the subnet is reached', async () => {
  const { it, container } = await twoNetworks()
  const script = [
    'ip address flush dev net1 scope global',
    `ip address add ${net1.ip}/32 dev net1`,
    `ip route add ${net1.gateway} dev net1 scope link`,
    'ip route add 198.51.100.0/24 via 10.2.0.1 dev net1',
  ]
  await container.must('sh', ['-ec', script.join('\n')])
  const ips = [{ address: `${net1.ip}/32`, gateway: net1.gateway, interface: 0 }]
  const routes = [{ dst: '198.51.100.0/24' }]
  const call = attach(container, net1, resultOf(container, net1, { ips, routes }))
  await it.add(sbr(), call)
  expect(await tableRoutes(container, 100)).toEqual([
    'default via 10.2.0.1 dev net1',
    '10.2.0.1 dev net1 scope link',
    '198.51.100.0/24 via 10.2.0.1 dev net1',
  ])
  expect(await service.reaches(container, net1.ip, service.ip)).toBe(true)
  await it.check(sbr(), call)
})

test('addresses of other interfaces, and what the interface has besides, are left alone', async () => {
  const { it, container } = await twoNetworks()
  await container.ip('address', 'add', '10.9.0.2/24', 'dev', 'net1')
  const result = resultOf(container, net1, {
    interfaces: [{ name: 'net1' }, { name: 'net1', sandbox: container.path }],
    ips: [
      { address: '10.8.0.1/24', interface: 0 },
      { address: `${net1.ip}/24`, gateway: net1.gateway, interface: 1 },
    ],
  })
  await it.add(sbr(), attach(container, net1, result))
  expect(await rulesOf(container)).toEqual(['from 10.2.0.2 lookup 100'])
  expect(await mainRoutes(container)).toContain('10.9.0.0/24 dev net1 proto kernel scope link src 10.9.0.2')
  expect((await tableRoutes(container, 100)).join()).not.toContain('10.9.0')
})

test('two addresses of one subnet', async () => {
  const { it, container } = await twoNetworks()
  await container.ip('address', 'add', '10.2.0.3/24', 'dev', 'net1')
  const ips = ['10.2.0.2', '10.2.0.3'].map((ip) => ({
    address: `${ip}/24`,
    gateway: net1.gateway,
    interface: 0,
  }))
  const call = attach(container, net1, resultOf(container, net1, { ips }))
  await it.add(sbr(), call)
  for (const { address } of ips)
    expect(await service.reaches(container, address.replace('/24', ''), service.ip)).toBe(true)
  await it.check(sbr(), call)
  await it.del(sbr(), call)
  expect(await rulesOf(container)).toEqual([])
})

test('an ADD that fails at the very end leaves all as it was', async () => {
  const { it, container } = await twoNetworks()
  const before = await everything(container)
  for (const conf of [sbr(), sbr({ addSourceHints: true }), sbr({ table: 9 })]) {
    const error = await errorOf(it.add(conf, { ...attach(container, net1), deliver: unheard }))
    expect(error.message).toBe('nobody listens')
    expect(await everything(container)).toEqual(before)
  }
})

describe('DEL', () => {
  test('needs neither namespace nor interface nor result, and makes no file', async () => {
    const { it, container } = await twoNetworks()
    await it.del(sbr(), { ...attach(container, net1), container: undefined })
    const nowhere = `${container.sandbox}-gone`
    await it.del(sbr(), { ...attach(container, net1), container: undefined, netnsPath: nowhere })
    expect(existsSync(it.host.file(nowhere))).toBe(false)
    expect(existsSync(nowhere)).toBe(false)
    await it.add(sbr(), attach(container, net1))
    await it.del(sbr({ table: 'no number', gateways: [1, 2, 3] }), { container, ifName: 'net1' })
    expect(await rulesOf(container)).toEqual([])
    await it.add(sbr(), attach(container, eth0))
    await container.ip('link', 'del', 'eth0')
    await it.del(sbr(), { container, ifName: 'eth0' })
    await it.del(sbr(), attach(container, eth0))
    expect(await rulesOf(container)).toEqual([])
  })

  test('leaves rules that say more than ours, and those of others', async () => {
    const { it, container } = await twoNetworks()
    const script = [
      `ip rule add from ${net1.ip} to 192.0.2.0/24 lookup 50`,
      `ip rule add from ${net1.ip} blackhole priority 30000`,
      `ip rule add from 10.2.0.0/24 lookup 51`,
      `ip rule add from ${eth0.ip} lookup 52`,
    ]
    await container.must('sh', ['-ec', script.join('\n')])
    const before = await rulesOf(container)
    await it.add(sbr(), attach(container, net1))
    await it.del(sbr(), attach(container, net1))
    expect(await rulesOf(container)).toEqual(before)
  })
})

const losses: [what: string, command: string, complaint: RegExp][] = [
  ['a rule', 'ip rule del from 10.2.0.2', /no rule for source 10\.2\.0\.2$/],
  ['a rule of IPv6', 'ip -6 rule del from fd00:2::2', /no rule for source fd00:2::2$/],
  ['the subnet', 'ip route del 10.2.0.0/24 table 100', /route 10\.2\.0\.0\/24 is not in table 100/],
  [
    'the default route',
    'ip -6 route del default table 101; ip -6 route del default table 101',
    /route ::\/0 is not in table 101/,
  ],
  [
    'a route of the result',
    'ip route del 198.51.100.0/24 table 100',
    /route 198\.51\.100\.0\/24 via 10\.2\.0\.1 is/,
  ],
  ['a whole table', 'ip route flush table 100', /is not in table 100/],
  ['the interface', 'ip link del net1', /interface net1 does not exist/],
]

test.each(losses)('CHECK notices the loss of %s', async (_what, command, complaint) => {
  const { it, container } = await twoNetworks()
  await container.ip('route', 'add', '198.51.100.0/24', 'via', net1.gateway)
  const routes = [{ dst: '198.51.100.0/24' }]
  const call = attach(container, net1, resultOf(container, net1, { routes }))
  await it.add(sbr(), call)
  const before = await everything(container)
  await it.check(sbr(), call)
  expect(await everything(container)).toEqual(before)
  await container.must('sh', ['-ec', command])
  expect((await errorOf(it.check(sbr(), call))).msg).toMatch(complaint)
})

const refused: [msg: string, conf: JsonObject][] = [
  [
    'gateways list cannot contain more than 2 entries (one IPv4, one IPv6)',
    { gateways: ['10.0.0.1', '10.0.0.2', '::1'] },
  ],
  ['invalid static gateway IP address: 10.0.0.300', { gateways: ['10.0.0.300'] }],
  [
    'gateways list contains multiple IPv4 addresses: 10.0.0.1 and ::ffff:10.0.0.2',
    { gateways: ['10.0.0.1', '::ffff:10.0.0.2'] },
  ],
  [
    'gateways list contains multiple IPv6 addresses: fd00::1 and fd00::2',
    { gateways: ['FD00::1', 'fd00::2'] },
  ],
  ['failed to load netconf: sbr.table: expected integer from 1 to 4294967295, got number 0', { table: 0 }],
]

test('what can not be done is refused before anything is touched', async () => {
  const { it, container } = await twoNetworks()
  const before = await everything(container)
  const call = attach(container, net1)
  for (const [msg, conf] of refused)
    expect(await errorOf(it.add(sbr(conf), call))).toMatchObject({ code: 7, msg })
  expect(await errorOf(it.add(sbr(), { container, ifName: 'net1' }))).toMatchObject({
    code: 7,
    msg: 'This plugin must be called as chained plugin',
  })
  const bare = resultOf(container, net1, { ips: [] })
  expect(await errorOf(it.add(sbr(), attach(container, net1, bare)))).toMatchObject({
    code: 7,
    msg: 'No IP addresses supplied on interface: net1',
  })
  expect(
    await errorOf(
      it.add(sbr(), { ...call, ifName: 'net9', prevResult: { ...bare, ips: [{ address: '10.2.0.2/24' }] } }),
    ),
  ).toMatchObject({
    code: 999,
    msg: 'Cannot find network interface net9: Link not found',
  })
  expect(await everything(container)).toEqual(before)
  await it.call('STATUS', sbr())
})

test('a gateway that nothing leads to is an error, and all is put back', async () => {
  const { it, container } = await twoNetworks()
  const before = await everything(container)
  const error = await errorOf(it.add(sbr({ gateways: ['172.31.0.1'] }), attach(container, net1)))
  expect(error.message).toMatch(/route 0\.0\.0\.0\/0 via 172\.31\.0\.1.*table 100: ENETUNREACH/)
  expect(await everything(container)).toEqual(before)
})
