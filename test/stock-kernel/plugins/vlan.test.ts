/** The vlan plugin on real interfaces. */
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { plug, type Wired, wired } from '../../kernel/plugins/master.ts'
import { addressesOf, errorOf, factsOf, linkOf, links, unheard } from '../../kernel/plugins/node.ts'
import type { Space } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'
import { capture } from './capture.ts'

const on = (vlanId: number, address: string, more: JsonObject = {}): JsonObject => ({
  type: 'vlan',
  master: 'eth1',
  vlanId,
  ipam: { type: 'static', addresses: [{ address }] },
  ...more,
})

const attach = async ({ node }: Wired, name: string, conf: JsonObject) => {
  const container = await node.host.container(name)
  const result = await node.add(conf, { container, containerId: name })
  return { container, result, call: { container, containerId: name, prevResult: result } }
}

/** The network outside has a VLAN, too. */
const serve = async (outside: Space, id: number, protocol = '802.1Q'): Promise<void> => {
  const name = `v${id}`
  await outside.ip(
    ...['link', 'add', 'link', 'wire0', 'name', name, 'type', 'vlan', 'proto', protocol, 'id', `${id}`],
  )
  await outside.ip('link', 'set', name, 'up')
  await outside.ip('address', 'add', '10.7.0.1/24', 'dev', name)
}

test.each([
  ['802.1Q', 0x8100],
  ['802.1ad', 0x88a8],
] as const)('ADD, CHECK, DEL; a tag of %s is on the wire', async (protocol, type) => {
  const it = await wired()
  const { node, outside } = it
  await serve(outside, 100, protocol)
  const before = await factsOf(node.host)
  const conf = on(100, '10.7.0.11/24', { mtu: 1400, ...(protocol === '802.1Q' ? {} : { protocol }) })
  const frames = await capture(outside, 'wire0')
  const { container, result, call } = await attach(it, 'one', conf)
  const found = await linkOf(container, 'eth0')
  expect(found).toMatchObject({
    address: (await linkOf(node.host, 'eth1')).address,
    mtu: 1400,
    ifalias: 'linkwright:net/one/eth0',
    linkinfo: { info_kind: 'vlan', info_data: { protocol, id: 100 } },
  })
  expect(result).toMatchObject({
    interfaces: [{ name: 'eth0', mac: found.address, mtu: 1400, sandbox: container.path }],
    ips: [{ address: '10.7.0.11/24', interface: 0 }],
  })
  expect(await addressesOf(container, 'eth0')).toEqual(['10.7.0.11/24'])
  expect(await container.ping('10.7.0.1', 10)).toBe(true)
  const sent = await eventually('frames were captured', () => {
    const own = frames.filter((frame) => frame.source === found.address && frame.tag)
    return own.some((frame) => frame.type === 0x0800) ? own : null
  })
  for (const { tag } of sent) expect(tag).toEqual({ protocol: type, id: 100 })
  await node.check(conf, call)
  for (const [change, msg] of [
    [{ vlanId: 101 }, 'has VLAN 100, the configuration says 101'],
    [{ protocol: protocol === '802.1Q' ? '802.1ad' : '' }, `has protocol ${protocol}`],
    [{ mtu: 1300 }, 'has MTU 1400'],
    [{ master: 'lo' }, 'is on another interface than lo'],
  ] as const)
    expect((await errorOf(node.check({ ...conf, ...change }, call))).msg).toContain(msg)
  await node.del(conf, call)
  await node.del(conf, call)
  expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo'])
  expect(await factsOf(node.host)).toEqual(before)
})

