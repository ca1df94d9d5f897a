/** Addresses by DHCPv6, from ADD to DEL, by real servers. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../../cni/types.ts'
import { Journal } from '../../../../ipam/dhcp/journal.ts'
import { dnsmasq } from '../../../support/dhcp/dnsmasq.ts'
import { kea4 } from '../../../support/dhcp/kea4.ts'
import { kea6 } from '../../../support/dhcp/kea6.ts'
import { linkLocal } from '../../../support/dhcp/segment.ts'
import { complaints, tshark } from '../../../support/dhcp/tshark.ts'
import { errorOf } from '../../plugins/node.ts'
import { descriptors, ipv4Of, notedIn } from './node.ts'
import { advertised, defaultRoutes, ipv6Of, scene6 } from './six.ts'

type Scene = Awaited<ReturnType<typeof scene6>>

const ra = { range: null, range6: ['fd77::100', 'fd77::1ff'], ra: true } as const

/** How an interface gets to the LAN, by the type of its plugin. */
const types: Readonly<Record<string, (scene: Scene) => Promise<JsonObject>>> = {
  macvlan: async () => ({ type: 'macvlan', master: 'lan' }),
  bridge: async ({ node }) => {
    await node.host.ip('link', 'add', 'cni0', 'type', 'bridge', 'forward_delay', '0')
    await node.host.ip('link', 'set', 'cni0', 'up')
    await node.host.ip('link', 'set', 'lan', 'master', 'cni0')
    return { type: 'bridge', bridge: 'cni0' }
  },
  'host-device': async ({ node, segment }) => {
    await segment.plug(node.host, 'spare')
    return { type: 'host-device', device: 'spare' }
  },
}

test.each(Object.keys(types))(
  '%s: its address from ADD to DEL, and the server knows of both',
  async (type) => {
    const scene = await scene6({ router: null })
    const { node, segment, keeper, folder, frames, container } = scene
    const conf = scene.six({}, await types[type]!(scene))
    const server = await dnsmasq(segment.space, { ...ra, dns6: ['fd77::53'], search6: ['six.example'] })
    const result = await node.add(conf, { container })
    const lease = await server.lease6()
    const own = `${lease.address}/128`
    expect(result.ips).toEqual([
      { address: own, gateway: linkLocal, interface: result.interfaces!.length - 1 },
    ])
    expect(result.routes).toEqual([{ dst: '::/0', gw: linkLocal }])
    expect(result.dns).toEqual({ nameservers: ['fd77::53'], search: ['six.example'] })
    expect(await ipv6Of(container)).toEqual([own])
    expect(await defaultRoutes(container)).toMatchObject([advertised])
    expect(await container.ping('fd77::1')).toBe(true)
    // DUID-UUID, RFC 6355.
    expect(lease.duid).toMatch(/^00:04(:..){16}$/)
    expect(await keeper.list()).toMatchObject([{ version: 6, state: 'BOUND', address: own }])
    expect(notedIn(folder)).toHaveLength(1)
    await node.check(conf, { container, prevResult: result })

    await node.del(conf, { container, prevResult: result })
    await server.released(lease.address)
    const [said, ...more] = frames.dhcp6('release')
    expect(more).toEqual([])
    expect(said!.udp).toMatchObject({ fromPort: 546, toPort: 547, to: 'ff02:0:0:0:0:0:1:2' })
    expect(said!.udp!.from).toMatch(/^fe80:/)
    expect(await keeper.list()).toEqual([])
    expect(notedIn(folder)).toEqual([])
    await node.del(conf, { container, prevResult: result })
    expect(frames.dhcp6('release')).toHaveLength(1)
    expect(node.warnings).toEqual([])
  },
)

test('a link-local address is used while the kernel looks for its duplicates, and no other', async () => {
  const { node, segment, six, frames, container } = await scene6()
  await kea6(segment.space, { rapidCommit: true })
  await container.must('sh', ['-ec', 'echo 1 >/proc/sys/net/ipv6/conf/default/accept_dad'])
  const result = await node.add(six(), { container })
  expect(result.ips).toMatchObject([{ address: 'fd77::100/128' }])
  for (const { udp } of frames.dhcp6('solicit')) expect(udp!.from).toMatch(/^fe80:/)
  expect(await container.sysctl('net/ipv6/conf/eth0/optimistic_dad')).toBe('0')
})

