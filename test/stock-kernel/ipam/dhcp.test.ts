/**
 * DHCP on ipvlan interfaces, which share a MAC and get nothing by unicast that is for no address of theirs; and on
 * VLANs.
 */
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { duidUuid } from '../../../ipam/dhcp/duid.ts'
import type { KeptLease, LeaseKeeper } from '../../../ipam/dhcp/lease-keeper.ts'
import {
  counted,
  ipv4Of,
  keeperNode,
  kept,
  makeKeeper,
  notedIn,
  noting,
  routesOf,
  useKeeper,
} from '../../kernel/ipam/dhcp/node.ts'
import { type Answer, grant, type Heard, listen, scripted } from '../../kernel/ipam/dhcp/wire.ts'
import { addressesOf, linkOf } from '../../kernel/plugins/node.ts'
import { type Dnsmasq, type DnsmasqLease, dnsmasq } from '../../support/dhcp/dnsmasq.ts'
import { kea4 } from '../../support/dhcp/kea4.ts'
import { eventually } from '../../support/wait.ts'

/** Milliseconds: the processor is an emulated one. */
const PATIENCE = 60_000
/** Milliseconds until a message is sent again: somebody may be slow to answer. */
const firstTimeout = 30_000

type Scene = Awaited<ReturnType<typeof keeperNode>>

const scene = (): Promise<Scene> => keeperNode({ firstTimeout, deadline: 2 * PATIENCE })

const ipvlan = ({ conf }: Scene, ipam: JsonObject = {}): JsonObject =>
  conf(ipam, { type: 'ipvlan', mode: 'l2' })

const fixed = (address: string): JsonObject => ({
  type: 'ipvlan',
  master: 'lan',
  ipam: { type: 'static', addresses: [{ address }] },
})

const attach = async ({ node }: Scene, containerId: string, conf: JsonObject) => {
  const container = await node.host.container(containerId)
  const result = await node.add(conf, { container, containerId })
  const [first, ...more] = (result.ips ?? []).map(({ address }) => address.split('/')[0]!)
  const call = { container, containerId, prevResult: result }
  return { containerId, container, result, ip: first!, more, call }
}

/** Two ADDs at the same time. */
const attachTwo = async (it: Scene, conf: JsonObject) => {
  const [one, two] = await Promise.all([attach(it, 'one', conf), attach(it, 'two', conf)])
  return { one, two, both: [one, two] }
}

/** Option 61 as the Go plugin has it: `<container>/<network>/<interface>`, of type 0. */
const clientIdOf = (containerId: string): string =>
  `00:${Buffer.from(`${containerId}/net/eth0`)
    .toString('hex')
    .replaceAll(/..(?=.)/g, '$&:')}`

/** Until a server has these leases: it writes its file anew each time, and so it may be empty for a moment. */
const holds = (server: Dnsmasq, addresses: readonly string[]): Promise<unknown> =>
  eventually(
    `${addresses.join(', ') || 'nothing'} is leased`,
    () => {
      const all = [...server.leases(), ...server.leases6()].map(({ address }) => address)
      return all.sort().join() === [...addresses].sort().join()
    },
    PATIENCE,
  )

/** Until every lease was renewed: it is bound again, and ends later than it was to. */
const renewed = (keeper: LeaseKeeper, before: readonly KeptLease[]): Promise<unknown> =>
  Promise.all(
    before.map(({ containerId, address, expiresAt }) =>
      kept(
        keeper,
        (now) =>
          now.containerId === containerId &&
          now.address === address &&
          now.state === 'BOUND' &&
          now.expiresAt! > expiresAt! + 1000,
        PATIENCE,
      ),
    ),
  )

