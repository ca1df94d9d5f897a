/** A lease from ADD to DEL, on every type of interface that can have one. */
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../../cni/types.ts'
import { dnsmasq } from '../../../support/dhcp/dnsmasq.ts'
import { eventually } from '../../../support/wait.ts'
import { errorOf, linkOf } from '../../plugins/node.ts'
import { descriptors, ipv4Of, keeperNode, notedIn, routesOf } from './node.ts'
import { listen } from './wire.ts'

type Scene = Awaited<ReturnType<typeof keeperNode>>

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
    const scene = await keeperNode()
    const { node, segment, keeper, folder } = scene
    const own = await types[type]!(scene)
    const conf = scene.conf({}, own)
    const [server, ear] = await Promise.all([
      dnsmasq(segment.space, { dns: ['10.77.0.53', '10.77.0.54'], domain: 'example.org', mtu: 1400 }),
      listen(segment),
    ])
    const container = await node.host.container()
    const result = await node.add(conf, { container })
    const lease = await server.lease()
    expect(result.ips).toEqual([
      { address: `${lease.address}/24`, gateway: '10.77.0.1', interface: result.interfaces!.length - 1 },
    ])
    expect(result.routes).toEqual([{ dst: '0.0.0.0/0', gw: '10.77.0.1' }])
    expect(result.dns).toEqual({ nameservers: ['10.77.0.53', '10.77.0.54'], domain: 'example.org' })
    expect(result.interfaces!.at(-1)).toMatchObject({ name: 'eth0', mtu: 1400, sandbox: container.path })
    expect((await linkOf(container, 'eth0')).mtu).toBe(1400)
    expect(await ipv4Of(container)).toEqual([`${lease.address}/24`])
    expect(await routesOf(container)).toEqual(['default via 10.77.0.1'])
    expect(await container.ping('10.77.0.1')).toBe(true)
    // As the Go plugin has it: `<container>/<network>/<interface>`, of type 0.
    expect(lease.clientId).toBe(
      `00:${Buffer.from('cid-1/net/eth0')
        .toString('hex')
        .replaceAll(/..(?=.)/g, '$&:')}`,
    )
    expect(await keeper.list()).toMatchObject([
      { state: 'BOUND', address: `${lease.address}/24`, server: '10.77.0.1' },
    ])

    await node.check(conf, { container, prevResult: result })
    expect((await keeper.status()).leases).toBe(1)
    expect(notedIn(folder)).toHaveLength(1)

    await node.del(conf, { container, prevResult: result })
    await server.released(lease.address)
    // From the leased address to the server alone: others ignore what comes from 0.0.0.0.
    expect(await ear.next('RELEASE')).toMatchObject({
      source: lease.address,
      destination: '10.77.0.1',
      message: { ciaddr: lease.address },
    })
    expect(await keeper.list()).toEqual([])
    expect(notedIn(folder)).toEqual([])
    // Nothing is left to give back.
    await node.del(conf, { container, prevResult: result })
    expect(ear.of('RELEASE')).toHaveLength(1)
    expect(node.warnings).toEqual([])
  },
)

test('routes: those of option 33 and the router, or those of option 121 alone; with the metric that is configured', async () => {
  const { node, segment, conf } = await keeperNode()
  const server = await dnsmasq(segment.space, {
    staticRoutes: [{ to: '192.0.2.0', via: '10.77.0.2' }],
    search: ['a.example', 'b.example'],
  })
  const container = await node.host.container()
  const first = await node.add(conf(), { container })
  expect(first.routes).toEqual([
    // Its mask is the one of its class, as RFC 2132 has it and Go's plugin.
    { dst: '192.0.2.0/24', gw: '10.77.0.2' },
    { dst: '0.0.0.0/0', gw: '10.77.0.1' },
  ])
  expect(first.dns).toEqual({ search: ['a.example', 'b.example'] })
  expect(await routesOf(container)).toEqual(['192.0.2.0/24 via 10.77.0.2', 'default via 10.77.0.1'])
  await node.del(conf(), { container, prevResult: first })

  await server.restart({
    classlessRoutes: [
      { to: '198.51.100.0/24', via: '10.77.0.3' },
      { to: '203.0.113.0/24', via: '0.0.0.0' },
      { to: '0.0.0.0/0', via: '10.77.0.4' },
    ],
  })
  const second = await node.add(conf({ priority: 77 }), { container })
  expect(second.routes).toEqual([
    { dst: '198.51.100.0/24', gw: '10.77.0.3', priority: 77 },
    { dst: '203.0.113.0/24', gw: '0.0.0.0', scope: 253, priority: 77 },
    { dst: '0.0.0.0/0', gw: '10.77.0.4', priority: 77 },
  ])
  expect(await routesOf(container)).toEqual([
    '198.51.100.0/24 via 10.77.0.3 metric 77',
    '203.0.113.0/24 metric 77',
    'default via 10.77.0.4 metric 77',
  ])
})

test('the MTU of the configuration counts more than the network’s', async () => {
  const { node, segment, conf } = await keeperNode()
  await dnsmasq(segment.space, { mtu: 1400 })
  const container = await node.host.container()
  const fixed = conf({}, { mtu: 1300 })
  const result = await node.add(fixed, { container })
  expect((await linkOf(container, 'eth0')).mtu).toBe(1300)
  expect(result.interfaces).toMatchObject([{ name: 'eth0', mtu: 1300 }])
  await node.check(fixed, { container, prevResult: result })
})

