/** Who reaches a mapped port, and as whom: with packets, in both backends. */
import { describe, expect, test } from 'vitest'
import {
  type Ask,
  attached,
  client,
  outside,
  type Probe,
  portmapConf,
  serve,
  site,
  tcp,
  udp,
} from './portmap.ts'

const backends = ['nftables', 'iptables'] as const

/** Every answer by the name of its probe. */
const askAll = async (probes: Readonly<Record<string, readonly [Ask, Probe]>>) =>
  Object.fromEntries(
    await Promise.all(
      Object.entries(probes).map(async ([name, [ask, probe]]) => [name, await ask(probe)] as const),
    ),
  )

describe.each(backends)('%s', (backend) => {
  test('a mapped port answers everybody, over both families and protocols', async () => {
    const { it, host, other } = await site()
    const one = await attached(it, 2)
    const two = await attached(it, 3)
    await serve(one.container, 'one', 80, 53)
    const conf = portmapConf([tcp(8080, 80), udp(5353, 53)], { backend })
    expect(await it.add(conf, one)).toEqual(one.prevResult)
    const [far, node, neighbour, self] = [other, host, two.container, one.container].map(client) as [
      Ask,
      Ask,
      Ask,
      Ask,
    ]
    const dns = { protocol: 'udp', port: 5353 } as const
    expect(
      await askAll({
        'other host': [far, { ip: outside[4].host, port: 8080 }],
        'other host, udp': [far, { ip: outside[4].host, ...dns }],
        'other host, v6': [far, { ip: outside[6].host, port: 8080 }],
        'other host, v6 udp': [far, { ip: outside[6].host, ...dns }],
        localhost: [node, { ip: '127.0.0.1', port: 8080 }],
        'localhost, udp': [node, { ip: '127.0.0.1', ...dns }],
        'own address': [node, { ip: outside[4].host, port: 8080 }],
        'own address, v6': [node, { ip: outside[6].host, port: 8080 }],
        'own address, v6 udp': [node, { ip: outside[6].host, ...dns }],
        neighbour: [neighbour, { ip: outside[4].host, port: 8080 }],
        'neighbour by the gateway': [neighbour, { ip: '10.22.0.1', ...dns }],
        'neighbour, v6': [neighbour, { ip: outside[6].host, port: 8080 }],
        hairpin: [self, { ip: outside[4].host, port: 8080 }],
        'hairpin, udp': [self, { ip: outside[4].host, ...dns }],
        'hairpin, v6': [self, { ip: outside[6].host, port: 8080 }],
        'another port': [far, { ip: outside[4].host, port: 8081 }],
        // The kernel has no route_localnet for IPv6.
        'localhost, v6': [node, { ip: '::1', port: 8080, timeout: 500 }],
      }),
    ).toEqual({
      // Those from elsewhere are seen as they are, those whose answer would go another way are hidden.
      'other host': 'one 192.0.2.2',
      'other host, udp': 'one 192.0.2.2',
      'other host, v6': 'one 2001:db8::2',
      'other host, v6 udp': 'one 2001:db8::2',
      localhost: 'one 10.22.0.1',
      'localhost, udp': 'one 10.22.0.1',
      'own address': 'one 192.0.2.1',
      'own address, v6': 'one 2001:db8::1',
      'own address, v6 udp': 'one 2001:db8::1',
      neighbour: 'one 10.22.0.1',
      'neighbour by the gateway': 'one 10.22.0.1',
      'neighbour, v6': 'one fd00:22::1',
      hairpin: 'one 10.22.0.1',
      'hairpin, udp': 'one 10.22.0.1',
      'hairpin, v6': 'one fd00:22::1',
      'another port': 'ECONNREFUSED',
      'localhost, v6': expect.stringMatching(/^(silence|E\w+)$/),
    })
    await it.check(conf, one)
    await it.del(conf, one)
    expect(await far({ ip: outside[4].host, port: 8080 })).toBe('ECONNREFUSED')
    expect(await far({ ip: outside[6].host, port: 8080 })).toBe('ECONNREFUSED')
  })

  test('hostIP: only that address of the host answers', async () => {
    const { it, host, other } = await site()
    const [one, two] = [await attached(it, 2), await attached(it, 3)]
    await serve(one.container, 'one', 80, 81)
    await serve(two.container, 'two', 80)
    await host.ip('address', 'add', '192.0.2.9/24', 'dev', 'uplink')
    // Both have port 8080, each on an address of its own; the general one comes first in the list.
    const mappings = [tcp(8081, 81, '0.0.0.0'), tcp(8080, 80, '192.0.2.9'), tcp(8082, 80, outside[6].host)]
    await it.add(portmapConf(mappings, { backend }), one)
    await it.add(portmapConf([tcp(8080, 80, outside[4].host)], { backend }), two)
    const [far, node] = [client(other), client(host)]
    expect(
      await askAll({
        'his address': [far, { ip: '192.0.2.9', port: 8080 }],
        'her address': [far, { ip: outside[4].host, port: 8080 }],
        'all of IPv4': [far, { ip: '192.0.2.9', port: 8081 }],
        'not of IPv6': [far, { ip: outside[6].host, port: 8081 }],
        'of IPv6': [far, { ip: outside[6].host, port: 8082 }],
        'not of IPv4': [far, { ip: outside[4].host, port: 8082 }],
        'localhost is another': [node, { ip: '127.0.0.1', port: 8080 }],
        'localhost is one of all': [node, { ip: '127.0.0.1', port: 8081 }],
      }),
    ).toEqual({
      'his address': 'one 192.0.2.2',
      'her address': 'two 192.0.2.2',
      'all of IPv4': 'one 192.0.2.2',
      'not of IPv6': 'ECONNREFUSED',
      'of IPv6': 'one 2001:db8::2',
      'not of IPv4': 'ECONNREFUSED',
      'localhost is another': 'ECONNREFUSED',
      'localhost is one of all': 'one 10.22.0.1',
    })
  })

  test('masqAll hides everybody, snat: false nobody', async () => {
    const { it, host, other } = await site()
    const [one, two] = [await attached(it, 2), await attached(it, 3)]
    await serve(one.container, 'one', 80)
    await serve(two.container, 'two', 80)
    await it.add(portmapConf([tcp(8080, 80)], { backend, masqAll: true }), one)
    const settings = 'net/ipv4/conf/cni0/route_localnet'
    expect(await host.sysctl(settings)).toBe('1')
    await host.must('sh', ['-c', `echo 0 >/proc/sys/${settings}`])
    await it.add(portmapConf([tcp(8090, 80)], { backend, snat: false }), two)
    expect(await host.sysctl(settings)).toBe('0')
    const [far, node] = [client(other), client(host)]
    expect(
      await askAll({
        all: [far, { ip: outside[4].host, port: 8080 }],
        'all, v6': [far, { ip: outside[6].host, port: 8080 }],
        none: [far, { ip: outside[4].host, port: 8090 }],
        'none, v6': [far, { ip: outside[6].host, port: 8090 }],
        'none, from here': [node, { ip: '127.0.0.1', port: 8090, timeout: 300 }],
      }),
    ).toEqual({
      all: 'one 10.22.0.1',
      'all, v6': 'one fd00:22::1',
      none: 'two 192.0.2.2',
      'none, v6': 'two 2001:db8::2',
      'none, from here': expect.stringMatching(/^(silence|EINVAL|ETIMEDOUT)$/),
    })
  })

  test('conditions: only what meets them is led on', async () => {
    const { it, host, other } = await site()
    const [one, two] = [await attached(it, 2), await attached(it, 3)]
    await serve(one.container, 'one', 80)
    await serve(two.container, 'two', 80)
    await host.ip('address', 'add', '192.0.2.9/24', 'dev', 'uplink')
    await other.ip('address', 'add', '192.0.2.77/24', 'dev', 'eth0')
    const conditions =
      backend === 'iptables'
        ? {
            conditionsV4: ['!', '-s', '192.0.2.2', '-d', '192.0.2.9'],
            conditionsV6: ['-s', '2001:db8:9::/48'],
          }
        : {
            conditionsV4: ['ip', 'saddr', '!=', '192.0.2.2', 'ip', 'daddr', '192.0.2.9'],
            conditionsV6: ['ip6', 'saddr', '2001:db8:9::/48'],
          }
    // No backend is named: the words tell which.
    const conf = portmapConf([tcp(8080, 80)], conditions)
    await it.add({ ...conf, name: 'conditional' }, one)
    // Conditions are a network's own.
    await it.add(portmapConf([tcp(8090, 80)], { backend }), two)
    await it.check({ ...conf, name: 'conditional' }, one)
    const [far, node] = [client(other), client(host)]
    expect(
      await askAll({
        'wrong source': [far, { ip: '192.0.2.9', port: 8080 }],
        'wrong destination': [node, { ip: outside[4].host, port: 8080 }],
        both: [node, { ip: '192.0.2.9', port: 8080 }],
        'v6, wrong source': [far, { ip: outside[6].host, port: 8080 }],
        'another network': [far, { ip: outside[4].host, port: 8090 }],
      }),
    ).toEqual({
      'wrong source': 'ECONNREFUSED',
      'wrong destination': 'ECONNREFUSED',
      // The kernel speaks from the first address of the subnet.
      both: 'one 192.0.2.1',
      'v6, wrong source': 'ECONNREFUSED',
      'another network': 'two 192.0.2.2',
    })
  })

  test('a flow of UDP goes where its port goes now, and a late DEL takes nothing along', async () => {
    const { it, other } = await site()
    const [one, two] = [await attached(it, 2), await attached(it, 3)]
    await serve(one.container, 'one', 53)
    await serve(two.container, 'two', 53)
    const conf = portmapConf([udp(5353, 53)], { backend })
    const far = client(other)
    const flow = (ip: string) => far({ protocol: 'udp', ip, port: 5353, keep: ip })
    const [v4, v6] = [outside[4].host, outside[6].host]
    // Before there is a mapping it is the host itself that hears it.
    expect(await flow(v4)).toBe('ECONNREFUSED')
    await it.add(conf, one)
    expect([await flow(v4), await flow(v6)]).toEqual(['one 192.0.2.2', 'one 2001:db8::2'])
    // The runtime starts the next one before it has cleaned up behind the last.
    await it.add(conf, two)
    expect([await flow(v4), await flow(v6)]).toEqual(['two 192.0.2.2', 'two 2001:db8::2'])
    await it.del(conf, one)
    expect([await flow(v4), await flow(v6)]).toEqual(['two 192.0.2.2', 'two 2001:db8::2'])
    await it.check(conf, two)
    // nf_tables tells which ports there were.
    await it.del(backend === 'nftables' ? { type: 'portmap' } : conf, two)
    expect([await flow(v4), await flow(v6)]).toEqual(['ECONNREFUSED', 'ECONNREFUSED'])
  })

  test('behind ptp, on the wire of one container', async () => {
    const { it, host, other } = await site()
    const one = await attached(it, 2, { type: 'ptp' })
    await serve(one.container, 'one', 80)
    await it.add(portmapConf([tcp(8080, 80)], { backend }), one)
    const [far, node, self] = [other, host, one.container].map(client) as [Ask, Ask, Ask]
    expect(
      await askAll({
        'other host': [far, { ip: outside[4].host, port: 8080 }],
        'other host, v6': [far, { ip: outside[6].host, port: 8080 }],
        localhost: [node, { ip: '127.0.0.1', port: 8080 }],
        hairpin: [self, { ip: outside[4].host, port: 8080 }],
        'hairpin, v6': [self, { ip: outside[6].host, port: 8080 }],
      }),
    ).toEqual({
      'other host': 'one 192.0.2.2',
      'other host, v6': 'one 2001:db8::2',
      localhost: 'one 10.22.0.1',
      hairpin: 'one 10.22.0.1',
      'hairpin, v6': 'one fd00:22::1',
    })
  })
})
