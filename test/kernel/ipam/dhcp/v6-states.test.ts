/** A lease in every state of RFC 8415, against a server whose leases last for seconds. */
import { readdirSync, readlinkSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { icmp6Filter } from '../../../../ipam/dhcp/filter.ts'
import { encodeIcmp6 } from '../../../../ipam/dhcp/icmp6.ts'
import { ETH_P_IPV6, linkAddress, openPacketSocket } from '../../../../ipam/dhcp/socket.ts'
import { Netns, parseMac } from '../../../../netlink/index.ts'
import { dnsmasq } from '../../../support/dhcp/dnsmasq.ts'
import type { Frame, Type6 } from '../../../support/dhcp/frame.ts'
import { type Kea6Options, kea6 } from '../../../support/dhcp/kea6.ts'
import { linkLocal } from '../../../support/dhcp/segment.ts'
import { dropping } from '../../../support/dhcp/traffic.ts'
import { type Container, space } from '../../../support/space.ts'
import { eventually } from '../../../support/wait.ts'
import { counted, kept } from './node.ts'
import { advertised, defaultRoutes, hasIpv6, ipv6Of, type SceneOptions, scene6 } from './six.ts'

/** RENEW and REBIND are repeated after ten seconds: each of these leases has time for one of each. */
const short = { validLifetime: 6, renew: 1, rebind: 3, rapidCommit: true } as const

/** A container with a lease of Kea's. */
const leased = async (
  options: Kea6Options = {},
  { probe = false, ...scene }: SceneOptions & { probe?: boolean } = {},
) => {
  const made = await scene6(scene)
  const { node, segment, container } = made
  const server = await kea6(segment.space, { ...short, ...options })
  const conf = made.six({ arpProbe: probe })
  const result = await node.add(conf, { container })
  const address = result.ips![0]!.address
  return { ...made, server, result, conf, address, ip: address.split('/')[0]! }
}

const is =
  (type: Type6) =>
  ({ dhcp6 }: Frame) =>
    dhcp6?.type === type

/** DUID of the server that a message is for; undefined: for all. */
const serverOf = ({ dhcp6 }: Frame): string | undefined => dhcp6!.options.get(2)?.[0]?.toString('hex')

/** Packet and UDP sockets of a namespace, and whether this process holds it. */
const openIn = async (container: Container) => ({
  sockets: (await container.must('ss', ['-H', '-a', '-n', '-0', '-u'])).trim(),
  held: readdirSync('/proc/self/fd').some((fd) => linkOf(`/proc/self/fd/${fd}`) === linkOf(container.path)),
})
const linkOf = (path: string): string => {
  try {
    return readlinkSync(path)
  } catch {
    // It was the folder's own.
    return ''
  }
}

test('BOUND, RENEWING, BOUND: the server that gave it is asked; nothing is open while there is nothing to do', async () => {
  const { keeper, container, frames, server, address, ip } = await leased({
    ...{ validLifetime: 600, renew: 2, rebind: 400 },
  })
  const [first] = await keeper.list()
  await eventually('nothing is open', async () => {
    const { sockets, held } = await openIn(container)
    return sockets === '' && !held
  })
  expect(await keeper.list()).toMatchObject([{ state: 'BOUND' }])
  const renewing = await frames.waitFor('a RENEW', is('renew'))
  expect(serverOf(renewing)).toBe(first!.server)
  expect(renewing.udp!.to).toBe('ff02:0:0:0:0:0:1:2')
  await kept(keeper, ({ state, renewAt }) => state === 'BOUND' && renewAt! > first!.renewAt!)
  expect(await ipv6Of(container)).toEqual([address])
  expect(server.history(ip).filter(({ validLifetime }) => validLifetime > 0).length).toBeGreaterThanOrEqual(2)
  expect(frames.dhcp6('solicit')).toHaveLength(1)
  await counted(keeper, 'renewed')
})

test('a server that dies and comes back: REBINDING by whoever answers, and the container has noticed nothing', async () => {
  const { server, frames, keeper, container, address } = await leased({ validLifetime: 9, rebind: 4 })
  await server.kill()
  await frames.waitFor('a RENEW', is('renew'))
  await server.start()
  const asked = await frames.waitFor('a REBIND', is('rebind'))
  expect(serverOf(asked)).toBeUndefined()
  await kept(keeper, ({ state }) => state === 'BOUND')
  expect(await ipv6Of(container)).toEqual([address])
  expect(await defaultRoutes(container)).toMatchObject([advertised])
  expect((await keeper.status()).counters).not.toHaveProperty('expired')
  expect(frames.dhcp6('solicit')).toHaveLength(1)
})

test('a server that stays away: the address goes in time, the kernel’s route stays, and a later address is used', async () => {
  const { server, frames, keeper, container, log, ip, result, node, conf } = await leased({
    validLifetime: 4,
    rebind: 2,
  })
  await server.stop()
  const { expiresAt } = await kept(keeper, ({ state }) => state === 'REBINDING')
  await hasIpv6(container, [])
  expect(Date.now()).toBeGreaterThan(expiresAt! - 50)
  expect(Date.now()).toBeLessThan(expiresAt! + 3000)
  await log.waitFor(`error DHCP: ${ip} is not to be used any more: the lease has ended`)
  await counted(keeper, 'expired')
  expect(await defaultRoutes(container)).toMatchObject([advertised])
  await expect(node.check(conf, { container, prevResult: result })).rejects.toMatchObject({
    code: 999,
    details: expect.stringContaining('it was lost'),
  })
  const from = frames.length
  await server.restart({ pools: [['fd77::150', 'fd77::150']], validLifetime: 600, renew: 300, rebind: 400 })
  await frames.waitFor('a SOLICIT', is('solicit'), { from })
  await hasIpv6(container, ['fd77::150/128'], 20_000)
  expect(await container.ping('fd77::1')).toBe(true)
  await kept(keeper, ({ state, address }) => state === 'BOUND' && address === 'fd77::150/128')
  expect(await defaultRoutes(container)).toMatchObject([advertised])
})

test('a network that is renumbered by its server: the new address comes before the old one goes', async () => {
  const { server, segment, keeper, container, ip } = await leased()
  await segment.renumber({ address6: 'fd88::1/64' })
  await server.restart({ subnet: 'fd88::/64', pools: [['fd88::100', 'fd88::1ff']] })
  const { address } = await kept(keeper, (lease) => !!lease.address?.startsWith('fd88::'), 15_000)
  await hasIpv6(container, [address!])
  expect(address).not.toContain(ip)
  expect(await defaultRoutes(container)).toMatchObject([advertised])
  expect((await keeper.status()).counters).not.toHaveProperty('expired')
})

test('a server that has forgotten the lease gives it again, and the container has noticed nothing', async () => {
  const { server, segment, keeper, container, frames, address } = await leased({
    ...{ validLifetime: 600, renew: 2, rebind: 400 },
  })
  await server.kill()
  // By its DUID it is the same.
  const next = await kea6(segment.space, { ...short, validLifetime: 600, renew: 300, rebind: 400 })
  const renewing = await frames.waitFor('a RENEW', is('renew'))
  await counted(keeper, 'renewed')
  expect(await next.lease()).toMatchObject({ address: address.split('/')[0] })
  expect(serverOf(renewing)).toBe((await keeper.list())[0]!.server)
  expect(await ipv6Of(container)).toEqual([address])
})

test('another server of the same addresses, which has no such lease', async () => {
  const { server, segment, keeper, container, frames, address } = await leased({
    ...{ validLifetime: 600, renew: 1, rebind: 2 },
  })
  await server.stop()
  const next = await dnsmasq(segment.space, { range: null, range6: ['fd77::100', 'fd77::1ff'] })
  await frames.waitFor('a REBIND', is('rebind'))
  await kept(keeper, ({ state, server }) => state === 'BOUND' && server!.startsWith('0001'))
  expect((await next.lease6()).address).toBe(address.split('/')[0])
  expect(frames.dhcp6('solicit')).toHaveLength(1)
  expect(await ipv6Of(container)).toEqual([address])
})

test('another server, which says that the address is not of this link', async () => {
  const { server, segment, keeper, container, frames, log } = await leased({
    ...{ validLifetime: 600, renew: 1, rebind: 2 },
  })
  await server.stop()
  await segment.renumber({ address6: 'fd88::1/64' })
  await dnsmasq(segment.space, { range: null, range6: ['fd88::100', 'fd88::1ff'] })
  await frames.waitFor('a REBIND', is('rebind'))
  await log.waitFor(/server 0001[0-9a-f]+ took the address back: no addresses available/)
  await counted(keeper, 'refused')
  const { address } = await kept(keeper, (lease) => !!lease.address?.startsWith('fd88::'), 15_000)
  await hasIpv6(container, [address!])
  expect(await defaultRoutes(container)).toMatchObject([advertised])
})

test('an address that another host has: the server is told, and another one is used', async () => {
  const scene = await scene6()
  const { node, segment, frames, container, keeper, six } = scene
  const server = await kea6(segment.space, { ...short, validLifetime: 600, renew: 300, rebind: 400 })
  const other = await space()
  await segment.plug(other, 'eth0')
  await other.ip('addr', 'add', 'fd77::100/64', 'dev', 'eth0', 'nodad')
  const result = await node.add(six(), { container })
  expect(result.ips).toMatchObject([{ address: 'fd77::101/128' }])
  const declined = await frames.waitFor('a DECLINE', is('decline'))
  expect(serverOf(declined)).toBe((await keeper.list())[0]!.server)
  expect(await server.lease(({ address }) => address === 'fd77::100')).toMatchObject({ state: 'declined' })
  expect(await counted(keeper, 'declined')).toBe(1)
  expect(await ipv6Of(container)).toEqual(['fd77::101/128'])
})

test.each([
  ['another host asks for at the same time', false],
  ['nobody else asks for, though the link gives the question back', true],
])('an address that %s', async (_, back) => {
  const { node, segment, frames, container, six } = await scene6()
  await kea6(segment.space, { ...short, validLifetime: 600, renew: 300, rebind: 400 })
  const netns = Netns.open(segment.space.path)
  onTestFinished(() => netns.close())
  const [lan] = await segment.space.ipJson<{ ifindex: number }>('link', 'show', segment.interface)
  const index = lan!.ifindex
  const socket = openPacketSocket(netns, {
    index,
    protocol: ETH_P_IPV6,
    filter: icmp6Filter(255),
    receive() {},
  })
  onTestFinished(() => socket.close())
  const adding = node.add(six(), { container })
  const asked = await frames.waitFor(
    'a probe',
    ({ packet, outgoing }) =>
      !outgoing &&
      packet?.payload[0] === 135 &&
      packet.payload.subarray(8, 24).toString('hex').endsWith('0100'),
  )
  const message = Uint8Array.from(asked.packet!.payload)
  // Its nonce.
  if (!back) message[26]! ^= 1
  const bytes = encodeIcmp6({ source: '::', destination: asked.packet!.to, message })
  socket.send(bytes, linkAddress(index, ETH_P_IPV6, parseMac(asked.destination)!))
  expect((await adding).ips).toMatchObject([{ address: back ? 'fd77::100/128' : 'fd77::101/128' }])
  expect(frames.dhcp6('decline')).toHaveLength(back ? 0 : 1)
})

test('an address that another host has, where nobody is to ask', async () => {
  const { segment, six, node, container, frames } = await scene6()
  await kea6(segment.space, short)
  const other = await space()
  await segment.plug(other, 'eth0')
  await other.ip('addr', 'add', 'fd77::100/64', 'dev', 'eth0', 'nodad')
  const result = await node.add(six({ arpProbe: false }), { container })
  expect(result.ips).toMatchObject([{ address: 'fd77::100/128' }])
  expect(frames.dhcp6('decline')).toEqual([])
})

test('answers that get lost are asked for again', async () => {
  const { node, segment, six, container, frames } = await scene6()
  await kea6(segment.space, { ...short, rapidCommit: false })
  const rules = await Promise.all([
    dropping(segment, { types6: ['advertise'], first: 1 }),
    dropping(segment, { types6: ['reply'], first: 1 }),
  ])
  const result = await node.add(six({ arpProbe: false, timeout: 20 }), { container })
  // Kea keeps the address of an offer that was lost for a while.
  expect(result.ips).toMatchObject([{ address: 'fd77::101/128', gateway: linkLocal }])
  for (const rule of rules) expect(await rule.hits()).toBe(1)
  expect(frames.dhcp6('solicit')).toHaveLength(2)
  expect(frames.dhcp6('request').length).toBeGreaterThanOrEqual(2)
})
