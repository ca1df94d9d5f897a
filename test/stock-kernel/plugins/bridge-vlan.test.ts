/** VLANs of the bridge plugin: needs a kernel whose bridges filter them. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { addressesOf, errorOf, linkOf, links, type Node, node, unheard } from '../../kernel/plugins/node.ts'

interface PrintedVlans {
  readonly ifname: string
  readonly vlans: readonly { readonly vlan: number; readonly flags?: readonly string[] }[]
}

/** VLANs of a port as `100P` (port VLAN, untagged), `7U` (untagged) and `201-203`. */
const vlansOf = async ({ host }: Node, port: string): Promise<string[]> => {
  const all = await host.bridgeJson<PrintedVlans>('vlan', 'show')
  const runs: { first: number; last: number; kind: string }[] = []
  for (const { vlan, flags = [] } of all.find(({ ifname }) => ifname === port)?.vlans ?? []) {
    const kind = flags.includes('PVID') ? 'P' : flags.includes('Egress Untagged') ? 'U' : ''
    const run = runs.at(-1)
    if (run?.last === vlan - 1 && run.kind === kind) run.last = vlan
    else runs.push({ first: vlan, last: vlan, kind })
  }
  return runs.map(({ first, last, kind }) => (last > first ? `${first}-${last}${kind}` : `${first}${kind}`))
}

const fixed = (address: string, more: JsonObject): JsonObject => ({
  bridge: 'cni0',
  ...more,
  ipam: { type: 'static', addresses: [{ address }] },
})

