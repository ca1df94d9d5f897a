import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { binDirs, mustRunPlugin, type PrintedResult } from '../../support/plugin.ts'
import type { Container } from '../../support/space.ts'
import { classic, errorOf, fixed, linkOf, links, type Node, node, vethsOf } from './node.ts'

const everything: JsonObject = { ...classic, macspoofchk: true }

/** Rules that belong to an attachment. Tables and base chains are everybody's. */
const rulesOf = async ({ host }: Node): Promise<string[]> => {
  const all = `${await host.must('nft', ['list', 'ruleset'])}\n${await host.must('iptables-save', [])}`
  return all.split('\n').filter((line) => /saddr|cni-br-iface|CNI-/.test(line))
}
const reservations = async ({ host }: Node): Promise<string[]> => {
  const { stdout } = await host.run('ls', ['/var/lib/cni/networks/net'])
  return stdout.split('\n').filter((name) => /^[0-9]/.test(name))
}

const nothingIsLeft = async (it: Node): Promise<void> => {
  expect(await vethsOf(it.host)).toEqual([])
  expect(await rulesOf(it)).toEqual([])
  expect(await reservations(it)).toEqual([])
}

/** An attachment with everything that DEL has to remove. */
const attached = async (conf = everything) => {
  const it = await node()
  const container = await it.host.container()
  const prevResult = await it.add(conf, { container })
  expect(await rulesOf(it)).not.toEqual([])
  return { it, container, prevResult }
}

