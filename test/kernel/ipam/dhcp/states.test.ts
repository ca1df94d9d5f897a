/** A lease in every state of RFC 2131, against a server whose leases last for seconds. */
import { expect, test } from 'vitest'
import { dnsmasq } from '../../../support/dhcp/dnsmasq.ts'
import { type Kea4, type Kea4Options, kea4 } from '../../../support/dhcp/kea4.ts'
import { eventually } from '../../../support/wait.ts'
import { linkOf } from '../../plugins/node.ts'
import { counted, hasIpv4, ipv4Of, keeperNode, kept, routesOf } from './node.ts'
import { grant, type Heard, listen, scripted } from './wire.ts'

const short = { leaseTime: 6, renew: 1, rebind: 3, routers: ['10.77.0.1'] } as const

/** A container with a lease of Kea's. */
const leased = async (options: Kea4Options = {}) => {
  const scene = await keeperNode()
  const { node, segment, conf } = scene
  const [server, ear, container] = await Promise.all([
    kea4(segment.space, { ...short, ...options }),
    listen(segment),
    node.host.container(),
  ])
  const result = await node.add(conf({ arpProbe: false }), { container })
  const address = result.ips![0]!.address
  return { ...scene, server, ear, container, result, address, ip: address.split('/')[0]! }
}

/** A REQUEST that extends a lease: by unicast while it is renewed, to everybody while it is rebound. */
const extends4 =
  (ip: string, destination: string) =>
  ({ destination: to, message: { ciaddr, options } }: Heard) =>
    // Neither the server nor the address is named, table 4 of RFC 2131 has it so.
    ciaddr === ip && to === destination && !options.has(54) && !options.has(50)

const renews = (server: Kea4, ip: string) =>
  server.history(ip).filter(({ validLifetime }) => validLifetime > 0)

test('BOUND, RENEWING, BOUND: by unicast from the leased address', async () => {
  const { server, ear, keeper, container, address, ip } = await leased()
  const [before] = await keeper.list()
  const asked = await ear.next('REQUEST', {}, extends4(ip, '10.77.0.1'))
  expect(asked).toMatchObject({ source: ip, message: { broadcast: false } })
  const after = await kept(keeper, ({ state, renewAt }) => state === 'BOUND' && renewAt! > before!.renewAt!)
  expect(after.address).toBe(address)
  await eventually('the server has noted it', () => renews(server, ip).length >= 2)
  expect(
    ear
      .of('REQUEST')
      .every(({ destination, message }) => message.ciaddr === '0.0.0.0' || destination === '10.77.0.1'),
  ).toBe(true)
  expect(await ipv4Of(container)).toEqual([address])
  expect(ear.of('DISCOVER')).toHaveLength(1)
})

test('a server that dies and comes back: REBINDING to everybody, BOUND, and the container has noticed nothing', async () => {
  const { server, ear, keeper, container, address, ip } = await leased()
  await server.kill()
  const { at } = await ear.next('REQUEST', {}, extends4(ip, '10.77.0.1'))
  const asked = await ear.next('REQUEST', {}, extends4(ip, '255.255.255.255'))
  expect(asked.at).toBeGreaterThan(at)
  expect(await keeper.list()).toMatchObject([{ state: 'REBINDING', address }])
  expect(await ipv4Of(container)).toEqual([address])
  await server.start()
  await kept(keeper, ({ state }) => state === 'BOUND')
  expect(await ipv4Of(container)).toEqual([address])
  expect((await keeper.status()).counters).not.toHaveProperty('expired')
  expect(ear.of('DISCOVER')).toHaveLength(1)
})

test('a server that stays away: the address goes in time, and one that comes later is given to the interface', async () => {
  const { server, ear, keeper, container, log, ip, result, node, conf } = await leased({
    leaseTime: 4,
    rebind: 2,
  })
  await server.stop()
  const { expiresAt } = await kept(keeper, ({ state }) => state === 'REBINDING')
  await hasIpv4(container, [])
  expect(Date.now()).toBeGreaterThan(expiresAt! - 50)
  expect(Date.now()).toBeLessThan(expiresAt! + 3000)
  expect(await routesOf(container)).toEqual([])
  await log.waitFor(`error DHCP: ${ip} is not to be used any more: the lease has ended`)
  await counted(keeper, 'expired')
  const [lost] = await keeper.list()
  expect(lost).not.toHaveProperty('address', expect.anything())
  await expect(
    node.check(conf({ arpProbe: false }), { container, prevResult: result }),
  ).rejects.toMatchObject({
    code: 999,
    details: expect.stringContaining('it was lost'),
  })
  const from = ear.length
  await server.restart({ pools: [['10.77.0.150', '10.77.0.150']] })
  await ear.next('DISCOVER', { from })
  await hasIpv4(container, ['10.77.0.150/24'])
  await eventually('its route is there', async () => (await routesOf(container)).length === 1)
  expect(await routesOf(container)).toEqual(['default via 10.77.0.1'])
  expect(await container.ping('10.77.0.1')).toBe(true)
  await kept(keeper, ({ state, address }) => state === 'BOUND' && address === '10.77.0.150/24')
})

