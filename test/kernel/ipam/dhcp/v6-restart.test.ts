/** A keeper of DHCPv6 leases that ends, and the next one on its journal. */
import { describe, expect, test } from 'vitest'
import { Log } from '../../../support/dhcp/journal.ts'
import { type Kea6Options, kea6 } from '../../../support/dhcp/kea6.ts'
import { linkLocal } from '../../../support/dhcp/segment.ts'
import { eventually } from '../../../support/wait.ts'
import { counted, kept, makeKeeper, notedIn, noting } from './node.ts'
import { advertised, defaultRoutes, hasIpv6, ipv6Of, scene6 } from './six.ts'

const leased = async (options: Kea6Options = {}) => {
  const made = await scene6({ router: { dns: ['fd77::53'], search: ['ra.example'] } })
  const { node, segment, container } = made
  const server = await kea6(segment.space, {
    ...{ validLifetime: 600, renew: 300, rebind: 400, rapidCommit: true },
    ...options,
  })
  const conf = made.six({ arpProbe: false })
  const result = await node.add(conf, { container })
  const address = result.ips![0]!.address
  return { ...made, server, result, conf, address, ip: address.split('/')[0]!, call: made.callOf(conf) }
}

/** The next keeper on the same journal, once it has taken over. */
const successor = async (path: string, log = new Log()) => {
  const keeper = makeKeeper(path, { log: noting(log) })
  await keeper.adopt()
  return keeper
}

describe('the next keeper takes over a lease', () => {
  test('that is BOUND: nothing is said, and what routers have said is known', async () => {
    const { keeper, folder, frames, call, server, address, ip, result } = await leased()
    const [before] = await keeper.list()
    await keeper.stop()
    const from = frames.dhcp6().length
    const next = await successor(folder)
    const [after] = await next.list()
    expect(after).toMatchObject({ state: 'BOUND', address, server: before!.server, version: 6 })
    for (const moment of ['renewAt', 'rebindAt', 'expiresAt'] as const)
      expect(Math.abs(after![moment]! - before![moment]!)).toBeLessThan(100)
    const { ips, routes, dns } = await next.check(call)
    expect(ips).toEqual([{ address, gateway: linkLocal }])
    expect(routes).toEqual(result.routes)
    expect(dns).toMatchObject({ nameservers: ['fd77::53'], search: ['ra.example'] })
    // A second ADD tells the same.
    expect(await next.allocate(call)).toMatchObject({ ips: [{ address, gateway: linkLocal }], dns })
    expect(frames.dhcp6()).toHaveLength(from)
    expect(await counted(next, 'adopted')).toBe(1)
    await next.release(call)
    await server.released(ip)
    expect(notedIn(folder)).toEqual([])
  })

  test('that is RENEWING, with a server that is back by then', async () => {
    const { keeper, folder, frames, server, container, address } = await leased({
      ...{ validLifetime: 9, renew: 1, rebind: 5 },
    })
    await server.kill()
    await kept(keeper, ({ state }) => state === 'RENEWING')
    await keeper.stop()
    await server.start()
    const next = await successor(folder)
    await kept(next, ({ state }) => state === 'BOUND')
    await counted(next, 'renewed')
    expect(await ipv6Of(container)).toEqual([address])
    expect(frames.dhcp6('solicit')).toHaveLength(1)
  })

  test('that has ended meanwhile: the address goes, and is asked for again', async () => {
    const { keeper, folder, frames, container, address, ip } = await leased({
      validLifetime: 2,
      renew: 1,
      rebind: 2,
    })
    const { expiresAt } = (await keeper.list())[0]!
    await keeper.stop()
    await eventually('the lease has ended', () => Date.now() > expiresAt! + 20)
    const from = frames.length
    const log = new Log()
    const next = await successor(folder, log)
    await log.waitFor(`error DHCP: ${ip} is not to be used any more: the lease has ended`)
    const asked = await frames.waitFor('a SOLICIT', ({ dhcp6 }) => dhcp6?.type === 'solicit', { from })
    // IA_NA with the address in it (RFC 8415 section 18.2.1): a wish.
    expect(asked.dhcp6!.options.get(3)![0]!.toString('hex')).toContain('fd77000000000000000000000000')
    await kept(next, (lease) => lease.state === 'BOUND' && lease.address === address)
    await hasIpv6(container, [address])
    expect(await defaultRoutes(container)).toMatchObject([advertised])
  })

  test('that was lost: the search goes on, from the router on', async () => {
    const { keeper, folder, server, container } = await leased({ validLifetime: 3, renew: 1, rebind: 2 })
    await server.kill()
    await counted(keeper, 'expired')
    await hasIpv6(container, [])
    await keeper.stop()
    const next = await successor(folder)
    await server.start()
    const { address } = await kept(next, ({ state }) => state === 'BOUND', 20_000)
    await hasIpv6(container, [address!])
  })
})

test('a second ADD of the same attachment tells the lease that it has', async () => {
  const { keeper, call, frames, result } = await leased()
  const from = frames.dhcp6().length
  const again = await keeper.allocate(call)
  expect(again.ips).toMatchObject(result.ips!.map(({ address, gateway }) => ({ address, gateway })))
  expect(again.routes).toEqual(result.routes)
  expect(frames.dhcp6()).toHaveLength(from)
})

test('GC gives back what nobody has any more', async () => {
  const { keeper, server, ip, folder, frames } = await leased()
  await keeper.gc('net', [{ containerId: 'cid-1', ifName: 'eth0' }])
  expect(frames.dhcp6('release')).toEqual([])
  await keeper.gc('net', [])
  await server.released(ip)
  expect(await keeper.list()).toEqual([])
  expect(notedIn(folder)).toEqual([])
})

test('a container that is gone: its lease is given up when it is to be renewed', async () => {
  const { keeper, container, folder } = await leased({ validLifetime: 5, renew: 1, rebind: 3 })
  await container.close()
  await counted(keeper, 'abandoned')
  expect(await keeper.list()).toEqual([])
  expect(notedIn(folder)).toEqual([])
})
