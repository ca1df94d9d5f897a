import { describe, expect, test } from 'vitest'
import { allVersions, type JsonObject } from '../../../cni/types.ts'
import { addressesOf, classic, errorOf, fixed, linkOf, node, type PrintedLink, vethsOf } from './node.ts'

describe('the classic network', () => {
  test('the container reaches its gateway, its neighbours and nothing is left after DEL', async () => {
    const it = await node()
    const [blue, red] = [await it.host.container('blue'), await it.host.container('red')]
    const results = [
      await it.add(classic, { container: blue, containerId: 'blue' }),
      await it.add(classic, { container: red, containerId: 'red' }),
    ] as const
    expect(results[0].ips).toEqual([{ address: '10.22.0.2/16', gateway: '10.22.0.1', interface: 2 }])
    expect(results[1].ips).toEqual([{ address: '10.22.0.3/16', gateway: '10.22.0.1', interface: 2 }])
    expect(await blue.ping('10.22.0.1')).toBe(true)
    expect(await blue.ping('10.22.0.3')).toBe(true)
    await it.check(classic, { container: blue, containerId: 'blue', prevResult: results[0] })
    await it.del(classic, { container: blue, containerId: 'blue', prevResult: results[0] })
    await it.del(classic, { container: red, containerId: 'red', prevResult: results[1] })
    expect(await vethsOf(it.host)).toEqual([])
    expect(await it.host.must('nft', ['list', 'ruleset'])).not.toContain('saddr')
    expect(it.warnings).toEqual([])
  })

  test('the result tells names, MACs and MTUs as they are', async () => {
    const it = await node()
    const container = await it.host.container()
    const { interfaces } = await it.add({ ...classic, mtu: 1400 }, { container })
    const [bridge, port] = [await linkOf(it.host, 'cni0'), (await vethsOf(it.host))[0]!]
    const inside = await linkOf(container, 'eth0')
    const facts = ({ ifname, address, mtu }: PrintedLink) => ({ name: ifname, mac: address, mtu })
    expect(interfaces).toEqual([facts(bridge), facts(port), { ...facts(inside), sandbox: container.path }])
    expect([bridge.mtu, port.mtu, inside.mtu]).toEqual([1400, 1400, 1400])
    expect(port.ifalias).toBe('linkwright:net/cid-1/eth0')
    expect(port.address).toMatch(/^fe:/)
    for (const end of [port, inside]) expect(end).toMatchObject({ num_tx_queues: 1, num_rx_queues: 1 })
  })

  test.each([
    [173, 254],
    [174, undefined],
    [175, undefined],
  ])(
    'a network of %d characters: the port has an alias where the kernel takes one',
    async (length, bytes) => {
      const it = await node()
      const container = await it.host.container()
      const conf = { ...classic, name: 'n'.repeat(length) }
      const call = { containerId: 'c'.repeat(64), ifName: 'eth5' }
      await it.add(conf, { ...call, container })
      expect((await vethsOf(it.host))[0]?.ifalias?.length).toBe(bytes)
      await it.del(conf, { ...call, container })
      expect(await vethsOf(it.host)).toEqual([])
    },
  )

  test('the port needs no link-local address: what comes in by it is the bridge’s', async () => {
    const it = await node()
    const container = await it.host.container()
    await it.add(classic, { container })
    const [port] = await vethsOf(it.host)
    const linkLocal = async (name: string): Promise<boolean> =>
      (await linkOf(it.host, name)).addr_info.some(({ scope }) => scope === 'link')
    expect([await linkLocal(port!.ifname), await linkLocal('cni0')]).toEqual([false, true])
    expect((await linkOf(container, 'eth0')).addr_info.some(({ scope }) => scope === 'link')).toBe(true)
    // Too small for IPv6: there is nothing to be done without.
    const small = await it.host.container('small')
    await it.add({ ...classic, mtu: 1000 }, { container: small, containerId: 'small' })
    expect(await small.ping('10.22.0.1')).toBe(true)
  })

  test.each(allVersions.filter((version) => version >= '0.3.0'))(
    'MTUs are told since 1.1.0: %s',
    async (cniVersion) => {
      const it = await node()
      const container = await it.host.container()
      const conf = { ...fixed('10.9.0.5/24'), cniVersion, mtu: 1400 }
      const prevResult = await it.add(conf, { container })
      const told = cniVersion === '1.1.0' ? 1400 : undefined
      expect(prevResult.interfaces?.map(({ mtu }) => mtu)).toEqual([told, told, told])
      expect([(await vethsOf(it.host))[0]!.mtu, (await linkOf(container, 'eth0')).mtu]).toEqual([1400, 1400])
      if (cniVersion < '0.4.0') return
      await it.check(conf, { container, prevResult })
      await it.host.ip('link', 'set', (await vethsOf(it.host))[0]!.ifname, 'mtu', '1280')
      const error = await errorOf(it.check(conf, { container, prevResult }))
      expect(error.msg).toMatch(/has MTU 1280, the (result|configuration) says 1400/)
    },
  )

  test("the bridge's MAC does not change as ports come and go", async () => {
    const it = await node()
    const conf: JsonObject = { bridge: 'br7' }
    const names = ['one', 'two', 'three', 'four']
    const macs = new Set<string>()
    for (const name of names) {
      const container = await it.host.container(name)
      const { interfaces } = await it.add(conf, { container, containerId: name })
      macs.add(interfaces![0]!.mac!).add((await linkOf(it.host, 'br7')).address)
    }
    for (const containerId of names) await it.del(conf, { containerId })
    macs.add((await linkOf(it.host, 'br7')).address)
    expect(macs.size).toBe(1)
  })

  test('a second interface of the same container, and one whose index is taken', async () => {
    const it = await node()
    const container = await it.host.container()
    // What a runtime may have put there before: the index that is tried first is taken.
    await container.ip('link', 'add', 'index', '2', 'name', 'tun0', 'type', 'bridge')
    await it.add(classic, { container })
    await it.add(classic, { container, ifName: 'net1' })
    expect(await addressesOf(container, 'eth0')).toEqual(['10.22.0.2/16'])
    expect(await addressesOf(container, 'net1')).toEqual(['10.22.0.3/16'])
    expect((await linkOf(container, 'net1')).ifindex).toBeGreaterThan(3)
  })
})

