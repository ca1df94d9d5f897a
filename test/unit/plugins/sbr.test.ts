/** sbr: which routes go where, without a kernel. */
import { describe, expect, test } from 'vitest'
import type { Result } from '../../../cni/types.ts'
import { type Rule, route } from '../../../netlink/index.ts'
import type { RawNexthop } from '../../../netlink/route/layout.ts'
import { type RouteHeader, toRoute } from '../../../netlink/route/object.ts'
import { hintedMainTable, mainTable, resultRoutes, tableOf } from '../../../plugins/sbr/plan.ts'
import { ownRoutes } from '../../../plugins/sbr/routes.ts'
import { isSourceRule, sourcesOf } from '../../../plugins/sbr/sources.ts'
import { freeTables } from '../../../plugins/shared/tables.ts'

const ETH0 = 2
const NET1 = 3
const it = { ifName: 'net1' }
const kernel = { protocol: 2, scope: 253 }
const netns = '/run/netns/x'

const header = (family: number, length: number, more: Partial<RouteHeader> = {}): RouteHeader => ({
  ...{
    family,
    dstLength: length,
    srcLength: 0,
    tos: 0,
    table: 254,
    protocol: 3,
    scope: 0,
    type: 1,
    flags: 0,
  },
  ...more,
})
type Attributes = Parameters<typeof toRoute>[1]
const four = (length: number, attributes: Attributes, more?: Partial<RouteHeader>) =>
  toRoute(header(2, length, more), { oif: NET1, ...attributes })!
const six = (length: number, attributes: Attributes, more?: Partial<RouteHeader>) =>
  toRoute(header(10, length, more), { oif: NET1, priority: 1024, ...attributes })!
const way = (index: number, gateway: string): RawNexthop => ({ flags: 0, hops: 0, index, gateway })

const result: Result = {
  interfaces: [{ name: 'br0' }, { name: 'net1', sandbox: netns }],
  ips: [
    { address: '10.2.0.2/24', interface: 1 },
    { address: '10.3.0.2/24', gateway: '10.3.0.1', interface: 1 },
    { address: 'fd00:2::2/64', gateway: 'fd00:2::1', interface: 1 },
    { address: '10.2.0.1/24', interface: 0 },
    { address: '10.2.0.2/24', interface: 1 },
  ],
}
const sources = sourcesOf(result, it)
const planOf = (own: Parameters<typeof ownRoutes>[0], gateways: [4 | 6, string][] = [], wanted = result) => ({
  index: NET1,
  gateways: new Map(gateways),
  own: ownRoutes(own, NET1, sources),
  wanted: resultRoutes(wanted, it, sources),
})
const tables = (plan: ReturnType<typeof planOf>): string[][] =>
  sources.map((source) =>
    tableOf(source, 100, plan).map(({ dst, gateway, nexthops }) =>
      [dst, gateway, ...(nexthops ?? []).map((one) => one.gateway)].filter(Boolean).join(' '),
    ),
  )
const left = (plan: ReturnType<typeof planOf>): string[] => mainTable(plan).leave.map(({ dst }) => dst)

test('sources are the addresses of the interface, each once', () => {
  expect(sources.map(({ ip }) => ip)).toEqual(['10.2.0.2', '10.3.0.2', 'fd00:2::2'])
})