test('two ipvlans of one master: an address each, from ADD over renewals and another keeper to DEL', async () => {
  const it = await scene()
  const { node, segment, keeper, folder, plug, log } = it
  const conf = ipvlan(it)
  const [server, ear] = await Promise.all([
    // Leases of two minutes, of which ten seconds are enough.
    dnsmasq(segment.space, { extra: ['--dhcp-option-force=option:T1,10'] }),
    listen(segment),
  ])
  const { one, two, both } = await attachTwo(it, conf)
  expect(one.ip).not.toBe(two.ip)
  const discovers = ear.of('DISCOVER').length
  const noted: DnsmasqLease[] = []
  for (const { container, containerId, ip, result, call } of both) {
    expect(await linkOf(container, 'eth0')).toMatchObject({
      address: plug.mac,
      linkinfo: { info_kind: 'ipvlan', info_data: { mode: 'l2' } },
    })
    expect(result).toMatchObject({
      ips: [{ address: `${ip}/24`, gateway: '10.77.0.1', interface: 0 }],
      routes: [{ dst: '0.0.0.0/0', gw: '10.77.0.1' }],
    })
    expect(await ipv4Of(container)).toEqual([`${ip}/24`])
    expect(await routesOf(container)).toEqual(['default via 10.77.0.1'])
    const lease = await server.lease(({ address }) => address === ip, PATIENCE)
    expect(lease).toMatchObject({ mac: plug.mac, clientId: clientIdOf(containerId) })
    noted.push(lease)
    await node.check(conf, call)
  }
  await holds(server, [one.ip, two.ip])
  expect(notedIn(folder)).toHaveLength(2)
  expect(await one.container.ping('10.77.0.1', 30)).toBe(true)
  expect(await one.container.ping(two.ip, 30)).toBe(true)

  await renewed(keeper, await keeper.list())
  for (const { ip } of both) {
    const asked = ear.all.find(({ type, message }) => type === 'REQUEST' && message.ciaddr === ip)
    expect(asked).toMatchObject({ source: ip, destination: '10.77.0.1', message: { broadcast: false } })
  }
  for (const move of ['debug DHCP: BOUND to RENEWING', 'debug DHCP: RENEWING to BOUND'])
    expect(log.lines.filter((line) => line === move).length).toBeGreaterThanOrEqual(2)
  for (const { address, expires } of noted)
    await server.lease((now) => now.address === address && now.expires > expires, PATIENCE)

  await keeper.stop()
  const next = makeKeeper(folder, { log: noting(log), hostNetns: node.netns, firstTimeout })
  await next.adopt()
  useKeeper(node, next)
  const adopted = await next.list()
  expect(adopted.map(({ containerId, address }) => [containerId, address]).sort()).toEqual(
    both.map(({ containerId, ip }) => [containerId, `${ip}/24`]),
  )
  for (const { call } of both) await node.check(conf, call)

  await node.del(conf, one.call)
  await holds(server, [two.ip])
  expect(ear.of('RELEASE')).toMatchObject([{ source: one.ip, destination: '10.77.0.1' }])
  await renewed(next, await next.list())
  await node.check(conf, two.call)
  expect(await two.container.ping('10.77.0.1', 30)).toBe(true)
  await node.del(conf, two.call)
  await holds(server, [])
  expect(notedIn(folder)).toEqual([])
  // Nobody began anew on the way, nor asked twice.
  expect([ear.of('DISCOVER').length, ear.of('RELEASE').length]).toEqual([discovers, 2])
  expect((await next.status()).counters).toMatchObject({ adopted: 2, released: 2 })
  expect(node.warnings).toEqual([])
})

test('both hear what is answered to either, and each takes its own', async () => {
  const it = await scene()
  const ips: Readonly<Record<string, string>> = { one: '10.77.0.51', two: '10.77.0.52' }
  const nameOf = ({ message }: Heard): string =>
    /^\0(\w+)\//.exec(Buffer.from(message.options.get(61) ?? []).toString('latin1'))?.[1] ?? ''
  const asked = new Map<string, Heard>()
  // Both wait for an answer when the first one comes.
  const ear = await scripted(it.segment, (heard) => {
    if (heard.type !== 'DISCOVER' && heard.type !== 'REQUEST') return []
    asked.set(`${heard.type} ${nameOf(heard)}`, heard)
    const [one, two] = ['one', 'two'].map((name) => asked.get(`${heard.type} ${name}`))
    if (!one || !two) return []
    const answer = heard.type === 'DISCOVER' ? 'OFFER' : 'ACK'
    const to = (whom: Heard, ip: string, clientId: Uint8Array | undefined): Answer =>
      grant(answer, ip, { xid: whom.message.xid, clientId })
    const idOf = ({ message }: Heard) => message.options.get(61)
    return [
      // The right transaction, but another client's.
      to(one, '10.77.0.98', idOf(two)),
      to(two, '10.77.0.99', idOf(one)),
      to(two, ips.two!, idOf(two)),
      to(one, ips.one!, idOf(one)),
    ]
  })
  const { both } = await attachTwo(it, ipvlan(it, { arpProbe: false }))
  for (const { ip, container, containerId } of both) {
    expect(ip).toBe(ips[containerId])
    expect(await ipv4Of(container)).toEqual([`${ip}/24`])
  }
  expect(ear.all.every(({ message }) => message.broadcast)).toBe(true)
  expect(new Set(ear.all.map(({ message }) => message.xid)).size).toBe(2)
  expect(new Set(ear.all.map(({ senderMac }) => senderMac))).toEqual(new Set([it.plug.mac]))
})