describe('VLANs of a port', () => {
  const cases: [conf: JsonObject, vlans: string[]][] = [
    [{}, ['1P']],
    [{ vlan: 100 }, ['100P']],
    [{ vlan: 100, preserveDefaultVlan: true }, ['1U', '100P']],
    [{ vlan: 1 }, ['1P']],
    [{ vlan: 4094 }, ['4094P']],
    [{ vlanTrunk: [] }, ['1P']],
    [{ vlanTrunk: [{ id: 101 }] }, ['1P', '101']],
    [{ vlanTrunk: [{ minID: 201, maxID: 203 }, { id: 101 }, { id: 202 }] }, ['1P', '101', '201-203']],
    [{ vlan: 100, vlanTrunk: [{ id: 101 }] }, ['100P', '101']],
    // Go loses the port's own VLAN when the trunk has it too.
    [{ vlan: 100, vlanTrunk: [{ minID: 99, maxID: 101 }] }, ['99', '100P', '101']],
    [{ vlan: 100, vlanTrunk: [{ id: 1 }] }, ['1', '100P']],
    [{ vlanTrunk: [{ minID: 1, maxID: 4094 }] }, ['1P', '2-4094']],
  ]
  test('are those of vlan and vlanTrunk', async () => {
    const it = await node()
    const container = await it.host.container()
    for (const [i, [conf, expected]] of cases.entries()) {
      const call = { container, ifName: `net${i}` }
      const prevResult = await it.add({ bridge: 'cni0', ...conf }, call)
      const port = prevResult.interfaces![1]!.name
      expect(await vlansOf(it, port), JSON.stringify(conf)).toEqual(expected)
      await it.check({ bridge: 'cni0', ...conf }, { ...call, prevResult })
    }
    expect((await linkOf(it.host, 'cni0')).linkinfo?.info_data?.vlan_filtering).toBe(1)
  })

  test('decide who hears whom, tagged or not', async () => {
    const it = await node()
    const attach = async (name: string, address: string, more: JsonObject) => {
      const container = await it.host.container(name)
      await it.add(fixed(address, more), { container, containerId: name })
      return container
    }
    const [one, two, other, trunk] = [
      await attach('one', '10.9.0.11/24', { vlan: 100 }),
      await attach('two', '10.9.0.12/24', { vlan: 100 }),
      await attach('other', '10.9.0.13/24', { vlan: 200 }),
      await attach('trunk', '10.8.0.14/24', { vlanTrunk: [{ id: 100 }] }),
    ]
    expect(await one.ping('10.9.0.12')).toBe(true)
    expect(await one.ping('10.9.0.13', 1)).toBe(false)
    expect(await two.ping('10.9.0.13', 1)).toBe(false)
    expect(await other.ping('10.9.0.11', 1)).toBe(false)
    await trunk.ip('link', 'add', 'link', 'eth0', 'name', 'eth0.100', 'type', 'vlan', 'id', '100')
    await trunk.ip('address', 'add', '10.9.0.14/24', 'dev', 'eth0.100')
    await trunk.ip('link', 'set', 'eth0.100', 'up')
    expect(await trunk.ping('10.9.0.11')).toBe(true)
    expect(await trunk.ping('10.9.0.13', 1)).toBe(false)
  })

  test('are noticed by CHECK when they are not as they should be', async () => {
    const it = await node()
    const container = await it.host.container()
    const conf = { bridge: 'cni0', vlan: 100, vlanTrunk: [{ minID: 201, maxID: 203 }] }
    const prevResult = await it.add(conf, { container })
    const port = prevResult.interfaces![1]!.name
    const check = () => it.check(conf, { container, prevResult })
    await it.host.must('bridge', ['vlan', 'del', 'vid', '202', 'dev', port])
    expect((await errorOf(check())).msg).toBe(`${port} does not carry VLAN 202`)
    await it.host.must('bridge', ['vlan', 'add', 'vid', '202', 'dev', port])
    await check()
    await it.host.must('bridge', ['vlan', 'add', 'vid', '100', 'dev', port])
    expect((await errorOf(check())).msg).toBe(`${port} does not carry VLAN 100 untagged`)
    await it.host.ip('link', 'set', 'cni0', 'type', 'bridge', 'vlan_filtering', '0')
    expect((await errorOf(check())).msg).toBe('bridge cni0 does not filter VLANs')
  })

  test('are filtered by a bridge that did not, and no more when the ADD fails', async () => {
    const it = await node()
    const container = await it.host.container()
    await it.host.ip('link', 'add', 'cni0', 'up', 'type', 'bridge')
    const filtering = async () => (await linkOf(it.host, 'cni0')).linkinfo?.info_data?.vlan_filtering
    await errorOf(it.add({ bridge: 'cni0', vlan: 100 }, { container, deliver: unheard }))
    expect(await filtering()).toBe(0)
    await it.add({ bridge: 'cni0', vlan: 100 }, { container })
    expect(await filtering()).toBe(1)
  })
})