test('VLANs do not reach each other, one id is for one container', async () => {
  const it = await wired()
  const { node, outside } = it
  await serve(outside, 200)
  const one = await attach(it, 'one', on(100, '10.7.0.11/24'))
  const two = await attach(
    it,
    'two',
    on(200, '10.7.0.12/24', { runtimeConfig: { mac: '02:00:00:00:00:77' } }),
  )
  expect(two.result.interfaces?.[0]?.mac).toBe('02:00:00:00:00:77')
  expect((await linkOf(two.container, 'eth0')).address).toBe('02:00:00:00:00:77')
  expect(await two.container.ping('10.7.0.1', 10)).toBe(true)
  expect(await one.container.ping('10.7.0.1', 1)).toBe(false)
  expect(await one.container.ping('10.7.0.12', 1)).toBe(false)
  const container = await node.host.container('three')
  const again = await errorOf(node.add(on(200, '10.7.0.13/24'), { container, containerId: 'three' }))
  expect(again.details).toContain('VLAN 200 of eth1 is in use')
  // It is another VLAN.
  await node.add(on(200, '10.7.0.13/24', { protocol: '802.1AD' }), { container, containerId: 'three' })
  expect(await two.container.ping('10.7.0.1', 10)).toBe(true)
  // Neither the master, nor a valid configuration.
  await node.host.ip('link', 'del', 'eth1')
  for (const { call } of [one, two]) await node.del({ type: 'vlan' }, call)
})

test('IPv6, no IPAM, and a master in the container', async () => {
  const { node } = await wired()
  const container = await node.host.container()
  const outside = await plug(container, 'up0')
  await serve(outside, 0)
  await outside.ip('address', 'add', 'fd07::1/64', 'dev', 'v0', 'nodad')
  const conf = on(0, 'fd07::11/64', { master: 'up0', linkInContainer: true })
  const prevResult = await node.add(conf, { container })
  expect(await container.ping('fd07::1', 10)).toBe(true)
  await node.check(conf, { container, prevResult })
  // A tag inside of the other one.
  const bare = on(7, '', { master: 'eth0', linkInContainer: true, ipam: {} })
  const call = { container, ifName: 'net1' }
  const result = await node.add(bare, call)
  expect(result.ips).toBeUndefined()
  expect((await linkOf(container, 'net1')).flags).toContain('UP')
  await node.check(bare, { ...call, prevResult: result })
  await node.del(bare, call)
  await node.del(conf, { container, prevResult })
  expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo', 'up0'])
})

test('what goes wrong is said in words, and nothing is left of it', async () => {
  const { node } = await wired()
  const container = await node.host.container()
  const before = await factsOf(container)
  const refused = async (more: JsonObject, call = {}) => {
    const error = await errorOf(node.add(on(100, '10.7.0.11/24', more), { container, ...call }))
    expect(await factsOf(container)).toEqual(before)
    return `${error.msg}; ${error.details}`
  }
  await refused({}, { deliver: unheard })
  expect(await refused({ master: 'eth9' })).toContain('failed to lookup master "eth9"')
  expect(await refused({ master: 'lo' })).toContain('lo is no Ethernet interface')
  expect(await refused({ mtu: 9000 })).toContain('invalid MTU 9000, must be [0, master MTU(1500)]')
  await node.host.ip('link', 'add', 'link', 'eth1', 'name', 'eth1.100', 'type', 'vlan', 'id', '100')
  expect(await refused({})).toContain('VLAN 100 of eth1 is in use')
  await node.host.ip('link', 'del', 'eth1.100')
  await node.call('STATUS', on(100, '10.7.0.11/24'))
  const large = await errorOf(node.call('STATUS', on(100, '10.7.0.11/24', { mtu: 9000 })))
  expect(large).toMatchObject({ code: 7, msg: 'invalid MTU 9000, must be [0, master MTU(1500)]' })
  await node.host.ip('link', 'set', 'eth1', 'down')
  expect(await refused({})).toContain('eth1 is down: ip link set eth1 up')
  const down = await errorOf(node.call('STATUS', on(100, '10.7.0.11/24')))
  expect(down).toMatchObject({ code: 50, msg: 'master eth1 is down' })
})