test('a network that was renumbered: its NAK while rebinding, the old address goes and a new one comes', async () => {
  const { server, segment, keeper, container, log, ear, ip } = await leased()
  await server.stop()
  await segment.renumber({ address4: '10.88.0.1/24' })
  // Kea says nothing to who comes from another network.
  await dnsmasq(segment.space, { range: ['10.88.0.100', '10.88.0.199'], authoritative: true })
  await counted(keeper, 'refused')
  expect(ear.all.filter(extends4(ip, '255.255.255.255'))).not.toHaveLength(0)
  await log.waitFor(/refused the request \(DHCPNAK\)/)
  const { address } = await kept(
    keeper,
    ({ state, address }) => state === 'BOUND' && !!address?.startsWith('10.88.'),
  )
  await hasIpv4(container, [address!])
  await eventually('its route is there', async () => (await routesOf(container)).length === 1)
  expect(await routesOf(container)).toEqual(['default via 10.88.0.1'])
  expect(await container.ping('10.88.0.1')).toBe(true)
  expect((await keeper.status()).counters).not.toHaveProperty('expired')
})

test('what a renewal changes is changed on the interface: mask, router, routes, MTU', async () => {
  const { server, keeper, container, ip, address } = await leased({ mtu: 1400 })
  expect((await linkOf(container, 'eth0')).mtu).toBe(1400)
  // Somebody else's: it stays.
  await container.ip('route', 'add', '192.0.2.0/24', 'via', '10.77.0.9')
  await server.restart({ subnet: '10.77.0.0/20', routers: ['10.77.0.2'], mtu: 1380, dns: ['10.77.0.53'] })
  await hasIpv4(container, [`${ip}/20`])
  await counted(keeper, 'changed')
  expect(address).toBe(`${ip}/24`)
  expect(await routesOf(container)).toContain('default via 10.77.0.2')
  expect(await routesOf(container)).not.toContain('default via 10.77.0.1')
  expect((await linkOf(container, 'eth0')).mtu).toBe(1380)
  await server.restart({ classlessRoutes: [{ to: '198.51.100.0/24', via: '10.77.0.3' }] })
  await counted(keeper, 'changed', 2)
  expect(await routesOf(container)).toContain('198.51.100.0/24 via 10.77.0.3')
  expect(await routesOf(container)).not.toContain('default via 10.77.0.2')
  expect(await ipv4Of(container)).toEqual([`${ip}/20`])
})

test('a renewal that gives another address of the same network', async () => {
  const { node, segment, conf, keeper } = await keeperNode()
  let ip = '10.77.0.40'
  await scripted(segment, ({ type }) =>
    type === 'DISCOVER' || type === 'REQUEST'
      ? grant(type === 'DISCOVER' ? 'OFFER' : 'ACK', ip, {
          leaseTime: 4,
          renewalTime: 1,
          routers: ['10.77.0.1'],
        })
      : undefined,
  )
  const container = await node.host.container()
  // The kernel's own default, which systemd changes: an address takes the younger ones of its network along.
  await container.must('sh', [
    '-ec',
    'for one in all default; do echo 0 >/proc/sys/net/ipv4/conf/$one/promote_secondaries; done',
  ])
  await node.add(conf({ arpProbe: false }), { container })
  expect(await ipv4Of(container)).toEqual(['10.77.0.40/24'])
  ip = '10.77.0.41'
  await hasIpv4(container, ['10.77.0.41/24'])
  await counted(keeper, 'changed')
  expect(await routesOf(container)).toEqual(['default via 10.77.0.1'])
  // Not only with the renewal after it.
  expect((await keeper.status()).counters).not.toHaveProperty('applyFailed')
})

test('NAK while RENEWING', async () => {
  const { node, segment, conf, keeper } = await keeperNode()
  let ip = '10.77.0.40'
  const ear = await scripted(segment, ({ type, message: { ciaddr } }) => {
    if (type === 'DISCOVER') return grant('OFFER', ip)
    if (type !== 'REQUEST') return undefined
    if (ciaddr !== '0.0.0.0' && ciaddr !== ip)
      return { messageType: 'NAK', serverId: '10.77.0.1', message: 'moved' }
    return grant('ACK', ip, { leaseTime: 8, renewalTime: 1 })
  })
  const container = await node.host.container()
  await node.add(conf({ arpProbe: false }), { container })
  ip = '10.77.0.41'
  await hasIpv4(container, ['10.77.0.41/24'])
  const refused = ear.all.find(({ message: { ciaddr } }) => ciaddr === '10.77.0.40')
  expect(refused).toMatchObject({ source: '10.77.0.40', destination: '10.77.0.1' })
  await kept(keeper, ({ state, address }) => state === 'BOUND' && address === '10.77.0.41/24')
  await counted(keeper, 'refused')
})
