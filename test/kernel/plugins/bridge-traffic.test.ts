/** What the settings of a bridge do to frames and packets: state alone proves little. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { type Container, type Space, space } from '../../support/space.ts'
import { classic, fixed, type Node, node } from './node.ts'

/** Containers `one`, `two`, … with addresses 10.9.0.11, 10.9.0.12, … */
const containers = async (it: Node, confs: readonly JsonObject[]): Promise<Container[]> => {
  const made: Container[] = []
  for (const [i, conf] of confs.entries()) {
    const container = await it.host.container(`c${i}`)
    await it.add(fixed(`10.9.0.${11 + i}/24`, '10.9.0.1', conf), { container, containerId: `c${i}` })
    made.push(container)
  }
  return made
}

describe('portIsolation', () => {
  test('isolated ports reach the gateway and others, not each other', async () => {
    const it = await node()
    const isolated = { portIsolation: true }
    const [one, , three] = await containers(it, [isolated, isolated, {}])
    expect(await one!.ping('10.9.0.1')).toBe(true)
    expect(await one!.ping('10.9.0.13')).toBe(true)
    expect(await three!.ping('10.9.0.12')).toBe(true)
    expect(await one!.ping('10.9.0.12', 1)).toBe(false)
  })
})

describe('hairpinMode', () => {
  /** Two interfaces behind one port that reach each other only over the bridge: it has to send back where it came from. */
  const behind = async (container: Container): Promise<[Space, Space]> => {
    const inner = [await space(), await space()] as [Space, Space]
    for (const [i, there] of inner.entries()) {
      const name = `m${i}`
      await container.ip('link', 'add', name, 'link', 'eth0', 'type', 'macvlan', 'mode', 'vepa')
      await container.ip('link', 'set', name, 'netns', String(there.pid))
      await there.ip('address', 'add', `10.8.0.${i + 1}/24`, 'dev', name)
      await there.ip('link', 'set', name, 'up')
    }
    return inner
  }

  test.each([true, false])('%s: whether a port gets its own frames back', async (hairpinMode) => {
    const it = await node()
    const container = await it.host.container()
    await it.add({ bridge: 'cni0', hairpinMode }, { container })
    const [a] = await behind(container)
    expect(await a.ping('10.8.0.2', hairpinMode ? 2 : 1)).toBe(hairpinMode)
  })
})

describe('promiscMode', () => {
  test.each([true, false])(
    '%s: whether the host sees what containers say to each other',
    async (promiscMode) => {
      const it = await node()
      const [one] = await containers(it, [{ promiscMode }, { promiscMode }])
      const received = async (): Promise<number> => {
        const [link] = await it.host.ipJson<{ stats64: { rx: { packets: number } } }>(
          '-s',
          'link',
          'show',
          'cni0',
        )
        return link!.stats64.rx.packets
      }
      expect(await one!.ping('10.9.0.12')).toBe(true)
      const before = await received()
      for (let i = 0; i < 10; i++) await one!.ping('10.9.0.12')
      // Both ways, each of ten; neighbour discovery may add some to either.
      expect((await received()) - before >= 20).toBe(promiscMode)
    },
  )
})

describe('macspoofchk', () => {
  test.each([true, false])('%s: whether a container with another MAC is heard', async (macspoofchk) => {
    const it = await node()
    const [one] = await containers(it, [{ macspoofchk }])
    expect(await one!.ping('10.9.0.1')).toBe(true)
    const { address } = (await one!.ipJson<{ address: string }>('link', 'show', 'eth0'))[0]!
    await one!.ip('link', 'set', 'eth0', 'address', '02:00:00:00:00:99')
    expect(await one!.ping('10.9.0.1', 1)).toBe(!macspoofchk)
    await one!.ip('link', 'set', 'eth0', 'address', address)
    expect(await one!.ping('10.9.0.1')).toBe(true)
  })
})

describe('mtu', () => {
  test('the largest packet fits and the next larger one does not', async () => {
    const it = await node()
    const [one] = await containers(it, [{ mtu: 9000 }])
    const fits = async (size: number): Promise<boolean> => {
      const args = ['-n', '-c1', '-w5', '-M', 'do', '-s', String(size - 28), '10.9.0.1']
      return (await one!.run('ping', args)).status === 0
    }
    expect(await fits(9000)).toBe(true)
    expect(await fits(9001)).toBe(false)
  })
})

describe('ipMasq', () => {
  /** A node with an uplink to a neighbour that has no route to containers. */
  const withUplink = async () => {
    const it = await node()
    const outside = await space()
    await outside.ip('link', 'set', 'lo', 'up')
    await it.host.ip(
      'link',
      'add',
      'uplink',
      'type',
      'veth',
      'peer',
      'name',
      'eth9',
      'netns',
      String(outside.pid),
    )
    for (const [where, name, v4, v6] of [
      [it.host, 'uplink', '192.0.2.1/24', '2001:db8::1/64'],
      [outside, 'eth9', '192.0.2.2/24', '2001:db8::2/64'],
    ] as const) {
      await where.ip('address', 'add', v4, 'dev', name)
      await where.ip('address', 'add', v6, 'dev', name, 'nodad')
      await where.ip('link', 'set', name, 'up')
    }
    return { it, outside }
  }
  const dual = (more: JsonObject): JsonObject => ({
    ...classic,
    ...more,
    ipam: {
      type: 'host-local',
      ranges: [[{ subnet: '10.22.0.0/16' }], [{ subnet: 'fd00:22::/64' }]],
      routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
    },
  })

  test.each([
    ['by nftables', { ipMasq: true }, true],
    ['by iptables', { ipMasq: true, ipMasqBackend: 'iptables' }, true],
    ['not at all', { ipMasq: false }, false],
  ])('the outside answers: %s', async (_title, more, answers) => {
    const { it } = await withUplink()
    const container = await it.host.container()
    await it.add(dual(more), { container })
    expect(await container.ping('192.0.2.2', answers ? 2 : 1)).toBe(answers)
    expect(await container.ping('2001:db8::2', answers ? 2 : 1)).toBe(answers)
  })

  test("what stays in the container's subnet keeps its source", async () => {
    const { it, outside } = await withUplink()
    // The same subnet goes on behind the uplink: the host routes to it, so that the packet passes postrouting.
    const container = await it.host.container()
    await it.add(dual({ ipMasq: true }), { container })
    await it.host.ip('route', 'add', '10.22.99.0/24', 'via', '192.0.2.2')
    await it.host.ip('neigh', 'add', 'proxy', '10.22.99.1', 'dev', 'cni0')
    await it.host.must('sh', ['-c', 'echo 1 >/proc/sys/net/ipv4/conf/cni0/proxy_arp'])
    await outside.ip('address', 'add', '10.22.99.1/32', 'dev', 'lo')
    expect(await container.ping('10.22.99.1', 1)).toBe(false)
    // It came with its own source, to which the outside has no route.
    await outside.ip('route', 'add', '10.22.0.0/16', 'via', '192.0.2.1')
    expect(await container.ping('10.22.99.1')).toBe(true)
  })
})
