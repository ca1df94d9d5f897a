/** The ptp plugin on real interfaces. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { masqueradeStatus } from '../../../plugins/shared/masquerade.ts'
import type { PrintedResult } from '../../support/plugin.ts'
import type { Container } from '../../support/space.ts'
import { kernelState } from '../../support/state.ts'
import { settled } from '../../support/wait.ts'
import { type Wired, wired } from './master.ts'
import { addressesOf, errorOf, factsOf, linkOf, links, type Node, node, unheard, vethsOf } from './node.ts'

const dual: JsonObject = {
  type: 'ptp',
  ipam: {
    type: 'host-local',
    ranges: [[{ subnet: '10.22.0.0/16' }], [{ subnet: 'fd00:22::/64' }]],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  },
}
const fixed = (addresses: readonly JsonObject[], more: JsonObject = {}): JsonObject => ({
  type: 'ptp',
  ipam: { type: 'static', addresses, ...more },
})
const one = { address: '10.9.0.5/24', gateway: '10.9.0.1' }

const attach = async (it: Node, name: string, conf: JsonObject) => {
  const container = await it.host.container(name)
  const result = await it.add(conf, { container, containerId: name })
  return { container, result, call: { container, containerId: name, prevResult: result } }
}

const routesOf = async (container: Container, ...args: string[]): Promise<string[]> => {
  const found = await container.ipJson<{ dst: string; gateway?: string; prefsrc?: string; scope?: string }>(
    ...args,
    'route',
    'show',
    'dev',
    'eth0',
  )
  return found.map(({ dst, gateway, prefsrc }) =>
    [dst, ...(gateway ? ['via', gateway] : []), ...(prefsrc ? ['src', prefsrc] : [])].join(' '),
  )
}

/** Rules that belong to an attachment. Tables and base chains are everybody's. */
const rulesOf = async ({ host }: Node): Promise<string[]> =>
  `${await host.must('nft', ['list', 'ruleset'])}\n${await host.must('iptables-save', [])}`
    .split('\n')
    .filter((line) => /saddr|CNI-/.test(line))
const reservations = async ({ host }: Node): Promise<string[]> => {
  const { stdout } = await host.run('ls', ['/var/lib/cni/networks/net'])
  return stdout.split('\n').filter((name) => /^(10|fd)/.test(name))
}
const nothingIsLeft = async (it: Node): Promise<void> => {
  expect((await vethsOf(it.host)).filter(({ ifname }) => ifname !== 'eth1')).toEqual([])
  expect(await rulesOf(it)).toEqual([])
  expect(await reservations(it)).toEqual([])
}

test('ADD, CHECK, DEL', async () => {
  const it = await node()
  const before = await factsOf(it.host)
  const { container, result, call } = await attach(it, 'one', { ...dual, mtu: 1400 })
  const inside = await linkOf(container, 'eth0')
  const [end] = await vethsOf(it.host)
  expect(inside.mtu).toBe(1400)
  expect(end).toMatchObject({ mtu: 1400, ifalias: 'linkwright:net/one/eth0' })
  for (const one of [end, inside]) expect(one).toMatchObject({ num_tx_queues: 1, num_rx_queues: 1 })
  // The host asks for the container's MAC by it.
  expect(end!.addr_info.some(({ scope }) => scope === 'link')).toBe(true)
  expect(result).toMatchObject({
    interfaces: [
      { name: end!.ifname, mac: end!.address, mtu: 1400 },
      { name: 'eth0', mac: inside.address, mtu: 1400, sandbox: container.path },
    ],
    ips: [
      { address: '10.22.0.2/16', gateway: '10.22.0.1', interface: 1 },
      { address: 'fd00:22::2/64', gateway: 'fd00:22::1', interface: 1 },
    ],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  })
  expect(await addressesOf(container, 'eth0')).toEqual(['10.22.0.2/16', 'fd00:22::2/64'])
  expect(await addressesOf(it.host, end!.ifname)).toEqual(['10.22.0.1/32', 'fd00:22::1/128'])
  const states = async () => [await kernelState(it.host), await kernelState(container)]
  const made = await states()
  await it.check({ ...dual, mtu: 1400 }, call)
  expect(await states()).toEqual(made)
  await it.del(dual, call)
  await it.del(dual, call)
  expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo'])
  expect(await factsOf(it.host)).toEqual(before)
  await nothingIsLeft(it)
})

