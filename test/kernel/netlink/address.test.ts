import { describe, expect, it } from 'vitest'
import { address, link, waitForAddress } from '../../../netlink/index.ts'
import type { Space } from '../../support/space.ts'
import { all, place } from './open.ts'

/** What `ip -j -d address show` says of each address. */
interface Shown {
  readonly family: string
  readonly local: string
  readonly address?: string
  readonly prefixlen: number
  readonly broadcast?: string
  readonly scope: string
  readonly label?: string
  readonly valid_life_time: number
  readonly preferred_life_time: number
  readonly metric?: number
  readonly nodad?: boolean
  readonly noprefixroute?: boolean
  readonly secondary?: boolean
  readonly dynamic?: boolean
}
const shown = async (space: Space, name: string): Promise<readonly Shown[]> => {
  const [found] = await space.ipJson<{ addr_info: Shown[] }>('-d', 'address', 'show', 'dev', name)
  return found?.addr_info ?? []
}

describe('addresses', () => {
  it('are listed at the end of a datagram of other requests, however many they are', async () => {
    const { conn } = await place()
    const many = Array.from({ length: 1500 }, (_, i) =>
      address.add({ index: 7, address: `10.${i >> 8}.${i & 255}.1/24` }),
    )
    await all(conn, link.add({ name: 'ifb7', index: 7, kind: 'ifb' }), ...many)
    const [renamed, seen, missing, listed] = await conn.batch([
      link.set(7, { name: 'ifb8' }),
      link.get(7),
      link.get('ifb7'),
      address.list({ index: 7 }),
    ])
    expect(renamed.ok).toBe(true)
    expect(seen).toMatchObject({ ok: true, value: { name: 'ifb8' } })
    expect(missing).toMatchObject({ ok: false, code: 'ENODEV' })
    expect(listed.ok && listed.value.length).toBe(1500)
    expect(await conn.run(address.list({ index: 7 }))).toEqual(listed.ok && listed.value)
  })

  it('are set, listed as ip shows them, and taken away', async () => {
    const { space, conn } = await place({ ipv6: true })
    await all(
      conn,
      link.add({ name: 'ifb7', index: 7, up: true, kind: 'ifb' }),
      link.set(7, { afSpec: { inet6: { addrGenMode: 'none' } } }),
      link.set(7, { up: false }),
      link.set(7, { up: true }),
      address.add({ index: 7, address: '10.1.2.3/24', broadcast: 'auto', label: 'ifb7:web', metric: 50 }),
      address.add({ index: 7, address: '10.2.2.4/24', flags: { noprefixroute: true }, scope: 'link' }),
      address.add({
        index: 7,
        address: '10.9.0.1',
        peer: '10.9.0.2/31',
        validLifetime: 4000,
        preferredLifetime: 2000,
      }),
      address.add({ index: 7, address: '2001:db8::1/64', flags: { nodad: true, noprefixroute: true } }),
      address.add({
        index: 7,
        address: '2001:db8:1::1',
        peer: '2001:db8:1::2/126',
        flags: { nodad: true },
        metric: 77,
      }),
    )
    const theirs = await shown(space, 'ifb7')
    expect(
      theirs.map((one) => [one.local, one.address, one.prefixlen, one.broadcast, one.label, one.scope]),
    ).toEqual([
      // The kernel puts narrow scopes first.
      ['10.2.2.4', undefined, 24, undefined, 'ifb7', 'link'],
      ['10.1.2.3', undefined, 24, '10.1.2.255', 'ifb7:web', 'global'],
      ['10.9.0.1', '10.9.0.2', 31, undefined, 'ifb7', 'global'],
      ['2001:db8:1::1', '2001:db8:1::2', 126, undefined, undefined, 'global'],
      ['2001:db8::1', undefined, 64, undefined, undefined, 'global'],
    ])
    const ours = await conn.run(address.list({ index: 7 }))
    expect(ours).toHaveLength(theirs.length)
    for (const [i, one] of ours.entries()) {
      const other = theirs[i]!
      const life = (seconds: number) => (seconds === 0xffff_ffff ? Number.POSITIVE_INFINITY : seconds)
      expect(one).toMatchObject({
        index: 7,
        family: other.family === 'inet' ? 4 : 6,
        ip: other.local,
        peer: other.address === undefined ? undefined : `${other.address}/${other.prefixlen}`,
        prefixLength: other.prefixlen,
        broadcast: other.broadcast,
        label: other.label,
        scope: other.scope,
        metric: other.metric,
        preferredLifetime: life(other.preferred_life_time),
        validLifetime: life(other.valid_life_time),
        unknown: [],
      })
      expect(one.flags.nodad).toBe(other.nodad ?? false)
      expect(one.flags.noprefixroute).toBe(other.noprefixroute ?? false)
      expect(one.flags.secondary).toBe(other.secondary ?? false)
      expect(one.flags.permanent).toBe(other.valid_life_time === 0xffff_ffff)
    }
    expect(ours.map((one) => one.address)).toEqual([
      '10.2.2.4/24',
      '10.1.2.3/24',
      '10.9.0.1/32',
      '2001:db8:1::1/128',
      '2001:db8::1/64',
    ])
    // What was listed can be deleted by what it says.
    await all(
      conn,
      ...ours.map(({ index, ip, prefixLength, peer }) =>
        address.delete(peer ? { index, address: ip, peer } : { index, address: `${ip}/${prefixLength}` }),
      ),
    )
    expect(await shown(space, 'ifb7')).toEqual([])
  })

  it('are refused with a reason', async () => {
    const { conn } = await place()
    await all(
      conn,
      link.add({ name: 'ifb7', index: 7, up: true, kind: 'ifb' }),
      address.add({ index: 7, address: '10.1.2.3/24' }),
    )
    const tried = (request: ReturnType<typeof address.add>) => expect(conn.run(request)).rejects
    await tried(address.add({ index: 7, address: '10.1.2.3/24' })).toMatchObject({
      code: 'EEXIST',
      op: 'add address 10.1.2.3/24 of link 7',
    })
    await tried(address.add({ index: 99, address: '10.1.2.3/24' })).toMatchObject({ code: 'ENODEV' })
    await tried(address.delete({ index: 7, address: '10.1.2.4/24' })).toMatchObject({ code: 'EADDRNOTAVAIL' })
    await tried(address.delete({ index: 7, address: '10.1.2.3/16' })).toMatchObject({ code: 'EADDRNOTAVAIL' })
    // IPv6 is off here.
    await tried(address.add({ index: 7, address: '2001:db8::1/64' })).toMatchObject({ code: 'EACCES' })
    await expect(conn.run(address.list({ index: 99 }))).rejects.toMatchObject({ code: 'ENODEV' })
  })

  it('are replaced: new flags, lifetimes and metric', async () => {
    const { space, conn } = await place()
    await all(
      conn,
      link.add({ name: 'ifb7', index: 7, up: true, kind: 'ifb' }),
      address.replace({ index: 7, address: '10.1.2.3/24' }),
      address.replace({ index: 7, address: '10.1.2.3/24', validLifetime: 4000, metric: 9 }),
    )
    const [one, ...more] = await shown(space, 'ifb7')
    expect(more).toEqual([])
    expect(one).toMatchObject({ local: '10.1.2.3', metric: 9, dynamic: true })
    expect(one!.valid_life_time).toBeLessThanOrEqual(4000)
  })

  it('are listed by link and by family', async () => {
    const { conn } = await place({ ipv6: true })
    await all(
      conn,
      link.add({ name: 'ifb6', index: 6, kind: 'ifb' }),
      link.add({ name: 'ifb7', index: 7, kind: 'ifb' }),
      address.add({ index: 6, address: '10.1.6.3/24' }),
      address.add({ index: 7, address: '10.1.7.3/24' }),
      address.add({ index: 7, address: '2001:db8::1/64', flags: { nodad: true } }),
    )
    const listed = async (filter?: address.AddressFilter) =>
      (await conn.run(address.list(filter))).map((one) => one.address)
    expect(await listed()).toEqual(['10.1.6.3/24', '10.1.7.3/24', '2001:db8::1/64'])
    expect(await listed({ index: 7 })).toEqual(['10.1.7.3/24', '2001:db8::1/64'])
    expect(await listed({ index: 7, family: 6 })).toEqual(['2001:db8::1/64'])
    expect(await listed({ family: 4 })).toEqual(['10.1.6.3/24', '10.1.7.3/24'])
    expect(await listed({ index: 1 })).toEqual([])
  })

  it('of IPv6 are tentative until nobody objected, and fail where somebody does', async () => {
    const one = await place({ ipv6: true })
    const two = await place({ ipv6: true })
    const at = (index: number) => address.add({ index, address: '2001:db8::1/64' })
    await all(
      one.conn,
      link.add({
        name: 'eth0',
        index: 7,
        kind: 'veth',
        data: { peer: { name: 'eth0', index: 8, netns: two.netns } },
      }),
    )
    for (const [conn, index] of [
      [one.conn, 7],
      [two.conn, 8],
    ] as const)
      await all(
        conn,
        link.set(index, { afSpec: { inet6: { addrGenMode: 'none' } } }),
        link.set(index, { up: true }),
      )
    await all(one.conn, at(7))
    const [started] = await one.conn.run(address.list({ index: 7 }))
    expect(started!.flags.tentative).toBe(true)
    const settled = await waitForAddress(one.netns, 7, (all) => !all.some(({ flags }) => flags.tentative), {
      timeout: 10_000,
    })
    expect(settled).toMatchObject([{ address: '2001:db8::1/64', flags: { dadfailed: false } }])
    await all(two.conn, at(8))
    const failed = await waitForAddress(two.netns, 8, (all) => all.some(({ flags }) => flags.dadfailed), {
      timeout: 10_000,
    })
    expect(failed).toMatchObject([{ flags: { dadfailed: true, tentative: true } }])
  })
})
