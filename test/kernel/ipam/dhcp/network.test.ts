/** What networks do to messages, and what servers may do that most do not. */
import { describe, expect, test } from 'vitest'
import { dnsmasq } from '../../../support/dhcp/dnsmasq.ts'
import { kea4 } from '../../../support/dhcp/kea4.ts'
import { space } from '../../../support/space.ts'
import { eventually } from '../../../support/wait.ts'
import { linkOf } from '../../plugins/node.ts'
import { counted, ipv4Of, keeperNode } from './node.ts'
import { type Answer, grant, type Heard, listen, scripted } from './wire.ts'

describe('an address that another host has', () => {
  test('is declined, and another one is taken', async () => {
    const { node, segment, conf, keeper, log } = await keeperNode()
    const [server, ear] = await Promise.all([
      kea4(segment.space, {
        leaseTime: 60,
        // In this order, and the first is taken.
        pools: [['10.77.0.60', '10.77.0.61']],
      }),
      listen(segment),
    ])
    await segment.space.ip('addr', 'add', '10.77.0.60/24', 'dev', 'lan0')
    const container = await node.host.container()
    const result = await node.add(conf(), { container })
    expect(result.ips).toMatchObject([{ address: '10.77.0.61/24' }])
    expect((await ear.next('DECLINE')).message.options.get(50)).toEqual(Uint8Array.of(10, 77, 0, 60))
    await server.lease(({ address, state }) => address === '10.77.0.60' && state === 'declined')
    await log.waitFor('gave 10.77.0.60, which another host on the link uses')
    expect(await counted(keeper, 'declined')).toBe(1)
    expect(await ipv4Of(container)).toEqual(['10.77.0.61/24'])
  })

  test('is not even asked for with arpProbe false', async () => {
    const { node, segment, conf } = await keeperNode()
    await kea4(segment.space, { leaseTime: 60, pools: [['10.77.0.60', '10.77.0.61']] })
    await segment.space.ip('addr', 'add', '10.77.0.60/24', 'dev', 'lan0')
    const container = await node.host.container()
    const result = await node.add(conf({ arpProbe: false }), { container })
    expect(result.ips).toMatchObject([{ address: '10.77.0.60/24' }])
  })
})

test('two servers: one is chosen, and the other is told by the choice', async () => {
  const { node, segment, conf, keeper } = await keeperNode()
  await segment.space.ip('addr', 'add', '10.77.0.2/24', 'dev', 'lan0')
  const ear = await scripted(segment, (heard) => {
    const one = { serverId: '10.77.0.1' }
    const two = { serverId: '10.77.0.2' }
    if (heard.type === 'DISCOVER')
      return [grant('OFFER', '10.77.0.21', one), grant('OFFER', '10.77.0.22', two)]
    // The one that was not chosen is wrong to answer at all; it is not listened to.
    if (heard.type === 'REQUEST')
      return [
        { messageType: 'NAK', ...two },
        grant('ACK', '10.77.0.22', two),
        grant('ACK', '10.77.0.21', one),
      ]
    return undefined
  })
  const container = await node.host.container()
  const result = await node.add(conf({ arpProbe: false }), { container })
  expect(result.ips).toMatchObject([{ address: '10.77.0.21/24' }])
  expect(ear.of('REQUEST')).toHaveLength(1)
  expect(ear.of('REQUEST')[0]!.message.options.get(54)).toEqual(Uint8Array.of(10, 77, 0, 1))
  expect(await keeper.list()).toMatchObject([{ server: '10.77.0.1' }])
})

test('two real servers on one segment', async () => {
  const { node, segment, conf, keeper } = await keeperNode()
  const second = await space()
  await segment.plug(second, 'lan0')
  await second.ip('addr', 'add', '10.77.0.2/24', 'dev', 'lan0')
  const [kea, masq] = await Promise.all([
    kea4(segment.space, { pools: [['10.77.0.20', '10.77.0.29']], leaseTime: 600 }),
    dnsmasq(second, { range: ['10.77.0.30', '10.77.0.39'] }),
  ])
  const container = await node.host.container()
  const result = await node.add(conf(), { container })
  const [lease] = await keeper.list()
  const ip = lease!.address!.split('/')[0]!
  const holders = [...kea.leases(), ...masq.leases()].filter(({ address }) => address === ip)
  expect(holders).toHaveLength(1)
  expect(lease!.server).toBe(ip < '10.77.0.30' ? '10.77.0.1' : '10.77.0.2')
  await node.del(conf(), { container, prevResult: result })
  await (ip < '10.77.0.30' ? kea : masq).released(ip)
})

/** A server that gives one address, but loses the first so many messages of each type. */
const lossy = (lost: number) => {
  const counts = new Map<string, number>()
  return ({ type }: Heard): Answer | undefined => {
    const count = (counts.get(type) ?? 0) + 1
    counts.set(type, count)
    if (count <= lost) return undefined
    if (type === 'DISCOVER') return grant('OFFER', '10.77.0.50')
    if (type === 'REQUEST') return grant('ACK', '10.77.0.50')
    return undefined
  }
}