describe('routes go to the sources that may take them', () => {
  test('by preferred source, by gateway, or to all', () => {
    const plan = planOf([
      four(16, { dst: '10.50.0.0', gateway: '10.2.0.1' }),
      four(24, { dst: '10.2.0.0', prefsrc: '10.2.0.2' }, kernel),
      four(24, { dst: '10.3.0.0', prefsrc: '10.3.0.2' }, kernel),
      four(32, { dst: '169.254.1.1' }, { scope: 253 }),
      four(16, { dst: '10.51.0.0', gateway: '169.254.1.1' }),
      four(16, { dst: '10.52.0.0', via: 'fd00:2::1' }),
      six(64, { dst: 'fd00:2::', priority: 256 }, { protocol: 2 }),
    ])
    expect(tables(plan)).toEqual([
      [
        '10.2.0.0/24',
        '169.254.1.1/32',
        '10.50.0.0/16 10.2.0.1',
        '10.51.0.0/16 169.254.1.1',
        '10.52.0.0/16 fd00:2::1',
      ],
      [
        ...['10.3.0.0/24', '169.254.1.1/32', '10.51.0.0/16 169.254.1.1', '10.52.0.0/16 fd00:2::1'],
        '0.0.0.0/0 10.3.0.1',
      ],
      ['fd00:2::/64', '::/0 fd00:2::1'],
    ])
    // Those with a gateway first.
    expect(left(plan)).toEqual([
      ...['10.50.0.0/16', '10.51.0.0/16', '10.52.0.0/16'],
      ...['10.2.0.0/24', '10.3.0.0/24', '169.254.1.1/32', 'fd00:2::/64'],
    ])
  })

  test('not those of other interfaces, tables, addresses and kinds', () => {
    const plan = planOf([
      four(0, { oif: ETH0, gateway: '10.1.0.1' }),
      four(16, { dst: '10.50.0.0', gateway: '10.2.0.1' }, { table: 77 }),
      four(24, { dst: '10.9.0.0', prefsrc: '10.9.0.2' }, kernel),
      four(16, { dst: '10.60.0.0', oif: undefined }, { type: 6 }),
      four(16, { dst: '10.61.0.0', unknown: [{ type: 22, payload: new Uint8Array(4) }] }),
    ])
    expect(plan.own).toEqual([])
  })
})

describe('IPv6', () => {
  test('what the kernel looks after stays in the main table', () => {
    const cacheinfo = { clntref: 0, lastuse: 0, expires: 5000, error: 0, used: 0, id: 0, ts: 0, tsage: 0 }
    const plan = planOf([
      six(64, { dst: 'fe80::', priority: 256 }, { protocol: 2 }),
      six(0, { gateway: 'fe80::1', cacheinfo }, { protocol: 9 }),
      six(64, { dst: 'fd00:3::', cacheinfo }, { protocol: 2 }),
      six(64, { dst: 'fd00:4::', cacheinfo }, { protocol: 4 }),
    ])
    expect(left(plan)).toEqual(['fd00:4::/64'])
    const [advertised] = tableOf(sources[2]!, 100, plan).filter(({ dst }) => dst === '::/0')
    // A copy does not go when the advertisement it is of is no longer repeated to it.
    expect(advertised).toMatchObject({
      gateway: 'fe80::1',
      protocol: 'static',
      expires: undefined,
      table: 100,
    })
    const [lasting] = tableOf(sources[2]!, 100, plan).filter(({ dst }) => dst === 'fd00:4::/64')
    expect(lasting).toMatchObject({ expires: 50 })
  })

  test('of several ways those of the interface', () => {
    const shared = six(64, {
      dst: 'fd00:5::',
      oif: undefined,
      multipath: [way(ETH0, 'fd00:1::1'), way(NET1, 'fd00:2::1')],
    })
    const own = six(64, {
      dst: 'fd00:6::',
      oif: undefined,
      multipath: [way(NET1, 'fd00:2::1'), way(NET1, 'fd00:2::3')],
    })
    const plan = planOf([shared, own])
    expect(tables(plan)[2]).toEqual([
      'fd00:5::/64 fd00:2::1',
      'fd00:6::/64 fd00:2::1 fd00:2::3',
      '::/0 fd00:2::1',
    ])
    expect(left(plan)).toEqual(['fd00:6::/64'])
  })
})