test('an MTU that the master can not carry is said, and costs no lease', async () => {
  const { node, segment, conf, log } = await keeperNode()
  await dnsmasq(segment.space, { mtu: 9000 })
  const container = await node.host.container()
  const result = await node.add(conf(), { container })
  expect(result.ips).toHaveLength(1)
  expect((await linkOf(container, 'eth0')).mtu).toBe(1500)
  await log.waitFor(/warn DHCP: the MTU 9000/)
  expect(result.interfaces).toMatchObject([{ name: 'eth0', mtu: 1500 }])
})

test('a second ADD of an attachment tells the lease that it has', async () => {
  const { node, segment, conf, keeper } = await keeperNode()
  const [server, ear] = await Promise.all([dnsmasq(segment.space), listen(segment)])
  const container = await node.host.container()
  const call = { containerId: 'cid-1', ifName: 'eth0', netns: container.path, args: '' }
  const full = { cniVersion: '1.1.0', name: 'net', ...conf() }
  const result = await node.add(conf(), { container })
  const before = ear.length
  const again = await keeper.allocate({ ...call, conf: full })
  expect(again.ips).toMatchObject([{ address: result.ips![0]!.address }])
  expect(ear.length).toBe(before)
  // Another interface of the same container is another attachment.
  const other = await node.add(conf(), { container, ifName: 'net1' })
  expect(other.ips![0]!.address).not.toBe(result.ips![0]!.address)
  expect(server.leases()).toHaveLength(2)
  await node.del(conf(), { container, ifName: 'net1', prevResult: other })
  expect(await keeper.list()).toMatchObject([{ ifName: 'eth0' }])
  await node.check(conf(), { container, prevResult: result })
})

test('an interface that was made anew under the same name gets a lease of its own, with its own MAC', async () => {
  const { node, segment, conf } = await keeperNode()
  const server = await dnsmasq(segment.space)
  const container = await node.host.container()
  await node.add(conf(), { container })
  await container.ip('link', 'del', 'eth0')
  const result = await node.add(conf(), { container })
  const [lease, ...more] = server.leases()
  expect(more).toEqual([])
  expect(result.ips![0]!.address).toBe(`${lease!.address}/24`)
  expect(lease!.mac).toBe((await linkOf(container, 'eth0')).address)
})

test('GC gives back what is not valid, and nothing else', async () => {
  const { node, segment, conf, keeper } = await keeperNode()
  const server = await dnsmasq(segment.space)
  const all = await Promise.all(
    ['one', 'two', 'three'].map(async (containerId) => {
      const container = await node.host.container(containerId)
      const name = containerId === 'three' ? { name: 'other' } : {}
      const result = await node.add(conf({}, name), { container, containerId })
      return result.ips![0]!.address
    }),
  )
  const valid = [{ containerID: 'one', ifname: 'eth0' }]
  await node.call('GC', { ...conf(), 'cni.dev/valid-attachments': valid })
  await server.released(all[1]!.split('/')[0]!)
  expect((await keeper.list()).map(({ address }) => address).sort()).toEqual([all[0], all[2]].sort())
  expect(
    server
      .leases()
      .map(({ address }) => `${address}/24`)
      .sort(),
  ).toEqual([all[0], all[2]].sort())
})

test('CHECK finds fault and makes nothing: no lease, one that was lost, another address', async () => {
  const { node, segment, conf, keeper } = await keeperNode()
  const [server, ear] = await Promise.all([dnsmasq(segment.space), listen(segment)])
  const container = await node.host.container()
  const result = await node.add(conf(), { container })
  const changed = { ...result, ips: [{ ...result.ips![0]!, address: '10.77.0.7/24' }] }
  expect((await errorOf(node.check(conf(), { container, prevResult: changed }))).msg).toMatch(
    /10\.77\.0\.\d+\/24.*not in prevResult|10\.77\.0\.7/,
  )
  await keeper.release({
    ...{ containerId: 'cid-1', ifName: 'eth0', netns: container.path, args: '' },
    conf: { name: 'net', ...conf() },
  })
  await server.released(result.ips![0]!.address.split('/')[0]!)
  const before = ear.of('DISCOVER').length
  const error = await errorOf(node.check(conf(), { container, prevResult: result }))
  expect(error).toMatchObject({ code: 999, details: 'the keeper knows nothing of it' })
  expect(ear.of('DISCOVER')).toHaveLength(before)
  expect(await keeper.list()).toEqual([])
})

test('while a lease runs no descriptor is held, and the namespace can go', async () => {
  const { node, segment, conf, keeper } = await keeperNode()
  await dnsmasq(segment.space)
  const container = await node.host.container()
  const before = descriptors()
  await node.add(conf(), { container })
  await eventually('all is closed', () => descriptors() <= before)
  expect(await keeper.list()).toMatchObject([{ state: 'BOUND' }])
  // The kernel takes the macvlan link away with its namespace, not before its last reference.
  const count = async () =>
    (await node.host.must('ip', ['-d', 'link', 'show', 'lan'])).match(/promiscuity (\d+)/)?.[1]
  expect(await count()).toBe('1')
  await container.close()
  await eventually('the namespace is gone', async () => (await count()) === '0')
})

test('STATUS is good where there is a keeper', async () => {
  const { node, conf } = await keeperNode()
  await node.call('STATUS', conf())
})

test('an interface that is not there is no puzzle: ptp', async () => {
  const { node, conf } = await keeperNode()
  const container = await node.host.container()
  const error = await errorOf(node.add(conf({}, { type: 'ptp' }), { container }))
  expect(error.details).toContain('ptp does not')
})