test('a link-local address that may not be used before is waited for', async () => {
  const { segment, six, frames, container, keeper, callOf } = await scene6()
  await kea6(segment.space, { rapidCommit: true })
  await container.must('sh', ['-ec', 'echo 1 >/proc/sys/net/ipv6/conf/default/accept_dad'])
  // It is up already: what has begun goes on.
  await segment.plug(container, 'eth0', { dad: true })
  const { ips } = await keeper.allocate(callOf(six()))
  expect(ips).toMatchObject([{ address: 'fd77::100/128' }])
  for (const { udp } of frames.dhcp6('solicit')) expect(udp!.from).toMatch(/^fe80:/)
})

test.each([true, false])('rapid commit: %s', async (rapidCommit) => {
  const { node, segment, six, frames, container } = await scene6()
  await kea6(segment.space, { rapidCommit: true })
  await node.add(six({ rapidCommit }), { container })
  expect(await ipv6Of(container)).toEqual(['fd77::100/128'])
  const said = frames.dhcp6().map(({ dhcp6 }) => dhcp6!.type)
  expect(said).toEqual(rapidCommit ? ['solicit', 'reply'] : ['solicit', 'advertise', 'request', 'reply'])
})

test('nothing that is said is malformed', async () => {
  const { node, segment, six, frames, container, router } = await scene6()
  await kea6(segment.space)
  const result = await node.add(six(), { container })
  await node.del(six(), { container, prevResult: result })
  await frames.waitFor('a RELEASE', ({ dhcp6 }) => dhcp6?.type === 'release')
  const types = frames.dhcp6().map(({ dhcp6 }) => dhcp6!.type)
  for (const type of ['solicit', 'request', 'release']) expect(types).toContain(type)
  // A socket's checksums are left to the hardware.
  const spoken = await complaints(frames.dhcp6('solicit', 'request', 'release'))
  expect(spoken.filter((complaint) => !complaint.includes('Bad checksum'))).toEqual([])
  // Solicitations of routers and neighbours.
  const icmp = frames.all.filter(
    ({ packet }) => packet?.protocol === 58 && [133, 135].includes(packet.payload[0]!),
  )
  expect(await complaints(icmp)).toEqual([])
  const read = await tshark(icmp, ['icmpv6.type', 'ipv6.src', 'icmpv6.nd.ns.target_address'])
  // From the interface's own address, so that it can be answered alone.
  expect(router!.solicitations.all.some(({ packet }) => packet!.from.startsWith('fe80:'))).toBe(true)
  expect(
    read
      .filter((one) => one['icmpv6.nd.ns.target_address'].includes('fd77::100'))
      .map((one) => one['ipv6.src']),
  ).toEqual([['::'], ['::']])
})

describe('DNS', () => {
  test('from the router, where the server has none', async () => {
    const { node, segment, six, folder, container, keeper, callOf } = await scene6({
      router: { dns: ['fd77::53', 'fe80::53'], search: ['ra.example', 'b.example'] },
    })
    await kea6(segment.space, { rapidCommit: true })
    const result = await node.add(six(), { container })
    // A link-local one is good for nothing without its interface.
    const dns = { nameservers: ['fd77::53', 'fe80::53%eth0'], search: ['ra.example', 'b.example'] }
    expect(result.dns).toEqual(dns)
    expect((await keeper.check(callOf(six()))).dns).toMatchObject(dns)
    expect(new Journal(folder).list()).toMatchObject([
      {
        version: 6,
        used: true,
        lease: { address: 'fd77::100' },
        facts: {
          router: linkLocal,
          dnsServers: ['fd77::53', 'fe80::53'],
          domainSearch: ['ra.example', 'b.example'],
        },
      },
    ])
  })

  test('from the server, whatever the router says', async () => {
    const { node, segment, six, container } = await scene6({
      router: { dns: ['fd77::99'], search: ['ra.example'] },
    })
    await kea6(segment.space, { rapidCommit: true, dns: ['fd77::53'], search: ['a.example', 'b.example'] })
    const { dns } = await node.add(six(), { container })
    expect(dns).toEqual({ nameservers: ['fd77::53'], search: ['a.example', 'b.example'] })
  })
})

