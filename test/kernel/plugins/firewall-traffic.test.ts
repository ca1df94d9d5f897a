/** What the firewall plugin's rules do to packets: state alone proves little. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import type { Container } from '../../support/space.ts'
import { attach, type Fixed, filterRules, firewallConf, rulesOf } from './firewall.ts'
import { plug } from './master.ts'
import { type Node, node } from './node.ts'

/** A node whose FORWARD drops, with a network outside that knows the way to the containers. */
const dropping = async () => {
  const it = await node()
  // Addresses are there at once: nobody else is on the wires.
  const noDad = 'for i in all default; do echo 0 >/proc/sys/net/ipv6/conf/$i/accept_dad; done'
  await it.host.must('sh', ['-c', noDad])
  const outside = await plug(it.host, 'eth1')
  await it.host.ip('address', 'add', '10.9.0.2/24', 'dev', 'eth1')
  await it.host.ip('address', 'add', 'fd09::2/64', 'dev', 'eth1')
  await outside.ip('route', 'add', '10.22.0.0/16', 'via', '10.9.0.2')
  await outside.ip('route', 'add', 'fd22::/64', 'via', 'fd09::2')
  await it.host.must('iptables', ['-P', 'FORWARD', 'DROP'])
  await it.host.must('ip6tables', ['-P', 'FORWARD', 'DROP'])
  return { it, outside }
}

const blue: Fixed = { '10.22.0.5/16': '10.22.0.1', 'fd22::5/64': 'fd22::1' }

test.each(['nftables', 'iptables'])(
  'on a host that forwards nothing by itself containers reach others and get answers, by %s',
  async (backend) => {
    const { it, outside } = await dropping()
    const { container, call } = await attach(it, 'blue', blue, { conf: { backend } })
    const reached = () => Promise.all(['10.9.0.1', 'fd09::1'].map((there) => container.ping(there, 2)))
    expect(await reached()).toEqual([true, true])
    // Only answers get in.
    const inside = await Promise.all(['10.22.0.5', 'fd22::5'].map((there) => outside.ping(there, 1)))
    expect(inside).toEqual([false, false])
    await it.del(firewallConf({ backend }), call)
    expect(await reached()).toEqual([false, false])
  },
)

test("the operator's chain has the first word", async () => {
  const { it } = await dropping()
  const { container } = await attach(it, 'blue', blue)
  expect(await container.ping('10.9.0.1')).toBe(true)
  await it.host.must('iptables', ['-A', 'CNI-ADMIN', '-s', '10.22.0.5', '-j', 'DROP'])
  expect(await container.ping('10.9.0.1', 1)).toBe(false)
})

/** Two containers of one bridge, and one of another. */
const three = async (it: Node, conf: JsonObject) => {
  const one = await attach(it, 'one', { '10.22.0.5/16': '10.22.0.1' }, { conf })
  const two = await attach(it, 'two', { '10.22.0.6/16': '10.22.0.1' }, { conf })
  const far = await attach(it, 'far', { '10.23.0.5/16': '10.23.0.1' }, { bridge: 'cni1', conf })
  return { one, two, far }
}