describe('DEL removes everything', () => {
  type Case = [title: string, del: (it: Node, container: Container, result: PrintedResult) => Promise<void>]
  const cases: Case[] = [
    ['with the result', (it, container, prevResult) => it.del(everything, { container, prevResult })],
    ['without the result', (it, container) => it.del(everything, { container })],
    ['without a namespace', (it, _container, prevResult) => it.del(everything, { prevResult })],
    ['without a namespace and without the result', (it) => it.del(everything, {})],
    ['with a path that is gone', (it) => it.del(everything, { netnsPath: '/run/netns/gone' })],
    ['with a path below one that is gone', (it) => it.del(everything, { netnsPath: '/proc/1/status/net' })],
    ['with a file in place of the namespace', (it) => it.del(everything, { netnsPath: '/etc/hostname' })],
    [
      'when the namespace ended',
      async (it, container, prevResult) => {
        await container.close()
        await it.del(everything, { netnsPath: container.path, prevResult })
      },
    ],
    [
      'when the interface is gone',
      async (it, container) => {
        await container.ip('link', 'del', 'eth0')
        await it.del(everything, { container })
      },
    ],
    [
      'when the interface was renamed',
      async (it, container) => {
        await container.ip('link', 'set', 'eth0', 'down')
        await container.ip('link', 'set', 'eth0', 'name', 'wan')
        await it.del(everything, { container })
      },
    ],
    [
      'when the bridge is gone',
      async (it, container) => {
        await it.host.ip('link', 'del', 'cni0')
        await it.del(everything, { container })
      },
    ],
    [
      'when the host took the port out of the bridge',
      async (it, container) => {
        await it.host.ip('link', 'set', (await vethsOf(it.host))[0]!.ifname, 'nomaster')
        await it.del(everything, { container })
      },
    ],
    [
      'when the rules are gone',
      async (it, container) => {
        await it.host.must('nft', ['flush', 'ruleset'])
        await it.del(everything, { container })
      },
    ],
    [
      'when the reservation is gone',
      async (it, container) => {
        await it.host.must('rm', ['-r', '/var/lib/cni/networks/net'])
        await it.del(everything, { container })
      },
    ],
    [
      'with a configuration that changed altogether',
      (it, container) =>
        it.del(
          { bridge: 'br9', isGateway: false, ipMasq: false, macspoofchk: false, ipam: classic.ipam! },
          { container },
        ),
    ],
    [
      'with a configuration in which nothing is right',
      (it, container) =>
        it.del(
          {
            bridge: 'a name that is much too long',
            mtu: 'huge',
            vlan: 5000,
            vlanTrunk: [{ minID: 7 }],
            ipMasqBackend: 'magic',
            hairpinMode: true,
            promiscMode: true,
            runtimeConfig: { mac: 'x' },
            dns: 7,
            args: [],
            ipam: classic.ipam!,
          },
          { container, args: 'MAC=;;=x' },
        ),
    ],
    [
      'with a result that is none',
      (it, container) => it.del(everything, { container, prevResult: { ips: 5 } as never }),
    ],
    [
      'three times over',
      async (it, container, prevResult) => {
        await it.del(everything, { container, prevResult })
        await it.del(everything, { container, prevResult })
        await it.del(everything, { container })
      },
    ],
  ]
  test.each(cases)('%s', async (_title, del) => {
    const { it, container, prevResult } = await attached()
    await del(it, container, prevResult)
    await nothingIsLeft(it)
    // The bridge and its address stay, and the next ADD works.
    const next = await it.host.container('next')
    await it.add(everything, { container: next, containerId: 'next' })
    expect(await next.ping('10.22.0.1')).toBe(true)
  })

  test('of the iptables backend, by the result or without', async () => {
    const conf = { ...everything, ipMasqBackend: 'iptables' }
    for (const withResult of [true, false]) {
      const { it, container, prevResult } = await attached(conf)
      expect((await rulesOf(it)).some((line) => line.includes('-j CNI-'))).toBe(true)
      await it.del(everything, withResult ? { container, prevResult } : {})
      await nothingIsLeft(it)
    }
  })

  test('of an attachment that never was', async () => {
    const it = await node()
    const container = await it.host.container()
    await it.del(everything, { container })
    await it.del(everything, {})
    expect((await links(it.host)).length).toBe(1)
    expect((await it.host.must('nft', ['list', 'ruleset'])).trim()).toBe('')
  })

  test('what can not be removed is an error, after everything else is gone', async () => {
    const { it, container, prevResult } = await attached()
    const conf = { ...everything, ipam: { type: 'not-installed' } }
    const error = await errorOf(it.del(conf, { container, prevResult }))
    expect(error.msg).toBe(`failed to find plugin "not-installed" in path [${binDirs.go}]`)
    expect(await vethsOf(it.host)).toEqual([])
    expect(await rulesOf(it)).toEqual([])
  })
})

