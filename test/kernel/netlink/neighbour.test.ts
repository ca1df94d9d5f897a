import { describe, expect, it } from 'vitest'
import { fdb, link, neighbour, nsid } from '../../../netlink/index.ts'
import { all, place } from './open.ts'

describe('neighbours', () => {
  it('are set, listed as ip shows them, and deleted', async () => {
    const { space, conn } = await place({ ipv6: true })
    const mac = (last: number) => `02:00:00:00:00:${last.toString(16).padStart(2, '0')}`
    await all(
      conn,
      link.add({ name: 'veth0', index: 7, kind: 'veth', data: { peer: { name: 'veth1', index: 8 } } }),
      link.set(7, { up: true }),
      link.set(8, { up: true }),
      neighbour.add({ index: 7, ip: '10.1.2.9', address: mac(9) }),
      neighbour.add({ index: 7, ip: '10.1.2.10', address: mac(10), state: 'stale', flags: { router: true } }),
      neighbour.add({ index: 7, ip: '2001:db8::9', address: mac(11), state: 'reachable' }),
      neighbour.add({ index: 7, ip: '10.1.2.77', proxy: true }),
      neighbour.replace({ index: 7, ip: '10.1.2.9', address: mac(12) }),
    )
    await expect(
      conn.run(neighbour.add({ index: 7, ip: '10.1.2.9', address: mac(1) })),
    ).rejects.toMatchObject({
      code: 'EEXIST',
    })
    const theirs = await space.ipJson<{ dst: string; lladdr: string; state: string[] }>(
      'neigh',
      'show',
      'dev',
      'veth0',
      'nud',
      'all',
    )
    const ours = await conn.run(neighbour.list({ index: 7 }))
    const known = (dst: string) => !dst.startsWith('ff') && !dst.startsWith('224.')
    expect(
      ours
        .filter(({ ip }) => known(ip))
        .map((one) => [one.ip, one.address, String(one.state).toUpperCase()])
        .sort(),
    ).toEqual(
      theirs
        .filter(({ dst }) => known(dst))
        .map(({ dst, lladdr, state }) => [dst, lladdr, state[0]])
        .sort(),
    )
    expect(ours.find(({ ip }) => ip === '10.1.2.9')).toMatchObject({ address: mac(12), state: 'permanent' })
    expect(ours.find(({ ip }) => ip === '10.1.2.10')?.flags).toMatchObject({ router: true, proxy: false })
    expect(await conn.run(neighbour.list({ proxy: true }))).toMatchObject([
      { ip: '10.1.2.77', index: 7, address: undefined, flags: { proxy: true } },
    ])
    expect(
      (await conn.run(neighbour.list({ family: 6, index: 7 }))).every(({ family }) => family === 6),
    ).toBe(true)
    await all(
      conn,
      neighbour.delete({ index: 7, ip: '10.1.2.9' }),
      neighbour.delete({ index: 7, ip: '10.1.2.77', proxy: true }),
    )
    await expect(conn.run(neighbour.delete({ index: 7, ip: '10.1.2.99' }))).rejects.toMatchObject({
      code: 'ENOENT',
    })
    expect(await conn.run(neighbour.list({ proxy: true }))).toEqual([])
  })
})

describe('forwarding entries', () => {
  it('of a bridge and of a VXLAN link', async () => {
    const { space, conn } = await place()
    await all(
      conn,
      link.add({ name: 'br0', index: 10, up: true, kind: 'bridge' }),
      link.add({ name: 'veth0', index: 20, master: 10, kind: 'veth', data: { peer: { name: 'veth1' } } }),
      // A port takes learned entries only while it forwards.
      link.set('veth1', { up: true }),
      link.set(20, { up: true }),
      link.add({ name: 'vx0', index: 30, kind: 'vxlan', data: { id: 42, port: 4789 } }),
      fdb.add({ index: 20, address: '02:00:00:00:00:05', flags: { master: true }, state: 'static' }),
      fdb.replace({ index: 20, address: '02:00:00:00:00:06', flags: { master: true }, state: 'dynamic' }),
      fdb.add({ index: 30, address: '00:00:00:00:00:00', dst: '10.0.0.1' }),
      fdb.append({ index: 30, address: '00:00:00:00:00:00', dst: '10.0.0.2', vni: 43 }),
      fdb.add({ index: 30, address: '02:00:00:00:00:07', dst: '10.0.0.3', state: 'static' }),
    )
    const theirs = await space.bridgeJson<{ mac: string; ifname: string; state: string; dst?: string }>(
      'fdb',
      'show',
    )
    const ours = await conn.run(fdb.list())
    expect(ours.length).toBe(theirs.length)
    const find = (index: number, address: string) =>
      ours.filter((one) => one.index === index && one.address === address && one.vlan === undefined)
    expect(find(20, '02:00:00:00:00:05')).toMatchObject([{ state: 'static', master: 10 }])
    expect(find(20, '02:00:00:00:00:06')).toMatchObject([{ state: 'dynamic', master: 10 }])
    expect(find(30, '00:00:00:00:00:00')).toMatchObject([{ dst: '10.0.0.1' }, { dst: '10.0.0.2', vni: 43 }])
    expect(find(30, '02:00:00:00:00:07')).toMatchObject([{ dst: '10.0.0.3', state: 'static' }])
    expect(theirs.find(({ mac }) => mac === '02:00:00:00:00:05')).toMatchObject({
      ifname: 'veth0',
      state: 'static',
    })
    expect((await conn.run(fdb.list({ master: 10 }))).some(({ index }) => index === 30)).toBe(false)
    await all(conn, fdb.delete({ index: 20, address: '02:00:00:00:00:05', flags: { master: true } }))
    await expect(
      conn.run(fdb.delete({ index: 20, address: '02:00:00:00:00:05', flags: { master: true } })),
    ).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

describe('namespace identifiers', () => {
  it('say which namespace the other end of a pair is in', async () => {
    const here = await place()
    const there = await place()
    expect(await here.conn.run(nsid.get(there.netns))).toBeUndefined()
    await all(here.conn, nsid.set(there.netns, 42))
    expect(await here.conn.run(nsid.get(there.netns))).toBe(42)
    await expect(here.conn.run(nsid.set(there.netns, 43))).rejects.toMatchObject({ code: 'EEXIST' })
    await all(
      here.conn,
      link.add({ name: 'a', kind: 'veth', data: { peer: { name: 'b', netns: there.netns } } }),
    )
    expect(await here.conn.run(link.get('a'))).toMatchObject({ linkNetnsId: 42 })
    // A link above another one, which is in the namespace of the identifier.
    const b = await there.conn.run(link.get('b'))
    await all(
      here.conn,
      link.add({ name: 'mv0', kind: 'macvlan', link: b.index, linkNetnsId: 42, data: { mode: 'bridge' } }),
    )
    expect(await here.conn.run(link.get('mv0'))).toMatchObject({ link: b.index, linkNetnsId: 42 })
  })
})