test('the MTU that nobody asked for is told as it is', async () => {
  const it = await node()
  const { container, result } = await attach(it, 'one', dual)
  expect(result.interfaces?.map(({ mtu }) => mtu)).toEqual([
    (await vethsOf(it.host))[0]!.mtu,
    (await linkOf(container, 'eth0')).mtu,
  ])
})

test('containers of a subnet reach the host and each other over it, at once', async () => {
  const it = await node()
  const [first, second] = [await attach(it, 'one', dual), await attach(it, 'two', dual)]
  for (const address of ['10.22.0.1', 'fd00:22::1', '10.22.0.3', 'fd00:22::3'])
    expect([address, await first.container.ping(address)]).toEqual([address, true])
  expect(await it.host.ping('10.22.0.2')).toBe(true)
  expect(await it.host.ping('fd00:22::3')).toBe(true)
  // Nothing is answered by the wire: the other one has never been asked for its MAC.
  const neighbours = await second.container.must('ip', ['neighbour'])
  expect(neighbours).not.toContain('10.22.0.2 ')
})

describe('ipMasq', () => {
  const conf: JsonObject = { ...dual, ipMasq: true }
  /** A host with a way out, whose network knows no way back to the containers. */
  const outside = async (): Promise<Wired> => {
    const it = await wired()
    await it.node.host.must('sh', ['-c', 'echo 0 >/proc/sys/net/ipv6/conf/eth1/accept_dad'])
    await it.node.host.ip('address', 'add', '10.9.0.2/24', 'dev', 'eth1')
    await it.node.host.ip('address', 'add', 'fd09::2/64', 'dev', 'eth1', 'nodad')
    return it
  }

  test.each(['nftables', 'iptables'])('by %s: the world answers', async (ipMasqBackend) => {
    const { node: it } = await outside()
    const own = { ...conf, ipMasqBackend }
    const { container, call } = await attach(it, 'one', own)
    expect(await container.ping('10.9.0.1')).toBe(true)
    expect(await container.ping('fd09::1')).toBe(true)
    expect((await rulesOf(it)).join('\n')).toContain(ipMasqBackend === 'nftables' ? 'saddr' : 'CNI-')
    await it.check(own, call)
    await it.del(own, call)
    await nothingIsLeft(it)
  })

  test('without it the world does not', async () => {
    const { node: it } = await outside()
    const { container } = await attach(it, 'one', dual)
    expect(await container.ping('10.9.0.1', 1)).toBe(false)
  })
})

