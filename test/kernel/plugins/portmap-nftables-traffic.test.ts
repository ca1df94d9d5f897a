/** What only the nftables backend does with packets. */
import { expect, test } from 'vitest'
import { type Ask, attached, client, outside, portmapConf, serve, site, tcp } from './portmap.ts'

test('conditions decide who gets to which container; others get to that of a network without', async () => {
  const { it, host, other } = await site()
  const [one, two] = [await attached(it, 2), await attached(it, 3)]
  await serve(one.container, 'one', 80)
  await serve(two.container, 'two', 80)
  await other.ip('address', 'add', '192.0.2.7/24', 'dev', 'eth0')
  await host.ip('route', 'add', '198.51.100.1', 'via', '192.0.2.2')
  await other.ip('address', 'add', '198.51.100.1/32', 'dev', 'eth0')
  const [far, node] = [client(other), client(host)] as [Ask, Ask]
  const ask = (more = {}) => far({ ip: outside[4].host, port: 8080, ...more })
  const conditional = {
    ...portmapConf([tcp(8080, 80)]),
    name: 'inner',
    backend: 'nftables',
    conditionsV4: ['ip', 'saddr', '{', '192.0.2.2,', '198.51.100.0/24', '}', 'iifname', '"uplink"'],
    conditionsV6: ['meta', 'mark', '1'],
  }
  await it.add(conditional, one)
  // Only those who meet the conditions.
  expect(await ask()).toBe('one 192.0.2.2')
  expect(await node({ ip: outside[4].host, port: 8080 })).toBe('ECONNREFUSED')
  expect(await far({ ip: outside[6].host, port: 8080 })).toBe('ECONNREFUSED')
  await it.add(portmapConf([tcp(8080, 80)], { backend: 'nftables' }), two)
  expect(await ask()).toBe('one 192.0.2.2')
  expect(await node({ ip: outside[4].host, port: 8080 })).toBe('two 192.0.2.1')
  expect(await far({ ip: outside[6].host, port: 8080 })).toBe('two 2001:db8::2')
  await it.del(conditional, one)
  expect(await ask()).toBe('two 192.0.2.2')
})

test('a rule of the reference wins over an element that its DEL could not remove', async () => {
  const { it, host, other } = await site()
  const [one, two] = [await attached(it, 2), await attached(it, 3)]
  await serve(one.container, 'one', 80)
  await serve(two.container, 'two', 80)
  await it.add(portmapConf([tcp(8080, 80)], { backend: 'nftables' }), one)
  const far = client(other)
  expect(await far({ ip: outside[4].host, port: 8080 })).toBe('one 192.0.2.2')
  const theirs = `
    add chain ip cni_hostport prerouting { type nat hook prerouting priority -100; }
    add rule ip cni_hostport prerouting fib daddr type local tcp dport 8080 dnat to 10.22.0.3:80`
  await host.must('nft', ['-f', '-'], { input: theirs })
  expect(await far({ ip: outside[4].host, port: 8080 })).toBe('two 192.0.2.2')
})

test('nothing is hidden but what is forwarded by a mapping', async () => {
  const { it } = await site()
  const [one, two] = [await attached(it, 2), await attached(it, 3)]
  await serve(one.container, 'one', 80)

  await it.add(portmapConf([tcp(8080, 80)], { backend: 'nftables' }), one)
  const neighbour = client(two.container)
  expect(await neighbour({ ip: '10.22.0.2', port: 80 })).toBe('one 10.22.0.3')
  expect(await neighbour({ ip: 'fd00:22::2', port: 80 })).toBe('one fd00:22::3')
  expect(await neighbour({ ip: outside[4].host, port: 8080 })).toBe('one 10.22.0.1')
})