describe('the default route', () => {
  const known = four(0, { gateway: '10.3.0.9' })

  test("is the main table's, where it has one of the usual metric", () => {
    expect(tables(planOf([known]))[1]).toEqual(['0.0.0.0/0 10.3.0.9'])
    const other = four(0, { gateway: '10.3.0.9', priority: 5 })
    expect(tables(planOf([other]))[1]).toEqual(['0.0.0.0/0 10.3.0.9', '0.0.0.0/0 10.3.0.1'])
  })

  test('is the static one, alone', () => {
    const plan = planOf([known], [[4, '10.3.0.77']])
    expect(tables(plan).slice(0, 2)).toEqual([['0.0.0.0/0 10.3.0.77'], ['0.0.0.0/0 10.3.0.77']])
    expect(left(plan)).toEqual(['0.0.0.0/0'])
  })

  test("is the result's, where its address has no gateway", () => {
    const routes = [
      { dst: '0.0.0.0/0', gw: '10.2.0.7' },
      { dst: '0.0.0.0/0', gw: '10.3.0.7', table: 50 },
      { dst: '10.60.0.0/16', gw: '10.2.0.7' },
    ]
    expect(tables(planOf([], [], { ...result, routes }))[0]).toEqual(['0.0.0.0/0 10.2.0.7'])
  })
})

test('with source hints direct routes stay, and subnets prefer their source', () => {
  const plan = planOf([
    four(24, { dst: '10.2.0.0', prefsrc: '10.2.0.2' }, kernel),
    four(24, { dst: '10.3.0.0' }, kernel),
    four(32, { dst: '10.2.9.9' }, { scope: 253 }),
    four(0, { gateway: '10.2.0.1' }),
  ])
  const { leave, add } = hintedMainTable(plan, sources)
  expect(leave.map(({ dst }) => dst)).toEqual(['0.0.0.0/0', '10.3.0.0/24'])
  expect(add.map(({ dst, preferredSource, scope }) => [dst, preferredSource, scope])).toEqual([
    ['10.3.0.0/24', '10.3.0.2', 'link'],
    ['fd00:2::/64', 'fd00:2::2', 'link'],
  ])
})

test('a listed route says all of itself once more', () => {
  const found = four(
    16,
    {
      dst: '10.5.0.0',
      gateway: '10.2.0.1',
      priority: 7,
      prefsrc: '10.2.0.2',
      metrics: { mtu: 1400 },
      flow: 5,
    },
    { tos: 8, flags: 4 },
  )
  expect(route.restate(found)).toMatchObject({
    ...{ dst: '10.5.0.0/16', gateway: '10.2.0.1', index: NET1, priority: 7, table: 254, tos: 8, realms: 5 },
    ...{ preferredSource: '10.2.0.2', metrics: { mtu: 1400 }, flags: { onlink: true }, protocol: 'boot' },
  })
  const object = four(16, { dst: '10.5.0.0', gateway: '10.2.0.1', nhId: 9 })
  const { nexthopId, gateway, index } = route.restate(object)
  expect({ nexthopId, gateway, index }).toEqual({ nexthopId: 9, gateway: undefined, index: undefined })
})

test('rules that say more than where a source goes are not ours', () => {
  const plain = { family: 4, from: '10.2.0.2/32', action: 'table', table: 100, priority: 9, tos: 0 } as Rule
  expect(isSourceRule(plain)).toBe(true)
  for (const more of [{ to: '10.0.0.0/8' }, { inputName: 'lo' }, { mark: 1 }, { tos: 8 }, { invert: true }])
    expect(isSourceRule({ ...plain, ...more })).toBe(false)
  for (const other of [{ from: undefined }, { action: 'blackhole' as const }, { l3mdev: true }])
    expect(isSourceRule({ ...plain, ...other })).toBe(false)
})

test('free tables are those that nothing knows', () => {
  const rules = [{ table: 101 }] as Rule[]
  const routes = [four(8, { dst: '10.0.0.0' }, { table: 100 })]
  const links = [{ kind: 'vrf', data: { table: 103 } }] as never
  expect(freeTables({ rules, routes, links }, 100, 3)).toEqual([102, 104, 105])
  expect(freeTables({ rules, routes, links }, 251, 2)).toEqual([251, 256])
})