test('a server that answers to the MAC; an address that another host has, and one that another ipvlan has', async () => {
  const it = await scene()
  const { node, segment, keeper, plug } = it
  // Kea does so whatever it is asked for. It gives them in this order.
  const server = await kea4(segment.space, { leaseTime: 600, pools: [['10.77.0.60', '10.77.0.63']] })
  await segment.space.ip('addr', 'add', '10.77.0.60/24', 'dev', 'lan0')
  await attach(it, 'zero', fixed('10.77.0.61/24'))
  const conf = ipvlan(it)
  const { one, two, both } = await attachTwo(it, conf)
  expect([one.ip, two.ip].sort()).toEqual(['10.77.0.62', '10.77.0.63'])
  expect(await counted(keeper, 'declined', 2)).toBe(2)
  for (const { containerId, container, ip, call } of both) {
    const lease = await server.lease(({ address }) => address === ip, PATIENCE)
    expect(lease).toMatchObject({ mac: plug.mac, clientId: clientIdOf(containerId) })
    expect(await container.ping('10.77.0.61', 30)).toBe(true)
    await node.del(conf, call)
    await server.released(ip, PATIENCE)
  }
  // On an interface of the container itself.
  const container = await node.host.container('three')
  await segment.plug(container, 'eth1')
  const own = it.conf({}, { type: 'ipvlan', master: 'eth1', linkInContainer: true })
  const result = await node.add(own, { container, containerId: 'three' })
  expect(['10.77.0.62/24', '10.77.0.63/24']).toContain(result.ips![0]!.address)
  expect(await container.ping('10.77.0.1', 30)).toBe(true)
})

test('both protocols on two ipvlans', async () => {
  const it = await scene()
  const { node, segment, keeper } = it
  // A router that does not forward says so when it is asked for its MAC, and the kernel drops its route.
  await segment.space.must('sh', ['-c', 'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'])
  await attach(it, 'zero', fixed('fd77::100/64'))
  const duid = Buffer.from(duidUuid('one'))
    .toString('hex')
    .replaceAll(/..(?=.)/g, '$&:')
  const server = await dnsmasq(segment.space, {
    ra: true,
    range6: ['fd77::100', 'fd77::1ff'],
    // What the other one has is meant for it.
    extra: [`--dhcp-host=id:${duid},[fd77::100]`],
  })
  const conf = ipvlan(it, { versions: [4, 6] })
  const { one, two, both } = await attachTwo(it, conf)
  expect(await counted(keeper, 'declined')).toBe(1)
  const all = both.flatMap(({ ip, more }) => [ip, ...more])
  expect(new Set(all).size).toBe(4)
  expect(all).not.toContain('fd77::100')
  for (const { ip, more, container, call } of both) {
    expect(await addressesOf(container, 'eth0')).toEqual([`${ip}/24`, `${more[0]}/128`])
    for (const server of ['10.77.0.1', 'fd77::1']) expect(await container.ping(server, 30)).toBe(true)
    await node.check(conf, call)
  }
  await holds(server, all)
  await node.del(conf, one.call)
  await holds(server, [two.ip, ...two.more])
  expect(await two.container.ping('fd77::1', 30)).toBe(true)
  await node.check(conf, two.call)
})

test('a VLAN: ADD, CHECK, DEL', async () => {
  const it = await scene()
  const { node, segment, plug } = it
  const vlan = ['link', 'lan0', 'name', 'lan0.100', 'type', 'vlan', 'id', '100']
  await segment.space.ip('link', 'add', ...vlan)
  await segment.space.ip('link', 'set', 'lan0.100', 'up')
  await segment.space.ip('addr', 'add', '10.78.0.1/24', 'dev', 'lan0.100')
  const [server, untagged] = await Promise.all([
    dnsmasq(segment.space, { interface: 'lan0.100', range: ['10.78.0.100', '10.78.0.199'] }),
    listen(segment),
  ])
  const conf = it.conf({}, { type: 'vlan', vlanId: 100 })
  const { container, ip, result, call } = await attach(it, 'one', conf)
  expect(result).toMatchObject({
    ips: [{ address: `${ip}/24`, gateway: '10.78.0.1', interface: 0 }],
    routes: [{ dst: '0.0.0.0/0', gw: '10.78.0.1' }],
  })
  expect(await ipv4Of(container)).toEqual([`${ip}/24`])
  expect(await server.lease(undefined, PATIENCE)).toMatchObject({
    address: ip,
    mac: plug.mac,
    clientId: clientIdOf('one'),
  })
  expect(await container.ping('10.78.0.1', 30)).toBe(true)
  await node.check(conf, call)
  await node.del(conf, call)
  await server.released(ip, PATIENCE)
  expect(untagged.all).toEqual([])
})