describe('DEL leaves what belongs to others', () => {
  test('a second attachment of the container to the same network, in every backend', async () => {
    const it = await node()
    const container = await it.host.container()
    const conf = { ...everything, ipMasqBackend: 'iptables' }
    await it.add(conf, { container })
    await it.add(conf, { container, ifName: 'net1' })
    const before = await rulesOf(it)
    await it.del(conf, { container, ifName: 'net1' })
    const rules = await rulesOf(it)
    expect(rules.filter((line) => line.includes('-A POSTROUTING -s 10.22.0.2/32'))).toHaveLength(1)
    expect(rules.length).toBeLessThan(before.length)
    // Again, when nothing tells its address any more.
    await it.del(conf, { container, ifName: 'net1' })
    expect(await rulesOf(it)).toEqual(rules)
    expect((await linkOf(container, 'eth0')).operstate).toBe('UP')
    await it.del(conf, { container })
    await nothingIsLeft(it)
  })

  test.each([
    ['of another network of ours', 'ours'],
    ["of another network of the reference plugin's", 'go'],
  ] as const)('the interface %s, whose name was asked for twice', async (_title, maker) => {
    const it = await node()
    const container = await it.host.container()
    const first: JsonObject = {
      cniVersion: '1.0.0',
      name: 'first',
      type: 'bridge',
      bridge: 'br1',
      isGateway: true,
      macspoofchk: true,
      ipam: { type: 'static', addresses: [{ address: '10.9.0.5/24', gateway: '10.9.0.1' }] },
    }
    if (maker === 'ours') await it.add(first, { container })
    else {
      const call = { host: it.host, netns: container, type: 'bridge', command: 'ADD', conf: first }
      await mustRunPlugin({ ...call, binDir: binDirs.go })
    }
    const ports = async () => (await vethsOf(it.host)).map(({ ifname, master }) => [ifname, master])
    const [port, rules] = [await ports(), await rulesOf(it)]
    expect(rules).not.toEqual([])
    const error = await errorOf(it.add(everything, { container }))
    expect(error).toMatchObject({ code: 999 })
    expect(error.msg).toMatch(
      /^container veth name \("eth0"\) peer provided \("veth[0-9a-f]{8}"\) already exists$/,
    )
    await it.del(everything, { container })
    expect(await ports()).toEqual(port)
    expect(await rulesOf(it)).toEqual(rules)
    expect(await container.ping('10.9.0.1')).toBe(true)
    expect(it.warnings.at(-1)).toMatch(/^eth0 is left alone: /)
    expect(await reservations(it)).toEqual([])
  })

  test('an interface that is no veth, and a veth that leads elsewhere', async () => {
    const it = await node()
    const [container, third] = [await it.host.container(), await it.host.container('third')]
    await container.ip('link', 'add', 'eth0', 'type', 'bridge')
    await it.del(everything, { container })
    expect(it.warnings.at(-1)).toBe('eth0 is left alone: it is no veth: bridge')
    await container.ip('link', 'del', 'eth0')
    await third.ip('link', 'add', 'x', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(container.pid))
    await it.del(everything, { container })
    expect(it.warnings.at(-1)).toBe('eth0 is left alone: its other end is not on the host')
    expect((await links(container)).map(({ ifname }) => ifname)).toContain('eth0')
  })

  test("a veth that leads elsewhere, though its other end's index is that of a port of ours", async () => {
    const it = await node()
    const [blue, red, third] = [
      await it.host.container('blue'),
      await it.host.container('red'),
      await it.host.container('third'),
    ]
    await it.add(everything, { container: red, containerId: 'red' })
    const port = (await vethsOf(it.host))[0]!
    const index = (await linkOf(red, 'eth0')).ifindex
    await third.ip(
      ...['link', 'add', 'index', String(port.ifindex), 'name', 'x', 'type', 'veth'],
      ...['peer', 'name', 'eth0', 'index', String(index), 'netns', String(blue.pid)],
    )
    await it.del(everything, { container: blue, containerId: 'red', ifName: 'eth0' })
    expect((await links(blue)).map(({ ifname }) => ifname)).toContain('eth0')
  })

  test('an attachment of the reference plugin is ours to remove', async () => {
    for (const withResult of [true, false]) {
      const it = await node()
      const container = await it.host.container()
      const conf = { cniVersion: '1.0.0', name: 'net', type: 'bridge', ...everything }
      const call = { host: it.host, netns: container, type: 'bridge', command: 'ADD', conf }
      const prevResult = await mustRunPlugin({ ...call, binDir: binDirs.go })
      expect(await rulesOf(it)).not.toEqual([])
      await it.del(conf, withResult ? { prevResult } : { container })
      await nothingIsLeft(it)
    }
  })

  test('the bridge, its address and other ports', async () => {
    const it = await node()
    const container = await it.host.container()
    const conf = fixed('10.9.0.5/24', '10.9.0.1')
    await it.add(conf, { container })
    await it.host.ip('link', 'add', 'tap7', 'master', 'cni0', 'type', 'veth', 'peer', 'name', 'tap8')
    await it.del(conf, { container })
    const bridge = await linkOf(it.host, 'cni0')
    expect(bridge.addr_info.map(({ local }) => local)).toContain('10.9.0.1')
    expect((await linkOf(it.host, 'tap7')).master).toBe('cni0')
  })
})
