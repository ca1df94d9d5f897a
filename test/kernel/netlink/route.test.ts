import { describe, expect, it } from 'vitest'
import { address, link, route } from '../../../netlink/index.ts'
import type { Space } from '../../support/space.ts'
import { all, type Place, place } from './open.ts'

/** A namespace with a link 7 of 10.1.2.3/24 and 2001:db8::1/64, and a link 8. */
const connected = async (): Promise<Place> => {
  const own = await place({ ipv6: true })
  await all(
    own.conn,
    link.add({ name: 'ifb7', index: 7, kind: 'ifb' }),
    link.add({ name: 'ifb8', index: 8, kind: 'ifb' }),
    ...[7, 8].map((index) => link.set(index, { afSpec: { inet6: { addrGenMode: 'none' } } })),
    ...[7, 8].map((index) => link.set(index, { up: true })),
    address.add({ index: 7, address: '10.1.2.3/24' }),
    address.add({ index: 7, address: '2001:db8::1/64', flags: { nodad: true } }),
    address.add({ index: 8, address: '10.8.0.1/24' }),
  )
  return own
}

interface Shown {
  readonly dst: string
  readonly [key: string]: unknown
}
const shown = (space: Space, ...args: string[]): Promise<Shown[]> =>
  space.ipJson<Shown>(
    '-d',
    ...args.slice(0, args[0] === '-6' ? 1 : 0),
    'route',
    'show',
    ...args.slice(args[0] === '-6' ? 1 : 0),
  )