describe('what the container is given', () => {
  const route = (routes: readonly unknown[]): Promise<{ routes: string[]; printed: unknown }> =>
    attach({
      ...fixed('10.9.0.5/24', '10.9.0.1'),
      ipam: { type: 'static', addresses: [{ address: '10.9.0.5/24', gateway: '10.9.0.1' }], routes } as never,
    })

  const attach = async (conf: JsonObject) => {
    const it = await node()
    const container = await it.host.container()
    const result = await it.add(conf, { container })
    await it.check(conf, { container, prevResult: result })
    const lines = await container.must('ip', ['-4', 'route', 'show', 'table', 'all'])
    const v6 = await container.must('ip', ['-6', 'route', 'show', 'table', 'all'])
    const routes = [...lines.split('\n'), ...v6.split('\n')]
      .map((line) => line.trim())
      .filter((line) => line !== '' && !/^(local|broadcast|anycast|multicast|ff00|fe80)/.test(line))
    return { routes, printed: result.routes, result, it, container }
  }

  test('routes with every attribute', async () => {
    const { routes } = await route([
      { dst: '0.0.0.0/0', mtu: 1400, advmss: 1360 },
      { dst: '172.16.5.9/12', gw: '10.9.0.7', priority: 300 },
      { dst: '192.168.0.0/16', table: 1234 },
      { dst: '198.51.100.0/24', table: 200, priority: 9 },
      { dst: '203.0.113.0/24', gw: '10.9.0.8' },
    ])
    expect(routes.sort()).toEqual([
      '10.9.0.0/24 dev eth0 proto kernel scope link src 10.9.0.5',
      '172.16.0.0/12 via 10.9.0.7 dev eth0 metric 300',
      '192.168.0.0/16 via 10.9.0.1 dev eth0 table 1234',
      '198.51.100.0/24 via 10.9.0.1 dev eth0 table 200 metric 9',
      '203.0.113.0/24 via 10.9.0.8 dev eth0',
      'default via 10.9.0.1 dev eth0 mtu 1400 advmss 1360',
    ])
  })

  test('a route on the link', async () => {
    const conf = {
      bridge: 'cni0',
      ipam: {
        type: 'static',
        addresses: [{ address: '10.9.0.5/24' }],
        routes: [{ dst: '10.50.0.0/16', scope: 253 }],
      },
    }
    const { routes } = await attach(conf)
    expect(routes).toContain('10.50.0.0/16 dev eth0 scope link')
  })

  test('a route that is named twice is there once', async () => {
    const { routes } = await route([{ dst: '10.77.0.0/16' }, { dst: '10.77.1.2/16', gw: '10.9.0.1' }])
    expect(routes.filter((line) => line.startsWith('10.77'))).toEqual(['10.77.0.0/16 via 10.9.0.1 dev eth0'])
  })

  const gateways: [title: string, conf: JsonObject, expected: string[]][] = [
    ['isDefaultGateway alone', {}, ['default via 10.9.0.1 dev eth0']],
    [
      'isDefaultGateway and a default route',
      { routes: [{ dst: '0.0.0.0/0' }] },
      ['default via 10.9.0.1 dev eth0'],
    ],
    [
      'isDefaultGateway and a default route by another gateway',
      { routes: [{ dst: '0.0.0.0/0', gw: '10.9.0.9' }] },
      ['default via 10.9.0.9 dev eth0'],
    ],
    [
      'isDefaultGateway and a default route of the other family',
      {
        routes: [{ dst: '::/0', gw: 'fd00:9::9' }],
        addresses: [{ address: '10.9.0.5/24' }, { address: 'fd00:9::5/64' }],
      },
      ['default via 10.9.0.1 dev eth0', 'default via fd00:9::9 dev eth0 metric 1024 pref medium'],
    ],
    [
      'isDefaultGateway with both families',
      { addresses: [{ address: '10.9.0.5/24' }, { address: 'fd00:9::5/64' }] },
      ['default via 10.9.0.1 dev eth0', 'default via fd00:9::1 dev eth0 metric 1024 pref medium'],
    ],
  ]
  test.each(gateways)('%s', async (_title, ipam, expected) => {
    const conf = {
      bridge: 'cni0',
      isDefaultGateway: true,
      ipam: { type: 'static', addresses: [{ address: '10.9.0.5/24' }], ...ipam },
    }
    const { routes } = await attach(conf)
    expect(routes.filter((line) => line.startsWith('default')).sort()).toEqual(expected)
  })

  test('several addresses of both families, and their gateways on the bridge', async () => {
    const conf = {
      bridge: 'cni0',
      isGateway: true,
      ipam: {
        type: 'static',
        addresses: [
          { address: '10.9.0.5/24' },
          { address: '10.9.0.6/24', gateway: '10.9.0.1' },
          { address: '172.20.3.4/16', gateway: '172.20.0.1' },
          { address: 'fd00:9::5/64' },
          { address: 'fd00:a::5/64', gateway: 'fd00:a:0::ff' },
        ],
      },
    }
    const { it, container } = await attach(conf)
    expect((await addressesOf(container, 'eth0')).sort()).toEqual([
      '10.9.0.5/24',
      '10.9.0.6/24',
      '172.20.3.4/16',
      'fd00:9::5/64',
      'fd00:a::5/64',
    ])
    expect((await addressesOf(it.host, 'cni0')).sort()).toEqual([
      '10.9.0.1/24',
      '172.20.0.1/16',
      'fd00:9::1/64',
      'fd00:a::ff/64',
    ])
    for (const gateway of ['10.9.0.1', '172.20.0.1', 'fd00:9::1', 'fd00:a::ff'])
      expect(await container.ping(gateway), gateway).toBe(true)
    // The next one finds all of them in place.
    const other = await it.host.container('other')
    await it.add(conf, { container: other, containerId: 'other' })
  })

  test('no gateway without isGateway, though IPAM names one', async () => {
    const { it } = await attach(fixed('10.9.0.5/24', '10.9.0.1', { isGateway: false }))
    expect(await addressesOf(it.host, 'cni0')).toEqual([])
    expect(await it.host.sysctl('net/ipv4/ip_forward')).toBe('0')
  })

  test('forwarding of the families that have a gateway', async () => {
    const { it } = await attach(fixed('fd00:9::5/64'))
    expect(await it.host.sysctl('net/ipv4/ip_forward')).toBe('0')
    expect(await it.host.sysctl('net/ipv6/conf/all/forwarding')).toBe('1')
  })

  const dns: [title: string, own: unknown, ipam: unknown, expected: unknown][] = [
    [
      "IPAM's where the network has none",
      undefined,
      { nameservers: ['9.9.9.9'] },
      { nameservers: ['9.9.9.9'] },
    ],
    ["IPAM's where the network's is empty", {}, { nameservers: ['9.9.9.9'] }, { nameservers: ['9.9.9.9'] }],
    ["the network's", { domain: 'x.org' }, { nameservers: ['9.9.9.9'] }, { domain: 'x.org' }],
    ["the network's, though it names nothing", { search: [] }, { nameservers: ['9.9.9.9'] }, undefined],
  ]
  test.each(dns)('DNS: %s', async (_title, own, ipam, expected) => {
    const { result } = await attach({
      bridge: 'cni0',
      ...(own === undefined ? {} : { dns: own }),
      ipam: { type: 'static', addresses: [{ address: '10.9.0.5/24' }], dns: ipam },
    } as JsonObject)
    expect(result.dns).toEqual(expected)
  })

  const macs: [title: string, conf: JsonObject, args: string, expected: string][] = [
    ['of CNI_ARGS', {}, 'IgnoreUnknown=1;MAC=02-11-22-33-44-55', '02:11:22:33:44:55'],
    [
      'of args.cni before that',
      { args: { cni: { mac: '0211.2233.4466' } } },
      'MAC=02:11:22:33:44:55',
      '02:11:22:33:44:66',
    ],
    [
      'of runtimeConfig before all',
      { args: { cni: { mac: '02:11:22:33:44:66' } }, runtimeConfig: { mac: '02:AA:22:33:44:77' } },
      'MAC=02:11:22:33:44:55',
      '02:aa:22:33:44:77',
    ],
    [
      'an empty one counts for none',
      { runtimeConfig: { mac: '' } },
      'MAC=02:11:22:33:44:55',
      '02:11:22:33:44:55',
    ],
  ]
  test.each(macs)('MAC %s', async (_title, conf, args, expected) => {
    const it = await node()
    const container = await it.host.container()
    const { interfaces } = await it.add({ bridge: 'cni0', ...conf }, { container, args })
    expect(interfaces![2]!.mac).toBe(expected)
    expect((await linkOf(container, 'eth0')).address).toBe(expected)
  })

  test.each([
    ['without IPAM the interface is up', {}, true],
    ['disableContainerInterface leaves it down', { disableContainerInterface: true }, false],
  ])('%s', async (_title, conf, up) => {
    const it = await node()
    const container = await it.host.container()
    const result = await it.add({ bridge: 'cni0', ...conf }, { container })
    expect((await linkOf(container, 'eth0')).flags.includes('UP')).toBe(up)
    expect(result.ips).toBeUndefined()
    await it.check({ bridge: 'cni0', ...conf }, { container, prevResult: result })
  })

  test('a result that the version can not express undoes the ADD', async () => {
    const it = await node()
    const container = await it.host.container()
    await expect(it.add({ bridge: 'cni0', cniVersion: '0.2.0' }, { container })).rejects.toMatchObject({
      code: 999,
      msg: 'cannot convert: no valid IP addresses',
    })
    expect((await it.host.ipJson('link', 'show')).length).toBe(1)
    expect((await container.ipJson('link', 'show')).length).toBe(1)
  })
})
