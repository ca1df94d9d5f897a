/** A keeper that ends, and the next one on its journal. */
import { writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { type Entry, Journal } from '../../../../ipam/dhcp/journal.ts'
import { dnsmasq } from '../../../support/dhcp/dnsmasq.ts'
import { Log } from '../../../support/dhcp/journal.ts'
import { type Kea4Options, kea4 } from '../../../support/dhcp/kea4.ts'
import { eventually } from '../../../support/wait.ts'
import { counted, hasIpv4, ipv4Of, keeperNode, kept, makeKeeper, notedIn, noting, routesOf } from './node.ts'
import { grant, listen, scripted } from './wire.ts'

const ipOf = (address: string): string => address.split('/')[0]!

const leased = async (options: Kea4Options = {}) => {
  const scene = await keeperNode()
  const { node, segment, conf } = scene
  const [server, ear, container] = await Promise.all([
    kea4(segment.space, { leaseTime: 5, renew: 1, rebind: 3, routers: ['10.77.0.1'], ...options }),
    listen(segment),
    node.host.container(),
  ])
  const result = await node.add(conf({ arpProbe: false }), { container })
  const call = {
    ...{ containerId: 'cid-1', ifName: 'eth0', netns: container.path, args: '' },
    conf: { name: 'net', ...conf({ arpProbe: false }) },
  }
  return { ...scene, server, ear, container, call, address: result.ips![0]!.address }
}

/** The next keeper on the same journal, once it has taken over. */
const successor = async (path: string, log = new Log()) => {
  const keeper = makeKeeper(path, { log: noting(log) })
  await keeper.adopt()
  return keeper
}

describe('the next keeper takes over a lease', () => {
  test('that is BOUND: nothing is said to the server before its time, and then it is renewed', async () => {
    const { keeper, folder, ear, container, address, server, call } = await leased({
      renew: 2,
      leaseTime: 6,
      rebind: 4,
    })
    const [before] = await keeper.list()
    await keeper.stop()
    expect(ear.of('RELEASE')).toEqual([])
    const from = ear.length
    const next = await successor(folder)
    expect(await next.list()).toMatchObject([{ state: 'BOUND', address, server: '10.77.0.1' }])
    const [after] = await next.list()
    for (const moment of ['renewAt', 'rebindAt', 'expiresAt'] as const)
      expect(Math.abs(after![moment]! - before![moment]!)).toBeLessThan(100)
    expect(await next.check(call)).toMatchObject({ ips: [{ address }] })
    await kept(next, ({ expiresAt }) => expiresAt! > before!.expiresAt!)
    expect(ear.all.slice(from).every(({ type }) => type === 'REQUEST')).toBe(true)
    expect(await ipv4Of(container)).toEqual([address])
    expect(await counted(next, 'adopted')).toBe(1)
    await next.release(call)
    await server.released(ipOf(address))
    expect(notedIn(folder)).toEqual([])
  })

  test.each(['RENEWING', 'REBINDING'])('that is %s', async (state) => {
    const { keeper, folder, server, ear, container, address } = await leased()
    await server.kill()
    await kept(keeper, (lease) => lease.state === state)
    await keeper.stop()
    const from = ear.length
    const next = await successor(folder)
    expect(await next.list()).toMatchObject([{ address }])
    await server.start()
    await ear.next('REQUEST', { from })
    await kept(next, (lease) => lease.state === 'BOUND')
    expect(await ipv4Of(container)).toEqual([address])
    expect(ear.of('DISCOVER')).toHaveLength(1)
  })

  test('that has been lost: the search goes on, and what comes of it is given to the interface', async () => {
    const { keeper, folder, server, container } = await leased({ leaseTime: 3, rebind: 2 })
    await server.kill()
    await counted(keeper, 'expired')
    await hasIpv4(container, [])
    await keeper.stop()
    expect(notedIn(folder)).toHaveLength(1)
    const next = await successor(folder)
    expect(await next.list()).toMatchObject([{ state: 'SELECTING' }])
    await server.start()
    const { address } = await kept(next, ({ state }) => state === 'BOUND')
    await hasIpv4(container, [address!])
    await eventually('its route is there', async () => (await routesOf(container)).length > 0)
  })
})

describe('a lease that ended while nobody kept it', () => {
  /** A server that gives leases of two seconds, and tells what it is asked afterwards. */
  const lapsed = async (second: 'ACK' | 'NAK' | 'silence') => {
    const scene = await keeperNode({ firstTimeout: 200 })
    const { node, segment, conf, keeper, folder } = scene
    let ip = '10.77.0.40'
    let later = false
    const ear = await scripted(segment, ({ type, message: { options, ciaddr } }) => {
      const reboots = type === 'REQUEST' && ciaddr === '0.0.0.0' && options.has(50) && !options.has(54)
      if (later && second === 'silence') return undefined
      if (reboots && second === 'NAK') return { messageType: 'NAK', serverId: '10.77.0.1' }
      const timers = later ? { leaseTime: 600 } : { leaseTime: 2, renewalTime: 1 }
      if (type === 'DISCOVER') return grant('OFFER', ip, timers)
      return type === 'REQUEST' ? grant('ACK', ip, timers) : undefined
    })
    const container = await node.host.container()
    await node.add(conf({ arpProbe: false }), { container })
    const [before] = await keeper.list()
    await keeper.stop()
    await eventually('the lease has ended', () => Date.now() > before!.expiresAt! + 20)
    later = true
    if (second === 'NAK') ip = '10.77.0.41'
    const from = ear.length
    const log = new Log()
    const next = await successor(folder, log)
    const asked = await ear.next('REQUEST', { from })
    return { ...scene, next, container, ear, from, asked, nextLog: log }
  }

  test('is asked for once more (INIT-REBOOT), and stays', async () => {
    const { next, container, asked, ear, from } = await lapsed('ACK')
    // The address, no server and no ciaddr: table 5 of RFC 2131.
    expect(asked).toMatchObject({ source: '0.0.0.0', destination: '255.255.255.255' })
    expect(asked.message.ciaddr).toBe('0.0.0.0')
    expect(asked.message.options.get(50)).toEqual(Uint8Array.of(10, 77, 0, 40))
    expect(asked.message.options.has(54)).toBe(false)
    await kept(next, ({ state, address }) => state === 'BOUND' && address === '10.77.0.40/24')
    expect(await ipv4Of(container)).toEqual(['10.77.0.40/24'])
    expect(ear.all.slice(from).map(({ type }) => type)).toEqual(['REQUEST'])
  })

  test('is another one where the server says no', async () => {
    const { next, container } = await lapsed('NAK')
    await kept(next, ({ state, address }) => state === 'BOUND' && address === '10.77.0.41/24')
    await hasIpv4(container, ['10.77.0.41/24'])
  })

  test('is gone from the interface where nobody answers', async () => {
    const { next, container, nextLog } = await lapsed('silence')
    await hasIpv4(container, [])
    await nextLog.waitFor('10.77.0.40 is not to be used any more: the lease has ended')
    await kept(next, ({ state, address }) => state === 'SELECTING' && address === undefined)
  })
})

describe('a lease that nobody can use is forgotten', () => {
  test('the namespace is gone', async () => {
    const { keeper, folder, container } = await leased()
    await keeper.stop()
    await container.close()
    const log = new Log()
    const next = await successor(folder, log)
    expect(await next.list()).toEqual([])
    expect(notedIn(folder)).toEqual([])
    await log.waitFor(/info DHCP: a lease is forgotten: the namespace .* is gone/)
    expect(await counted(next, 'abandoned')).toBe(1)
  })

  test('the interface is gone', async () => {
    const { keeper, folder, container } = await leased()
    await keeper.stop()
    await container.ip('link', 'del', 'eth0')
    const log = new Log()
    expect(await (await successor(folder, log)).list()).toEqual([])
    expect(notedIn(folder)).toEqual([])
    await log.waitFor('has no interface eth0')
  })

  test('another interface has its name', async () => {
    const { keeper, folder, container } = await leased()
    await keeper.stop()
    await container.ip('link', 'del', 'eth0')
    await container.ip('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth1')
    expect(await (await successor(folder)).list()).toEqual([])
    expect(notedIn(folder)).toEqual([])
  })

  test('another namespace is under its path', async () => {
    const { keeper, folder, container, node } = await leased()
    await keeper.stop()
    const other = await node.host.container('red')
    const journal = new Journal(folder)
    const [entry] = journal.list()
    journal.remove(entry!)
    journal.write({ ...entry!, netns: other.path })
    const log = new Log()
    expect(await (await successor(folder, log)).list()).toEqual([])
    expect(notedIn(folder)).toEqual([])
    await log.waitFor('is another namespace now')
    expect(await ipv4Of(container)).toHaveLength(1)
  })

  test('while a keeper runs: at the next message, and no descriptor keeps the namespace alive', async () => {
    const { keeper, folder, container, server, log, node } = await leased({ leaseTime: 3, rebind: 2 })
    await server.kill()
    // It has its socket open, and would not come to look at the interface any more.
    await kept(keeper, ({ state }) => state === 'SELECTING')
    await hasIpv4(container, [])
    await container.close()
    await log.waitFor(/warn DHCP: a lease is given up/)
    expect(await keeper.list()).toEqual([])
    expect(notedIn(folder)).toEqual([])
    await eventually('the macvlan link went with its namespace', async () =>
      (await node.host.must('ip', ['-d', 'link', 'show', 'lan'])).includes('promiscuity 0'),
    )
  })
})

test('an interface that was renamed is still the same', async () => {
  const { keeper, folder, container, address } = await leased({ leaseTime: 60, renew: 30, rebind: 50 })
  await keeper.stop()
  await container.ip('link', 'set', 'eth0', 'name', 'net7')
  const next = await successor(folder)
  expect(await next.list()).toMatchObject([{ address, state: 'BOUND' }])
})

test('an offer that nobody has used yet is given back', async () => {
  const { node, segment, conf, keeper, folder } = await keeperNode()
  // The acknowledgement does not come: as if the keeper were killed while it waits.
  const ear = await scripted(segment, ({ type }) =>
    type === 'DISCOVER' ? grant('OFFER', '10.77.0.50') : undefined,
  )
  const container = await node.host.container()
  await segment.plug(container, 'eth0')
  const call = { containerId: 'cid-1', ifName: 'eth0', netns: container.path, args: '' }
  const added = keeper.allocate({ ...call, conf: { name: 'net', ...conf() } }).catch(() => {})
  await ear.next('REQUEST')
  const [entry] = new Journal(folder).list()
  expect(entry).toMatchObject({ used: false, lease: null, offer: { address: '10.77.0.50' } })
  await keeper.stop()
  await added
  await ear.next('RELEASE')
  expect(notedIn(folder)).toEqual([])
  // What a kill leaves.
  new Journal(folder).write(entry!)
  const from = ear.length
  const next = await successor(folder)
  expect(await ear.next('RELEASE', { from })).toMatchObject({
    source: '10.77.0.50',
    destination: '10.77.0.1',
  })
  expect(await next.list()).toEqual([])
  expect(notedIn(folder)).toEqual([])
})

test('what a killed keeper did not come to do to the interface is done by the next one', async () => {
  const { keeper, folder, container, address, server } = await leased({
    leaseTime: 600,
    renew: 300,
    rebind: 400,
  })
  await keeper.stop()
  const journal = new Journal(folder)
  const [entry] = journal.list()
  // A renewal with another router, noted but not applied.
  const changed = { ...entry!.lease!, routers: ['10.77.0.9'] }
  journal.write({ ...entry!, lease: changed, applied: entry!.lease } as Entry)
  const next = await successor(folder)
  await eventually(
    'the route is the new one',
    async () => (await routesOf(container)).join() === 'default via 10.77.0.9',
  )
  expect(await ipv4Of(container)).toEqual([address])
  await eventually('that is noted', () => journal.list()[0]!.applied === undefined)
  await next.stop()
  // An expiry, noted but not applied; no server has anything else.
  await server.kill()
  journal.write({ ...journal.list()[0]!, lease: null, applied: changed } as Entry)
  await successor(folder)
  await hasIpv4(container, [])
})

test('a journal with rubbish in it, or none, is no obstacle', async () => {
  const { keeper, folder, address } = await leased({ leaseTime: 60, renew: 30, rebind: 50 })
  await keeper.stop()
  const name = (digit: string) => `${folder}/${digit.repeat(40)}.json`
  writeFileSync(name('a'), '{"format":1')
  writeFileSync(name('b'), '')
  writeFileSync(name('c'), JSON.stringify({ format: 2 }))
  writeFileSync(`${folder}/lock`, '')
  const next = await successor(folder)
  expect(await next.list()).toMatchObject([{ address }])
  await next.stop()
  await rm(folder, { recursive: true })
  expect(await (await successor(folder)).list()).toEqual([])
})

test('leases of dnsmasq too: stop and start in the middle of their time', async () => {
  const { node, segment, conf, keeper, folder } = await keeperNode()
  const server = await dnsmasq(segment.space)
  const container = await node.host.container()
  const result = await node.add(conf(), { container })
  await keeper.stop()
  const next = await successor(folder)
  const call = { containerId: 'cid-1', ifName: 'eth0', netns: container.path, args: '' }
  await next.release({ ...call, conf: { name: 'net', ...conf() } })
  await server.released(ipOf(result.ips![0]!.address))
})