describe('routes', () => {
  it('are made with everything that can be said of them', async () => {
    const { space, conn } = await connected()
    await all(
      conn,
      route.add({ dst: 'default', gateway: '10.1.2.1', index: 7, metrics: { mtu: 1300, advmss: 1260 } }),
      route.add({
        dst: '10.5.0.0/16',
        gateway: '10.1.2.1',
        index: 7,
        preferredSource: '10.1.2.3',
        priority: 100,
        table: 1000,
        protocol: 'static',
        metrics: { mtu: 1400, advmss: 1360, hoplimit: 9, initcwnd: 20, quickack: 1, features: { ecn: true } },
      }),
      route.add({ dst: '10.6.0.0/16', type: 'blackhole', table: 7 }),
      route.add({ dst: '10.7.0.0/16', gateway: '172.16.0.1', index: 7, flags: { onlink: true }, table: 7 }),
      route.add({ dst: '10.8.8.8', index: 8, scope: 'link', protocol: 77, table: 7 }),
      route.add({ dst: '10.9.0.0/16', gateway: '2001:db8::9', index: 7, table: 7 }),
      route.add({
        dst: '2001:db8:5::/48',
        gateway: '2001:db8::2',
        index: 7,
        priority: 5,
        preference: 'high',
        expires: 600,
      }),
    )
    expect(await shown(space, 'default')).toMatchObject([
      {
        dst: 'default',
        gateway: '10.1.2.1',
        dev: 'ifb7',
        protocol: 'boot',
        metrics: [{ mtu: 1300, advmss: 1260 }],
      },
    ])
    expect(await shown(space, 'table', '1000')).toMatchObject([
      {
        dst: '10.5.0.0/16',
        gateway: '10.1.2.1',
        prefsrc: '10.1.2.3',
        metric: 100,
        protocol: 'static',
        metrics: [{ mtu: 1400, advmss: 1360, hoplimit: 9, initcwnd: 20, quickack: 1 }],
      },
    ])
    expect(await shown(space, 'table', '7')).toMatchObject([
      { type: 'blackhole', dst: '10.6.0.0/16' },
      { dst: '10.7.0.0/16', gateway: '172.16.0.1', flags: ['onlink'] },
      { dst: '10.8.8.8', scope: 'link', protocol: '77' },
      { dst: '10.9.0.0/16', via: { family: 'inet6', host: '2001:db8::9' } },
    ])
    expect(await shown(space, '-6', '2001:db8:5::/48')).toMatchObject([
      { gateway: '2001:db8::2', metric: 5, pref: 'high', expires: expect.any(Number) },
    ])
    // And as we list them.
    const ours = await conn.run(route.list({ table: 1000 }))
    expect(ours).toMatchObject([
      {
        dst: '10.5.0.0/16',
        gateway: '10.1.2.1',
        index: 7,
        preferredSource: '10.1.2.3',
        priority: 100,
        table: 1000,
        protocol: 'static',
        metrics: { mtu: 1400, advmss: 1360, hoplimit: 9, initcwnd: 20, quickack: 1, features: { ecn: true } },
        unknown: [],
      },
    ])
    expect(await conn.run(route.list({ table: 7 }))).toMatchObject([
      { dst: '10.6.0.0/16', type: 'blackhole', index: undefined },
      { dst: '10.7.0.0/16', flags: { onlink: true } },
      { dst: '10.8.8.8/32', scope: 'link', protocol: 77 },
      { dst: '10.9.0.0/16', gateway: '2001:db8::9' },
    ])
    const [expiring] = await conn.run(route.list({ dst: '2001:db8:5::/48' }))
    expect(expiring).toMatchObject({ preference: 'high', priority: 5, expires: expect.any(Number) })
    expect(expiring!.expires).toBeGreaterThan(500)
    expect(expiring!.expires).toBeLessThanOrEqual(600)
  })

  it('go several ways', async () => {
    const { space, conn } = await connected()
    const nexthops = [
      { gateway: '10.1.2.1', index: 7 },
      { gateway: '10.8.0.9', index: 8, weight: 5 },
    ]
    await all(conn, route.add({ dst: '10.5.0.0/16', nexthops }))
    expect(await shown(space, '10.5.0.0/16')).toMatchObject([
      {
        nexthops: [
          { gateway: '10.1.2.1', weight: 1 },
          { gateway: '10.8.0.9', weight: 5 },
        ],
      },
    ])
    expect(await conn.run(route.list({ dst: '10.5.0.0/16' }))).toMatchObject([{ nexthops }])
    // Found by either of its links, not by another.
    expect(await conn.run(route.list({ dst: '10.5.0.0/16', index: 8 }))).toHaveLength(1)
    expect(await conn.run(route.list({ dst: '10.5.0.0/16', index: 1 }))).toHaveLength(0)
    await all(conn, route.delete({ dst: '10.5.0.0/16', nexthops }))
    expect(await shown(space, '10.5.0.0/16')).toEqual([])
  })

  it('meet others as their mode says', async () => {
    const { space, conn } = await connected()
    const via = (host: number, mode?: route.RouteMode, dst = '10.5.0.0/16') =>
      route.add({ dst, gateway: `10.1.2.${host}`, index: 7, mode })
    const gateways = async () => (await shown(space, '10.5.0.0/16')).map(({ gateway }) => gateway)
    await all(conn, via(10))
    await expect(conn.run(via(11))).rejects.toMatchObject({ code: 'EEXIST' })
    await all(conn, via(11, 'create'))
    expect(await gateways()).toEqual(['10.1.2.11', '10.1.2.10'])
    await all(conn, via(12, 'append'))
    expect(await gateways()).toEqual(['10.1.2.11', '10.1.2.10', '10.1.2.12'])
    await expect(conn.run(via(12, 'create'))).rejects.toMatchObject({ code: 'EEXIST' })
    await all(conn, via(13, 'replace'))
    expect(await gateways()).toEqual(['10.1.2.13', '10.1.2.10', '10.1.2.12'])
    await all(conn, via(14, 'change'))
    expect(await gateways()).toEqual(['10.1.2.14', '10.1.2.10', '10.1.2.12'])
    await expect(conn.run(via(14, 'change', '10.55.0.0/16'))).rejects.toMatchObject({ code: 'ENOENT' })
    // IPv6 joins them to one.
    const via6 = (host: number, mode: route.RouteMode) =>
      route.add({ dst: '2001:db8:5::/48', gateway: `2001:db8::${host}`, index: 7, mode })
    await all(conn, via6(10, 'create'), via6(11, 'create'))
    expect(await conn.run(route.list({ dst: '2001:db8:5::/48' }))).toMatchObject([
      { nexthops: [{ gateway: '2001:db8::10' }, { gateway: '2001:db8::11' }] },
    ])
  })

  it('are deleted by what is said of them', async () => {
    const { space, conn } = await connected()
    await all(
      conn,
      route.add({ dst: '10.5.0.0/16', gateway: '10.1.2.1', index: 7, table: 1000, priority: 5 }),
      route.add({ dst: '10.6.0.0/16', type: 'unreachable' }),
      route.add({ dst: '10.7.0.0/16', index: 8, scope: 'link' }),
    )
    await expect(conn.run(route.delete({ dst: '10.5.0.0/16' }))).rejects.toMatchObject({ code: 'ESRCH' })
    await expect(
      conn.run(route.delete({ dst: '10.5.0.0/16', table: 1000, priority: 6 })),
    ).rejects.toMatchObject({
      code: 'ESRCH',
    })
    await all(
      conn,
      route.delete({ dst: '10.5.0.0/16', table: 1000 }),
      route.delete({ dst: '10.6.0.0/16' }),
      route.delete({ dst: '10.7.0.0/16', index: 8 }),
    )
    expect((await shown(space, 'table', 'main')).map(({ dst }) => dst)).toEqual([
      '10.1.2.0/24',
      '10.8.0.0/24',
    ])
  })

  it('are refused with a reason', async () => {
    const { conn } = await connected()
    const tried = (options: route.RouteOptions) => expect(conn.run(route.add(options))).rejects
    await tried({ dst: '10.5.0.0/16', gateway: '172.16.0.1' }).toMatchObject({ code: 'ENETUNREACH' })
    await tried({ dst: '10.5.0.0/16', index: 99 }).toMatchObject({ code: 'ENODEV' })
    await all(conn, link.set(8, { up: false }))
    await tried({ dst: '10.5.0.0/16', index: 8 }).toMatchObject({ code: 'ENETDOWN' })
  })

  it('are listed by family, table, link, destination, protocol and type', async () => {
    const { space, conn } = await connected()
    await all(
      conn,
      route.add({ dst: 'default', gateway: '10.1.2.1', index: 7, protocol: 'static' }),
      route.add({ dst: 'default', gateway: '2001:db8::2', index: 7 }),
      route.add({ dst: '10.6.0.0/16', type: 'prohibit', table: 77 }),
    )
    const listed = async (filter: route.RouteFilter) =>
      (await conn.run(route.list(filter))).map(({ dst }) => dst)
    expect(await listed({ dst: 'default' })).toEqual(['0.0.0.0/0', '::/0'])
    expect(await listed({ dst: 'default', family: 6 })).toEqual(['::/0'])
    expect(await listed({ dst: '0.0.0.0/0' })).toEqual(['0.0.0.0/0'])
    expect(await listed({ family: 4, table: 'main' })).toEqual(['0.0.0.0/0', '10.1.2.0/24', '10.8.0.0/24'])
    expect(await listed({ family: 4, table: 'main', index: 8 })).toEqual(['10.8.0.0/24'])
    expect(await listed({ protocol: 'static' })).toEqual(['0.0.0.0/0'])
    expect(await listed({ type: 'prohibit' })).toEqual(['10.6.0.0/16'])
    expect(await listed({ dst: '10.1.2.99/24' })).toEqual(['10.1.2.0/24'])
    await expect(conn.run(route.list({ family: 4, table: 4242 }))).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(conn.run(route.list({ index: 4242 }))).rejects.toMatchObject({ code: 'ENODEV' })
    // As many as ip has, in all tables.
    const theirs = await shown(space, 'table', 'all')
    expect(await conn.run(route.list())).toHaveLength(theirs.length)
  })

  it('are looked up', async () => {
    const { space, conn } = await connected()
    await all(
      conn,
      route.add({ dst: '10.5.0.0/16', gateway: '10.1.2.1', index: 7, metrics: { mtu: 1400 } }),
      route.add({ dst: '2001:db8:5::/48', gateway: '2001:db8::2', index: 7 }),
      route.add({ dst: '10.6.0.0/16', type: 'unreachable' }),
    )
    const [theirs] = await space.ipJson('route', 'get', '10.5.6.7')
    expect(theirs).toMatchObject({ dst: '10.5.6.7', gateway: '10.1.2.1', dev: 'ifb7', prefsrc: '10.1.2.3' })
    expect(await conn.run(route.get('10.5.6.7'))).toMatchObject({
      dst: '10.5.6.7/32',
      gateway: '10.1.2.1',
      index: 7,
      preferredSource: '10.1.2.3',
      table: 254,
      metrics: { mtu: 1400 },
    })
    expect(await conn.run(route.get('10.5.6.7', { fibMatch: true }))).toMatchObject({ dst: '10.5.0.0/16' })
    expect(await conn.run(route.get('2001:db8:5::9'))).toMatchObject({ gateway: '2001:db8::2', index: 7 })
    expect(await conn.run(route.get('2001:db8:5::9', { fibMatch: true }))).toMatchObject({
      dst: '2001:db8:5::/48',
    })
    expect(await conn.run(route.get('10.5.6.7', { from: '10.1.2.3', index: 7 }))).toMatchObject({ index: 7 })
    await expect(conn.run(route.get('172.16.0.1'))).rejects.toMatchObject({ code: 'ENETUNREACH' })
    await expect(conn.run(route.get('10.6.0.1'))).rejects.toMatchObject({ code: 'EHOSTUNREACH' })
  })
})
