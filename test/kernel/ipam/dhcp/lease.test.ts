import { expect, test } from 'vitest'
import { dnsmasq } from '../../../support/dhcp/dnsmasq.ts'
import { keeperNode } from './node.ts'

test('a macvlan interface gets its address, routes and DNS from dnsmasq, and gives them back', async () => {
  const { node, segment, conf, keeper } = await keeperNode()
  const server = await dnsmasq(segment.space, {})
  const container = await node.host.container()
  const prevResult = await node.add(conf(), { container })
  console.log(JSON.stringify(prevResult), await server.leases(), await keeper.status(), await keeper.list())
  expect(await container.ping('10.77.0.1')).toBe(true)
  await node.check(conf(), { container, prevResult })
  await node.del(conf(), { container, prevResult })
  console.log(await server.leases(), node.warnings)
})
