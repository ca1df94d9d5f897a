/** Many leases of one keeper at once. */
import { expect, onTestFinished, test } from 'vitest'
import { address, link, Netns } from '../../../../netlink/index.ts'
import { kea4 } from '../../../support/dhcp/kea4.ts'
import { eventually } from '../../../support/wait.ts'
import { descriptors, keeperNode, notedIn } from './node.ts'

const COUNT = 200

test('200 leases at once: each its own address, all renewed, all given back, no descriptor left', {
  timeout: 120_000,
}, async () => {
  const { node, segment, conf, keeper, folder } = await keeperNode({ firstTimeout: 2000, deadline: 60_000 })
  const server = await kea4(segment.space, {
    subnet: '10.77.0.0/16',
    pools: [['10.77.1.0', '10.77.4.255']],
    leaseTime: 90,
    renew: 12,
    rebind: 80,
  })
  // Interfaces in one namespace stand for as many containers: the keeper opens it for each of them.
  const container = await node.host.container()
  const names = Array.from({ length: COUNT }, (_, i) => `m${i}`)
  const script = names.map(
    (name) => `link add ${name} link lan netns ${container.pid} type macvlan mode bridge`,
  )
  await node.host.must('ip', ['-batch', '-'], { input: `${script.join('\n')}\n` })
  // Each answers for its own address only: a namespace with so many interfaces on one LAN would answer for all.
  await container.must('sh', ['-c', 'echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore'])
  const before = descriptors()
  const call = (name: string) => ({
    ...{ containerId: `cid-${name}`, ifName: name, netns: container.path, args: '' },
    conf: { name: 'net', ...conf() },
  })
  const netns = Netns.open(container.path)
  const connection = netns.connect()
  onTestFinished(() => {
    connection.close()
    netns.close()
  })
  let most = 0
  const addresses = await Promise.all(
    names.map(async (name) => {
      const { ips } = await keeper.allocate(call(name))
      most = Math.max(most, descriptors())
      const own = ips![0]!.address
      // As the interface plugin does: without its address a client can't renew by unicast.
      const { index } = await connection.run(link.get(name))
      await connection.run(address.add({ index, address: own, broadcast: 'auto' }))
      return own
    }),
  )
  expect(new Set(addresses).size).toBe(COUNT)
  expect((await keeper.list()).map((lease) => lease.address).sort()).toEqual([...addresses].sort())
  expect(notedIn(folder)).toHaveLength(COUNT)
  await eventually('Kea has them all', () => server.leases().length === COUNT)

  // From now on for longer: once each is renewed, all of them only run.
  await server.restart({ leaseTime: 7200, renew: 3600, rebind: 7000 })
  const first = new Map((await keeper.list()).map((lease) => [lease.ifName, lease.expiresAt!]))
  await eventually(
    'each is renewed',
    async () => {
      const all = await keeper.list()
      return (
        all.length === COUNT &&
        all.every(({ ifName, expiresAt }) => expiresAt! > first.get(ifName)! + 3_600_000)
      )
    },
    60_000,
  )
  expect((await keeper.list()).map((lease) => lease.address).sort()).toEqual([...addresses].sort())
  expect((await keeper.status()).counters).not.toHaveProperty('expired')
  // While a client talks it has its namespace and a socket or two open; then nothing.
  expect(most).toBeGreaterThan(before + COUNT / 4)
  // But for this test's two, and what the addon's own thread keeps once it runs: an epoll and an eventfd.
  await eventually('all is closed', () => descriptors() <= before + 4)

  await keeper.gc('net', [])
  await eventually('Kea has got them all back', () => server.leases().length === 0, 20_000)
  expect(await keeper.list()).toEqual([])
  expect(notedIn(folder)).toEqual([])
  await eventually('all is closed', () => descriptors() <= before + 4)
})