describe('addresses', () => {
  test('two of a subnet with one gateway', async () => {
    const it = await node()
    const conf = fixed(
      [
        one,
        { address: '10.9.0.6/24', gateway: '10.9.0.1' },
        { address: 'fd00:9::5/64', gateway: 'fd00:9::1' },
        { address: 'fd00:9::6/64', gateway: 'fd00:9::1' },
      ],
      { routes: [{ dst: '0.0.0.0/0' }] },
    )
    const { container, call } = await attach(it, 'one', conf)
    expect(await routesOf(container, '-4')).toEqual([
      'default via 10.9.0.1',
      '10.9.0.0/24 via 10.9.0.1 src 10.9.0.5',
      '10.9.0.1 src 10.9.0.5',
    ])
    expect((await routesOf(container, '-6')).filter((line) => line.startsWith('fd'))).toEqual([
      'fd00:9::1 src fd00:9::5',
      'fd00:9::/64 via fd00:9::1 src fd00:9::5',
    ])
    for (const address of ['10.9.0.5', '10.9.0.6', 'fd00:9::5', 'fd00:9::6'])
      expect([address, await it.host.ping(address)]).toEqual([address, true])
    await it.check(conf, call)
  })

  test('one gateway of several subnets', async () => {
    const it = await node()
    const conf = fixed([one, { address: '172.20.0.5/16', gateway: '10.9.0.1' }])
    const { container, call } = await attach(it, 'one', conf)
    expect(await routesOf(container, '-4')).toEqual([
      '10.9.0.0/24 via 10.9.0.1 src 10.9.0.5',
      '10.9.0.1 src 10.9.0.5',
      '172.20.0.0/16 via 10.9.0.1 src 172.20.0.5',
    ])
    expect(await it.host.ping('172.20.0.5')).toBe(true)
    await it.check(conf, call)
  })

  test.each([
    ['10.9.0.5/32', '169.254.1.1', '0.0.0.0/0'],
    ['fd00:9::5/128', 'fe80::1', '::/0'],
  ])('%s alone, with a gateway elsewhere', async (address, gateway, dst) => {
    const it = await node()
    const conf = fixed([{ address, gateway }], { routes: [{ dst }] })
    const { container, call } = await attach(it, 'one', conf)
    expect(await it.host.ping(address.split('/')[0]!)).toBe(true)
    expect((await routesOf(container, dst === '::/0' ? '-6' : '-4'))[0]).toContain(`via ${gateway}`)
    await it.check(conf, call)
  })

  test('a route of IPAM to the own subnet', async () => {
    const it = await node()
    const conf = fixed([one, { address: 'fd00:9::5/64', gateway: 'fd00:9::1' }], {
      routes: [{ dst: '10.9.0.0/24' }, { dst: 'fd00:9::/64' }],
    })
    const { container, call } = await attach(it, 'one', conf)
    expect(await container.ping('10.9.0.1')).toBe(true)
    await it.check(conf, call)
  })

  test.each([
    ['no gateway', { address: '10.9.0.5/24' }, 'IPAM assigned 10.9.0.5/24 without a gateway'],
    [
      'itself as the gateway',
      { address: '10.9.0.5/24', gateway: '10.9.0.5' },
      'IPAM assigned 10.9.0.5/24 with itself as its gateway',
    ],
    [
      'a gateway of another family',
      { address: '10.9.0.5/24', gateway: 'fd00::1' },
      'IPAM assigned 10.9.0.5/24 with a gateway of another family, fd00::1',
    ],
  ])('%s is refused before anything is touched', async (_title, address, msg) => {
    const it = await node()
    const container = await it.host.container()
    const before = [await kernelState(it.host), await kernelState(container)]
    const error = await errorOf(it.add(fixed([address]), { container }))
    expect(error).toMatchObject({ code: 7, msg })
    expect(error.details).toContain('"gateway"')
    expect([await kernelState(it.host), await kernelState(container)]).toEqual(before)
  })

  test('an address that another container has', async () => {
    const it = await node()
    const first = await attach(it, 'one', fixed([one]))
    await settled(it.host)
    const container = await it.host.container('two')
    const before = [await kernelState(it.host), await kernelState(container)]
    const error = await errorOf(it.add(fixed([one]), { container, containerId: 'two' }))
    expect(error.msg).toContain('add route 10.9.0.5/32')
    expect(error.details).toContain('has a route to this address already')
    expect([await kernelState(it.host), await kernelState(container)]).toEqual(before)
    expect(await first.container.ping('10.9.0.1')).toBe(true)
  })

  test('IPv6 on a host that has it disabled', async () => {
    const it = await node()
    await it.host.must('sh', ['-c', 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6'])
    const container = await it.host.container()
    const before = await kernelState(it.host)
    expect((await errorOf(it.add(dual, { container }))).details).toContain('IPv6 is disabled on the host')
    expect(await kernelState(it.host)).toEqual(before)
  })
})

describe('MAC', () => {
  const asked = '02:11:22:33:44:55'
  test.each<[string, JsonObject, string?]>([
    ['mac', { mac: asked }],
    ['CNI_ARGS', {}, `IgnoreUnknown=1;MAC=${asked}`],
    ['args', { args: { cni: { mac: asked } } }],
    ['the capability', { mac: '02:00:00:00:00:01', runtimeConfig: { mac: asked } }],
  ])('by %s', async (_title, more, args) => {
    const it = await node()
    const container = await it.host.container()
    const ipam = { type: 'static', addresses: [one] }
    const result = await it.add({ type: 'ptp', ipam, ...more }, { container, ...(args ? { args } : {}) })
    expect((await linkOf(container, 'eth0')).address).toBe(asked)
    expect(result.interfaces?.[1]?.mac).toBe(asked)
  })
})

describe('a failed ADD leaves nothing', () => {
  test.each<[string, JsonObject]>([
    ['when all is done', { ...dual, ipMasq: true }],
    ['by iptables', { ...dual, ipMasq: true, ipMasqBackend: 'iptables' }],
    ['by the last route', fixed([one], { routes: [{ dst: '0.0.0.0/0', gw: '10.7.0.1' }] })],
  ])('%s', async (_title, conf) => {
    const it = await node()
    const container = await it.host.container()
    const before = [await factsOf(it.host), await factsOf(container)]
    await errorOf(it.add(conf, { container, deliver: unheard }))
    expect([await factsOf(it.host), await factsOf(container)]).toEqual(before)
    await nothingIsLeft(it)
  })
})

describe('DEL removes everything', () => {
  const conf: JsonObject = { ...dual, ipMasq: true }
  type Case = [title: string, del: (it: Node, container: Container, result: PrintedResult) => Promise<void>]
  const cases: Case[] = [
    ['without the result', (it, container) => it.del(conf, { container })],
    ['without a namespace', (it) => it.del(conf, {})],
    [
      'when the namespace ended',
      async (it, container, prevResult) => {
        await container.close()
        await it.del(conf, { netnsPath: container.path, prevResult })
      },
    ],
    [
      'when the interface was renamed',
      async (it, container) => {
        await container.ip('link', 'set', 'eth0', 'down')
        await container.ip('link', 'set', 'eth0', 'name', 'other')
        await it.del(conf, { container })
      },
    ],
    [
      'when the interface is gone',
      async (it, container) => {
        await container.ip('link', 'del', 'eth0')
        await it.del(conf, { container })
      },
    ],
    [
      'with a broken configuration',
      (it, container) => it.del({ ...conf, mtu: 'much', ipMasq: 7, ipMasqBackend: 'x' }, { container }),
    ],
  ]
  test.each(cases)('%s', async (_title, del) => {
    const it = await node()
    const container = await it.host.container()
    const result = await it.add(conf, { container })
    expect(await rulesOf(it)).not.toEqual([])
    await del(it, container, result)
    await nothingIsLeft(it)
  })

  test('but an interface of somebody else with its name', async () => {
    const it = await node()
    const container = await it.host.container()
    await container.ip('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'x')
    expect((await errorOf(it.add(conf, { container }))).msg).toContain('already exists')
    await it.del(conf, { container })
    expect((await links(container)).map(({ ifname }) => ifname)).toContain('eth0')
  })
})

describe('STATUS and GC', () => {
  const conf: JsonObject = { ...dual, ipMasq: true }

  test('GC removes what belongs to attachments that are not in the list', async () => {
    const it = await node()
    for (const name of ['one', 'two']) await attach(it, name, conf)
    const valid = [{ containerID: 'two', ifname: 'eth0' }]
    await it.call('GC', { ...conf, 'cni.dev/valid-attachments': valid })
    expect((await vethsOf(it.host)).map(({ ifalias }) => ifalias)).toEqual(['linkwright:net/two/eth0'])
    expect((await rulesOf(it)).every((line) => line.includes('id: two'))).toBe(true)
    expect(await reservations(it)).toEqual(['10.22.0.3', 'fd00:22::3'])
    await it.call('GC', { ...conf, 'cni.dev/valid-attachments': [] })
    await nothingIsLeft(it)
  })

  test('STATUS asks IPAM', async () => {
    const it = await node()
    await it.call('STATUS', conf)
    expect(await errorOf(it.call('STATUS', { type: 'ptp' }))).toMatchObject({
      msg: 'no plugin name provided',
    })
  })

  test('STATUS where iptables can not be run', async () => {
    const exec = () => Promise.reject(new Error('there is no iptables'))
    const conf = { ipMasq: true, ipMasqBackend: 'iptables' }
    const error = await errorOf(masqueradeStatus({ conf, exec } as never))
    expect(error).toMatchObject({ code: 50, details: 'there is no iptables' })
    await masqueradeStatus({ conf: { ...conf, ipMasq: false }, exec } as never)
  })
})