describe('the default route', () => {
  test('that the kernel made ends when the router says so', async () => {
    const { node, segment, six, container, router } = await scene6()
    await kea6(segment.space, { rapidCommit: true })
    await node.add(six(), { container })
    expect(await defaultRoutes(container)).toMatchObject([advertised])
    router!.advertise({ lifetime: 0 })
    await expect.poll(() => defaultRoutes(container), { timeout: 10_000 }).toEqual([])
  })

  test('of its own metric is made beside it', async () => {
    const { node, segment, six, container } = await scene6()
    await kea6(segment.space, { rapidCommit: true })
    const conf = six({ priority: 77 })
    const prevResult = await node.add(conf, { container })
    expect(prevResult.routes).toEqual([{ dst: '::/0', gw: linkLocal, priority: 77 }])
    expect(await defaultRoutes(container)).toMatchObject([
      { gateway: linkLocal, protocol: 'boot', metric: 77 },
      advertised,
    ])
    await node.check(conf, { container, prevResult })
  })

  test('is made where the kernel does not listen to routers', async () => {
    const { node, segment, six, container } = await scene6()
    await kea6(segment.space, { rapidCommit: true })
    await container.must('sh', ['-ec', 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_ra'])
    const prevResult = await node.add(six(), { container })
    expect(await defaultRoutes(container)).toMatchObject([{ gateway: linkLocal, protocol: 'boot' }])
    await node.check(six(), { container, prevResult })
  })

  test('is none where the router is none', async () => {
    const { node, segment, six, container } = await scene6({ router: { lifetime: 0 } })
    await kea6(segment.space, { rapidCommit: true })
    const { ips, routes = [] } = await node.add(six(), { container })
    expect(ips).toEqual([{ address: 'fd77::100/128', interface: 0 }])
    expect(routes).toEqual([])
    expect(await defaultRoutes(container)).toEqual([])
  })
})

describe('both protocols', () => {
  const both = (conf: (ipam: JsonObject) => JsonObject) =>
    conf({ versions: [4, 6], timeout: 20, arpProbe: false })

  test('give an address each', async () => {
    const { node, segment, conf, container, keeper, folder, frames } = await scene6()
    const [four, six] = await Promise.all([
      kea4(segment.space, { leaseTime: 600, dns: ['10.77.0.53'], routers: ['10.77.0.1'] }),
      kea6(segment.space, { dns: ['fd77::53'] }),
    ])
    const result = await node.add(both(conf), { container })
    const [own, ...rest] = await ipv4Of(container).then((all) => all!)
    expect(rest).toEqual([])
    expect(result.ips).toEqual([
      { address: own, gateway: '10.77.0.1', interface: 0 },
      { address: 'fd77::100/128', gateway: linkLocal, interface: 0 },
    ])
    expect(result.dns!.nameservers).toEqual(['10.77.0.53', 'fd77::53'])
    expect(await ipv6Of(container)).toEqual(['fd77::100/128'])
    expect(notedIn(folder)).toHaveLength(2)
    await node.check(both(conf), { container, prevResult: result })
    await node.del(both(conf), { container, prevResult: result })
    await Promise.all([four.released(own!.split('/')[0]!), six.released('fd77::100')])
    expect(frames.dhcp4('release')).toHaveLength(1)
    expect(await keeper.list()).toEqual([])
  })

  test('or none: what one server has given is given back where the other gives nothing', async () => {
    const { node, segment, conf, container, keeper, folder } = await scene6()
    const six = await kea6(segment.space, { rapidCommit: true })
    const error = await errorOf(
      node.add(conf({ versions: [4, 6], timeout: 3, arpProbe: false }), { container }),
    )
    expect(error).toMatchObject({ code: 11, msg: 'error calling DHCP.Allocate: no more tries' })
    expect(error.details).toMatch(/no DHCP server answered on eth0 within 3 s/)
    expect(six.history('fd77::100')[0]).toMatchObject({ validLifetime: 5 })
    await six.released('fd77::100')
    expect(await keeper.list()).toEqual([])
    expect(notedIn(folder)).toEqual([])
    expect(await container.ipJson('link', 'show', 'type', 'macvlan')).toEqual([])
  })
})

describe('no address', () => {
  const failing = async (scene: Scene, ipam: JsonObject = {}) => {
    const before = descriptors()
    const error = await errorOf(
      scene.node.add(scene.six({ timeout: 2, ...ipam }), { container: scene.container }),
    )
    expect(error).toMatchObject({ code: 11, msg: 'error calling DHCP.Allocate: no more tries' })
    expect(await scene.keeper.list()).toEqual([])
    expect(notedIn(scene.folder)).toEqual([])
    expect(await scene.container.ipJson('link', 'show', 'type', 'macvlan')).toEqual([])
    await expect.poll(descriptors, { timeout: 10_000 }).toBeLessThanOrEqual(before)
    return error.details
  }

  test('without a router: it is said, and no server is asked', async () => {
    const scene = await scene6({ router: null })
    await kea6(scene.segment.space)
    expect(await failing(scene)).toBe(
      'no lease on eth0 within 2 s; the last that was heard: no router has advertised itself ("waitForRouter": false does without)',
    )
    expect(scene.frames.dhcp6()).toEqual([])
  })

  test('where the router says that addresses are not managed', async () => {
    const scene = await scene6({ router: { managed: false, other: true } })
    await kea6(scene.segment.space)
    expect(await failing(scene)).toContain(
      `the router ${linkLocal} says that addresses are not managed by DHCPv6 (no M flag)`,
    )
    expect(scene.frames.dhcp6()).toEqual([])
  })

  test('where the router promises a server, and there is none', async () => {
    const scene = await scene6()
    expect(await failing(scene)).toContain('no DHCPv6 server answered on eth0 within 2 s')
    expect(scene.frames.dhcp6('solicit').length).toBeGreaterThan(0)
  })

  test('where the server has none left: its words', async () => {
    const scene = await scene6()
    await kea6(scene.segment.space, {
      pools: [['fd77::100', 'fd77::100']],
      reservations: [{ duid: '00:04:aa', address: 'fd77::100' }],
    })
    expect(await failing(scene)).toMatch(/server 0003[0-9a-f]+ said NoAddrsAvail: \S/)
  })
})

test('a router that changes its mind while it is waited for', async () => {
  const { node, segment, six, container, router } = await scene6({ router: { managed: false } })
  await kea6(segment.space, { rapidCommit: true })
  const added = node.add(six({ timeout: 20 }), { container })
  await router!.solicitations.find('a solicitation', () => true)
  router!.advertise({ managed: true })
  expect((await added).ips).toMatchObject([{ address: 'fd77::100/128' }])
})

test('a router that is late is asked again', async () => {
  const { node, segment, six, container, router } = await scene6({ router: { answers: false } })
  await kea6(segment.space, { rapidCommit: true })
  const added = node.add(six({ timeout: 20 }), { container })
  await expect.poll(() => router!.solicitations.length, { timeout: 15_000 }).toBeGreaterThanOrEqual(4)
  router!.advertise({ answers: true })
  expect((await added).ips).toMatchObject([{ address: 'fd77::100/128' }])
})

test('without waiting for a router, on a link that has none', async () => {
  const { node, segment, six, container } = await scene6({ router: null })
  await kea6(segment.space, { rapidCommit: true })
  const conf = six({ waitForRouter: false })
  const prevResult = await node.add(conf, { container })
  expect(prevResult.ips).toEqual([{ address: 'fd77::100/128', interface: 0 }])
  expect(prevResult.routes ?? []).toEqual([])
  await node.check(conf, { container, prevResult })
})

test('IPv6 that is off in the container is switched on', async () => {
  const { node, segment, six, container } = await scene6()
  await kea6(segment.space, { rapidCommit: true })
  const all = ['all', 'default', 'lo']
  await container.must('sh', [
    '-ec',
    all.map((one) => `echo 1 >/proc/sys/net/ipv6/conf/${one}/disable_ipv6`).join('\n'),
  ])
  const prevResult = await node.add(six(), { container })
  expect(await ipv6Of(container)).toEqual(['fd77::100/128'])
  expect(await container.sysctl('net/ipv6/conf/eth0/disable_ipv6')).toBe('0')
  await node.check(six(), { container, prevResult })
})