describe('the gateway of a VLAN', () => {
  const conf = (n: number, more: JsonObject = {}) =>
    fixed(`10.9.0.${n}/24`, { isGateway: true, vlan: 100, ...more })
  const gatewayPort = async (it: Node): Promise<string> => (await linkOf(it.host, 'cni0.100')).link ?? ''

  test('is an interface of its own, shared by the attachments, until GC finds nobody left', async () => {
    const it = await node()
    const [blue, red] = [await it.host.container('blue'), await it.host.container('red')]
    const result = await it.add(conf(5), { container: blue, containerId: 'blue' })
    expect(result.interfaces?.map(({ name }) => name.replace(/^veth.*/, 'veth'))).toEqual([
      'cni0',
      'veth',
      'eth0',
      'cni0.100',
    ])
    expect(await addressesOf(it.host, 'cni0.100')).toEqual(['10.9.0.1/24'])
    expect(await addressesOf(it.host, 'cni0')).toEqual([])
    const before = (await links(it.host)).length
    const prevResult = await it.add(conf(6), { container: red, containerId: 'red' })
    // One pair more: the port of the second container.
    expect((await links(it.host)).length).toBe(before + 1)
    expect(await blue.ping('10.9.0.1')).toBe(true)
    expect(await red.ping('10.9.0.1')).toBe(true)
    await it.check(conf(6), { container: red, containerId: 'red', prevResult })

    const gc = (valid: readonly string[]) =>
      it.call('GC', {
        ...conf(6),
        'cni.dev/valid-attachments': valid.map((containerID) => ({ containerID, ifname: 'eth0' })),
      })
    await it.del(conf(5), { container: blue, containerId: 'blue', prevResult: result })
    await gc(['red'])
    expect(await red.ping('10.9.0.1')).toBe(true)
    await it.del(conf(6), { container: red, containerId: 'red', prevResult })
    expect(await addressesOf(it.host, 'cni0.100')).toEqual(['10.9.0.1/24'])
    await gc([])
    expect((await links(it.host)).map(({ ifname }) => ifname)).toEqual(['lo', 'cni0'])
  })

  test('goes when the ADD that made it fails', async () => {
    const it = await node()
    const container = await it.host.container()
    const error = await errorOf(it.add(conf(5), { container, deliver: unheard }))
    expect(error.message).toBe('nobody listens')
    expect((await links(it.host)).map(({ ifname }) => ifname)).toEqual(['lo'])
  })

  test.each<[string, (it: Node) => Promise<unknown>]>([
    [
      'not plugged in',
      async ({ host }) => host.ip('link', 'add', 'cni0.100', 'type', 'veth', 'peer', 'name', 'veth00000001'),
    ],
    [
      'plugged into the default VLAN',
      async ({ host }) => {
        await host.ip('link', 'add', 'cni0', 'up', 'type', 'bridge', 'vlan_filtering', '1')
        await host.ip('link', 'add', 'cni0.100', 'up', 'type', 'veth', 'peer', 'name', 'veth00000001')
        await host.ip('link', 'set', 'veth00000001', 'master', 'cni0', 'up')
      },
    ],
  ])('that a killed ADD left %s is completed', async (_how, prepare) => {
    const it = await node()
    await prepare(it)
    const container = await it.host.container()
    const prevResult = await it.add(conf(5), { container })
    expect(await vlansOf(it, 'veth00000001')).toEqual(['100P'])
    expect(await container.ping('10.9.0.1')).toBe(true)
    await it.check(conf(5), { container, prevResult })
    expect(await gatewayPort(it)).toBe('veth00000001')
  })

  test('is checked', async () => {
    const it = await node()
    const container = await it.host.container()
    const prevResult = await it.add(conf(5), { container })
    const port = await gatewayPort(it)
    const check = () => it.check(conf(5), { container, prevResult })
    await it.host.must('bridge', ['vlan', 'del', 'vid', '100', 'dev', port])
    expect((await errorOf(check())).msg).toBe(`${port} does not carry VLAN 100 untagged`)
    await it.host.ip('link', 'set', port, 'nomaster')
    expect((await errorOf(check())).msg).toBe("the gateway's interface cni0.100 is not plugged into cni0")
    await it.host.ip('link', 'set', 'cni0.100', 'down')
    expect((await errorOf(check())).msg).toBe("the gateway's interface cni0.100 is down")
    await it.host.ip('link', 'del', 'cni0.100')
    expect((await errorOf(check())).msg).toBe('interface cni0.100 of the result does not exist')
  })

  test('of another bridge is not taken', async () => {
    const it = await node()
    await it.host.ip('link', 'add', 'br1', 'up', 'type', 'bridge')
    await it.host.ip('link', 'add', 'cni0.100', 'type', 'veth', 'peer', 'name', 'x')
    await it.host.ip('link', 'set', 'x', 'master', 'br1')
    const container = await it.host.container()
    const error = await errorOf(it.add(conf(5), { container }))
    expect(error).toMatchObject({ code: 7, msg: '"cni0.100" already exists but is not plugged into cni0' })
    expect((await links(it.host)).map(({ ifname }) => ifname).sort()).toEqual(['br1', 'cni0.100', 'lo', 'x'])
  })
})
