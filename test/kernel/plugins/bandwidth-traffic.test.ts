/** The rates hold, in both directions, for the right subnets. */
import { describe, expect, test } from 'vitest'
import { link, trafficClass } from '../../../netlink/index.ts'
import { INTO, limits, OUT, PACKET, pour, rateAt, received, wire, wired } from './bandwidth.ts'
import { classic, type Node } from './node.ts'

const within = (measured: number, rate: number): void => {
  expect(measured / rate, `${Math.round(measured)} bytes a second`).toBeGreaterThan(0.9)
  expect(measured / rate, `${Math.round(measured)} bytes a second`).toBeLessThan(1.1)
}

test.each([
  ['ptp', wire('10.9.0.5/24', '10.9.0.1'), '10.9.0.1'],
  ['bridge', { type: 'bridge', ...classic }, '10.22.0.1'],
] as const)('both rates hold behind %s', async (_type, conf, gateway) => {
  const { it, container, prevResult, veth } = await wired(conf)
  const result = await it.add(limits, { container, prevResult })
  const own = prevResult.ips![0]!.address.split('/')[0]!
  const ifb = result.interfaces!.at(-1)!.name
  const [into, out] = await Promise.all([
    rateAt(it, veth, container, INTO, pour(it.host, own)),
    rateAt(it, ifb, it.host, OUT, pour(container, gateway)),
  ])
  within(into, INTO)
  within(out, OUT)
})

const dual = {
  type: 'ptp',
  ipam: {
    type: 'static',
    addresses: [
      { address: '10.9.0.5/24', gateway: '10.9.0.1' },
      { address: 'fd00:9::5/64', gateway: 'fd00:9::1' },
    ],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  },
} as const
const subnets = ['10.77.0.0/24', 'fd00:77::/64']

/** Packets that went by a class of a link. */
const counted = async ({ netns }: Node, dev: string, handle: string): Promise<number> => {
  using connection = netns.connect()
  const { index } = await connection.run(link.get(dev))
  const found = (await connection.run(trafficClass.list({ index }))).find((one) => one.handle === handle)
  return found?.statistics?.packets ?? 0
}

describe.each([
  ['unshapedSubnets', '1:1', '1:30'],
  ['shapedSubnets', '1:30', '1:1'],
] as const)('%s', (key, ofSubnets, ofOthers) => {
  test('of both families, from there and to there', async () => {
    const { it, container, prevResult, veth } = await wired(dual)
    const { host } = it
    await host.must('sh', ['-ec', 'echo 0 >/proc/sys/net/ipv6/conf/lo/accept_dad'])
    await host.ip('address', 'add', '10.77.0.1/24', 'dev', 'lo')
    await host.ip('address', 'add', 'fd00:77::1/64', 'dev', 'lo')
    const result = await it.add({ ...limits, [key]: subnets }, { container, prevResult })
    const ifb = result.interfaces!.at(-1)!.name
    for (const [other, own, handle] of [
      ['10.77.0.1', '10.9.0.5', ofSubnets],
      ['10.9.0.1', '10.9.0.5', ofOthers],
      ['fd00:77::1', 'fd00:9::5', ofSubnets],
      ['fd00:9::1', 'fd00:9::5', ofOthers],
    ] as const) {
      // Both sides know each other then.
      expect(await container.ping(other)).toBe(true)
      const before = [await counted(it, veth, handle), await counted(it, ifb, handle)] as const
      // From an address of that subnet to the container, and back.
      await host.must('ping', ['-n', '-q', '-c20', '-i0.002', '-w5', '-I', other, own])
      expect((await counted(it, veth, handle)) - before[0], other).toBeGreaterThanOrEqual(20)
      expect((await counted(it, ifb, handle)) - before[1], other).toBeGreaterThanOrEqual(20)
    }
  })

  test('a rate holds, and what is not limited is not', async () => {
    const { it, container, prevResult } = await wired(dual)
    const { host } = it
    await host.ip('address', 'add', '10.77.0.1/24', 'dev', 'lo')
    const result = await it.add({ ...limits, [key]: subnets }, { container, prevResult })
    const ifb = result.interfaces!.at(-1)!.name
    const [limited, free] = key === 'shapedSubnets' ? ['10.77.0.1', '10.9.0.1'] : ['10.9.0.1', '10.77.0.1']
    const before = received(host)
    await pour(container, free)
    // All 1600, at once: of the others half would be dropped.
    expect(received(host) - before).toBeGreaterThanOrEqual(1600 * PACKET)
    within(await rateAt(it, ifb, host, OUT, pour(container, limited)), OUT)
  })
})
