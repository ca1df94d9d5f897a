import { expect, test } from 'vitest'
import { dnsmasq } from '../../../support/dhcp/dnsmasq.ts'
import { keeperNode } from './node.ts'

const ra = { ra: true, range6: ['fd77::100', 'fd77::1ff'] as const, dns6: ['fd77::53'], search6: ['six.test'] }

test('an address from DHCPv6, the route from the router', async () => {
  const { node, segment, conf, keeper } = await keeperNode()
  const server = await dnsmasq(segment.space, { range: null, ...ra })
  const container = await node.host.container()
  const six = conf({ version: 6, timeout: 15 })
  const t = performance.now()
  const prevResult = await node.add(six, { container })
  console.log(performance.now() - t, JSON.stringify(prevResult), await server.leases6?.(), await keeper.list())
  console.log(await container.must('ip', ['-6', 'addr']), await container.must('ip', ['-6', 'route']))
  expect(await container.ping('fd77::1')).toBe(true)
  await node.check(six, { container, prevResult })
  await node.del(six, { container, prevResult })
  console.log(await server.leases6?.(), node.warnings)
})