describe('ingressPolicy', () => {
  const reach = async (from: { container: Container }, ...addresses: string[]): Promise<boolean[]> =>
    Promise.all(addresses.map((address) => from.container.ping(address, 1)))

  test.each([
    ['open', [true, true, true]],
    ['same-bridge', [true, false, true]],
    ['isolated', [false, false, true]],
  ] as const)(
    '%s: who reaches the container of one bridge, that of another, its gateway',
    async (ingressPolicy, expected) => {
      const it = await node()
      const { one } = await three(it, { ingressPolicy })
      expect(await reach(one, '10.22.0.6', '10.23.0.5', '10.22.0.1')).toEqual(expected)
      if (ingressPolicy !== 'open') {
        // Its gateway's network and the world stay in reach.
        expect(it.warnings).toEqual([])
        await it.check(firewallConf({ ingressPolicy }), one.call)
      }
    },
  )

  test('isolated warns where the kernel does not show bridged packets to the filter tables', async () => {
    const it = await node()
    await it.host.must('sh', ['-c', 'echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables'])
    const { one } = await three(it, { ingressPolicy: 'isolated' })
    expect(await reach(one, '10.22.0.6', '10.23.0.5')).toEqual([true, false])
    expect(it.warnings[0]).toMatch(/^ingressPolicy "isolated": containers of cni0 reach each other/)
  })

  test('another policy of a bridge takes the place of the old one', async () => {
    const it = await node()
    const { one, two } = await three(it, { ingressPolicy: 'isolated' })
    expect(await reach(one, '10.22.0.6')).toEqual([false])
    await it.add(firewallConf({ ingressPolicy: 'same-bridge' }), two.call)
    expect(await reach(one, '10.22.0.6', '10.23.0.5')).toEqual([true, false])
    // open asks for nothing: what others of the bridge have asked for stays.
    await it.add(firewallConf({ ingressPolicy: 'open' }), two.call)
    expect(await reach(one, '10.23.0.5')).toEqual([false])
  })

  test('the rules of a bridge go with its last container', async () => {
    const it = await node()
    const { one, two, far } = await three(it, { ingressPolicy: 'isolated' })
    const conf = firewallConf({ ingressPolicy: 'isolated' })
    const stages = async () => (await filterRules(it.host)).filter((line) => / cni0 /.test(line)).length
    await it.del(conf, one.call)
    await it.del({ type: 'bridge', bridge: 'cni0' }, one.call)
    expect(await stages()).toBe(3)
    // By its alias, without a result.
    await it.del(conf, { ...two.call, prevResult: undefined })
    expect(await stages()).toBe(0)
    expect(await rulesOf(it.host, 'CNI-ISOLATION-STAGE-2')).toHaveLength(2)
    await it.check(conf, far.call)
    // What a container without a DEL has left goes when the bridge has none.
    await it.del({ type: 'bridge', bridge: 'cni1' }, far.call)
    await it.call('GC', { ...conf, 'cni.dev/valid-attachments': [] })
    expect((await filterRules(it.host)).filter((line) => / cni1 /.test(line))).toEqual([])
    expect(await rulesOf(it.host, 'CNI-ISOLATION-STAGE-1')).toHaveLength(1)
    expect(await rulesOf(it.host, 'CNI-FORWARD')).toHaveLength(1)
  })

  test('the rules of a bridge go with its last containers, though these go at the same time', async () => {
    const it = await node()
    const { one, two } = await three(it, { ingressPolicy: 'same-bridge' })
    const conf = firewallConf({ ingressPolicy: 'same-bridge' })
    const stages = async () => (await filterRules(it.host)).filter((line) => / cni0 /.test(line)).length
    // Each finds the port of the other, which the bridge plugin has yet to delete.
    await it.del(conf, one.call)
    expect(await stages()).toBe(2)
    await it.check(conf, two.call)
    // One that is added again stays.
    await it.add(conf, one.call)
    await it.del(conf, two.call)
    expect(await stages()).toBe(2)
    await it.add(conf, two.call)
    await it.del(conf, one.call)
    await it.del(conf, { ...two.call, prevResult: undefined })
    expect(await stages()).toBe(0)
    for (const { call } of [one, two]) await it.del({ type: 'bridge', bridge: 'cni0' }, call)
    expect(await it.host.ipJson('link', 'show', 'master', 'cni0')).toEqual([])
  })

  test('the rules of a bridge without containers go with a DEL that does not know its bridge', async () => {
    const it = await node()
    const { one, two } = await three(it, { ingressPolicy: 'same-bridge' })
    const conf = firewallConf({ ingressPolicy: 'same-bridge' })
    const about = async (bridge: string) =>
      (await filterRules(it.host)).filter((line) => line.includes(` ${bridge} `)).length
    for (const { call } of [one, two]) await it.del({ type: 'bridge', bridge: 'cni0' }, call)
    await it.del(conf, { container: one.container, containerId: 'undone' })
    expect([await about('cni0'), await about('cni1')]).toEqual([0, 2])
  })

  test('of ptp: a container is alone', async () => {
    const it = await node()
    const attachPtp = async (name: string, address: string) => {
      const container = await it.host.container(name)
      const conf = {
        type: 'ptp',
        ipam: {
          type: 'static',
          addresses: [{ address, gateway: '10.22.0.1' }],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      }
      const prevResult = await it.add(conf, { container, containerId: name })
      const call = { container, containerId: name, prevResult }
      await it.add(firewallConf({ ingressPolicy: 'same-bridge' }), call)
      return { container, call }
    }
    const one = await attachPtp('one', '10.22.0.5/16')
    const two = await attachPtp('two', '10.22.0.6/16')
    expect(await reach(one, '10.22.0.6', '10.22.0.1')).toEqual([false, true])
    for (const { call } of [one, two]) await it.del(firewallConf(), call)
    expect((await filterRules(it.host)).filter((line) => line.includes('veth'))).toEqual([])
  })
})

test('after a late DEL the address of another container still works', async () => {
  const { it } = await dropping()
  const old = await attach(it, 'old', blue)
  await it.del({ type: 'bridge', bridge: 'cni0' }, old.call)
  const { container } = await attach(it, 'new', blue)
  await it.del(firewallConf(), old.call)
  expect(await container.ping('10.9.0.1')).toBe(true)
})