test('lost messages are sent again, later and later', async () => {
  const { node, segment, conf } = await keeperNode({ firstTimeout: 100 })
  const ear = await scripted(segment, lossy(2))
  const container = await node.host.container()
  const result = await node.add(conf({ arpProbe: false }), { container })
  expect(result.ips).toMatchObject([{ address: '10.77.0.50/24' }])
  const [discovers, requests] = [ear.of('DISCOVER'), ear.of('REQUEST')]
  expect(discovers).toHaveLength(3)
  expect(requests).toHaveLength(3)
  for (const [first, second, third] of [discovers, requests]) {
    // 100 ms and 200 ms, a quarter more or less; a busy machine is late, not early.
    expect(second!.at - first!.at).toBeGreaterThan(60)
    expect(third!.at - second!.at).toBeGreaterThan(130)
    expect(new Set([first, second, third].map((one) => one!.message.xid)).size).toBe(1)
  }
})

test('messages that come twice count once', async () => {
  const { node, segment, conf, keeper } = await keeperNode()
  const ear = await scripted(segment, ({ type }) => {
    if (type === 'DISCOVER') return Array<Answer>(3).fill(grant('OFFER', '10.77.0.50'))
    if (type === 'REQUEST') return Array<Answer>(3).fill(grant('ACK', '10.77.0.50'))
    return undefined
  })
  const container = await node.host.container()
  await node.add(conf(), { container })
  expect(ear.of('REQUEST')).toHaveLength(1)
  expect((await keeper.status()).counters).toEqual({ bound: 1 })
})

describe('where an answer goes, and where it says it comes from', () => {
  test('a server that answers to the address that it gives, by unicast', async () => {
    const { node, segment, conf } = await keeperNode()
    await scripted(segment, ({ type, senderMac }) => {
      const to = { mac: senderMac, destination: '10.77.0.50' }
      if (type === 'DISCOVER') return grant('OFFER', '10.77.0.50', to)
      return type === 'REQUEST' ? grant('ACK', '10.77.0.50', to) : undefined
    })
    const container = await node.host.container()
    expect((await node.add(conf(), { container })).ips).toMatchObject([{ address: '10.77.0.50/24' }])
  })

  test('a relay: the packet’s source is not the server, and the release goes to the server by way of it', async () => {
    const { node, segment, conf, keeper } = await keeperNode()
    const relayed = { serverId: '192.0.2.5', source: '10.77.0.1' }
    const ear = await scripted(segment, ({ type }) => {
      if (type === 'DISCOVER') return grant('OFFER', '10.77.0.50', relayed)
      return type === 'REQUEST' ? grant('ACK', '10.77.0.50', relayed) : undefined
    })
    const container = await node.host.container()
    const prevResult = await node.add(conf(), { container })
    expect(await keeper.list()).toMatchObject([{ server: '192.0.2.5' }])
    await node.del(conf(), { container, prevResult })
    // The frame is addressed to who brought the answer: it has arrived at its interface.
    expect(await ear.next('RELEASE')).toMatchObject({ source: '10.77.0.50', destination: '192.0.2.5' })
  })

  test('the broadcast flag: asked for, it is set; without, it is not', async () => {
    const { node, segment, conf } = await keeperNode()
    const [, ear] = await Promise.all([dnsmasq(segment.space), listen(segment)])
    const container = await node.host.container()
    await node.add(conf({ broadcast: true }), { container })
    expect(ear.all.map(({ type, message }) => [type, message.broadcast])).toEqual([
      ['DISCOVER', true],
      ['REQUEST', true],
    ])
    const from = ear.length
    await node.add(conf(), { container, ifName: 'net1' })
    expect(ear.all.slice(from).map(({ message }) => message.broadcast)).toEqual([false, false])
  })

  test('a keeper that is told to asks all servers to broadcast; one network may say no', async () => {
    const { node, segment, conf } = await keeperNode({ broadcast: true })
    const [, ear] = await Promise.all([dnsmasq(segment.space), listen(segment)])
    const container = await node.host.container()
    await node.add(conf(), { container })
    expect(ear.all.map(({ message }) => message.broadcast)).toEqual([true, true])
    const from = ear.length
    await node.add(conf({ broadcast: false }), { container, ifName: 'net1' })
    expect(ear.all.slice(from).map(({ message }) => message.broadcast)).toEqual([false, false])
  })

  test('answers to others are not listened to', async () => {
    const { node, segment, conf } = await keeperNode()
    await scripted(segment, ({ type, message }) => {
      if (type !== 'DISCOVER' && type !== 'REQUEST') return undefined
      const kind = type === 'DISCOVER' ? 'OFFER' : 'ACK'
      return [
        grant(kind, '10.77.0.66', { xid: message.xid ^ 1 }),
        grant(kind, '10.77.0.66', { chaddr: Uint8Array.of(2, 0, 0, 0, 0, 1) }),
        grant(kind, '10.77.0.66', { clientId: Uint8Array.of(0, 1, 2, 3) }),
        grant(kind, '10.77.0.50'),
      ]
    })
    const container = await node.host.container()
    expect((await node.add(conf(), { container })).ips).toMatchObject([{ address: '10.77.0.50/24' }])
  })
})

test('an interface without carrier is waited for: no message is lost before the cable is in', async () => {
  const { node, segment, conf, log } = await keeperNode()
  await dnsmasq(segment.space)
  const spare = await segment.plug(node.host, 'spare')
  await spare.carrier(false)
  const container = await node.host.container()
  const device = conf({}, { type: 'host-device', device: 'spare' })
  const added = node.add(device, { container })
  await eventually('it is up', async () => (await linkOf(container, 'eth0')).flags.includes('NO-CARRIER'))
  await spare.carrier(true)
  expect((await added).ips).toHaveLength(1)
  expect(log.lines.filter((line) => line.includes('no carrier'))).toEqual([])
  // What the device was like is kept until then.
  await node.del(device, { container })
})
