/** The ipvlan plugin on real interfaces. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { plug, type Wired, wired } from '../../kernel/plugins/master.ts'
import { addressesOf, errorOf, factsOf, linkOf, links, unheard } from '../../kernel/plugins/node.ts'

/** The host has 10.9.0.2 on the master, so that it can route for the l3 modes. */
const routed = async (): Promise<Wired> => {
  const it = await wired()
  await it.node.host.ip('address', 'add', '10.9.0.2/24', 'dev', 'eth1')
  return it
}

const on = (address: string, more: JsonObject = {}): JsonObject => ({
  type: 'ipvlan',
  master: 'eth1',
  ipam: { type: 'static', addresses: [{ address }], routes: [{ dst: '0.0.0.0/0' }] },
  ...more,
})

const attach = async ({ node }: Wired, name: string, address: string, more: JsonObject = {}) => {
  const container = await node.host.container(name)
  const conf = on(address, more)
  const call = { container, containerId: name }
  const result = await node.add(conf, call)
  return { container, result, conf, call: { ...call, prevResult: result } }
}

test('ADD, CHECK, DEL', async () => {
  const it = await routed()
  const { node } = it
  const before = await factsOf(node.host)
  const { container, result, conf, call } = await attach(it, 'one', '10.9.0.11/24', { mtu: 1400 })
  const { address } = await linkOf(node.host, 'eth1')
  expect(await linkOf(container, 'eth0')).toMatchObject({
    address,
    mtu: 1400,
    ifalias: 'linkwright:net/one/eth0',
    linkinfo: { info_kind: 'ipvlan', info_data: { mode: 'l2', bridge: true } },
  })
  expect(result).toMatchObject({
    interfaces: [{ name: 'eth0', mac: address, mtu: 1400, sandbox: container.path }],
    ips: [{ address: '10.9.0.11/24', interface: 0 }],
    routes: [{ dst: '0.0.0.0/0' }],
  })
  expect(await addressesOf(container, 'eth0')).toEqual(['10.9.0.11/24'])
  await node.check(conf, call)
  for (const [change, msg] of [
    [{ mode: 'l3' }, 'has mode l2, the configuration says l3'],
    [{ flag: 'vepa' }, 'has flag bridge, the configuration says vepa'],
    [{ mtu: 1300 }, 'has MTU 1400'],
    [{ master: 'lo' }, 'is on another interface than lo'],
    [{ master: 'eth9' }, 'master eth9 does not exist'],
  ] as const)
    expect((await errorOf(node.check({ ...conf, ...change }, call))).msg).toContain(msg)
  // The last that was made decides for all of the master.
  const other = await attach(it, 'other', '10.9.0.19/24', { flag: 'private' })
  expect((await errorOf(node.check(conf, call))).msg).toContain('has flag private')
  await node.del(other.conf, other.call)
  await node.del(conf, call)
  await node.del(conf, call)
  expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo'])
  expect(await factsOf(node.host)).toEqual(before)
})

describe.each(['l2', 'l3', 'l3s'])('mode %s', (mode) => {
  test('two containers reach each other only with the flag bridge, the network with all', async () => {
    const it = await routed()
    const reach: Record<string, unknown> = {}
    for (const flag of ['bridge', 'private', 'vepa']) {
      const one = await attach(it, `one-${flag}`, '10.9.0.11/24', { mode, flag })
      const two = await attach(it, `two-${flag}`, '10.9.0.12/24', { mode, flag })
      await it.node.check(one.conf, one.call)
      expect((await linkOf(one.container, 'eth0')).linkinfo?.info_data).toMatchObject({ mode, [flag]: true })
      // Nobody answers for a container in the l3 modes: its packets go by the host.
      if (mode !== 'l2') await it.outside.ip('route', 'replace', '10.9.0.11/32', 'via', '10.9.0.2')
      reach[flag] = {
        outside: await one.container.ping('10.9.0.1', 10),
        neighbour: await one.container.ping('10.9.0.12', flag === 'bridge' ? 10 : 1),
      }
      for (const { conf, call } of [one, two]) await it.node.del(conf, call)
    }
    expect(reach).toEqual({
      bridge: { outside: true, neighbour: true },
      // Without a switch (a router in the l3 modes) that sends back what it got, vepa isolates.
      private: { outside: true, neighbour: false },
      vepa: { outside: true, neighbour: false },
    })
  })

  test('ARP for a container is answered in mode l2 alone', async () => {
    const it = await routed()
    await attach(it, 'one', '10.9.0.11/24', { mode })
    const { address } = await linkOf(it.node.host, 'eth1')
    const answered = await it.outside.ping('10.9.0.11', mode === 'l2' ? 10 : 2)
    const [neighbour] = await it.outside.ipJson<{ lladdr?: string; state: string[] }>(
      ...['neigh', 'show', '10.9.0.11'],
    )
    expect({ answered, mac: neighbour?.lladdr }).toEqual(
      mode === 'l2' ? { answered: true, mac: address } : { answered: false, mac: undefined },
    )
    if (mode === 'l2') return
    await it.outside.ip('route', 'add', '10.9.0.11/32', 'via', '10.9.0.2')
    expect(await it.outside.ping('10.9.0.11', 10)).toBe(true)
  })
})

test('IPv6 addresses are probed where others are on the segment, in mode l2', async () => {
  const it = await routed()
  const six = (address: string, more: JsonObject = {}) => ({
    ...more,
    ipam: { type: 'static', addresses: [{ address, gateway: 'fd09::1' }], routes: [{ dst: '::/0' }] },
  })
  const one = await attach(it, 'one', '', six('fd09::11/64'))
  expect(await one.container.ping('fd09::1', 10)).toBe(true)
  await it.node.check(one.conf, one.call)
  await it.outside.ip('address', 'add', 'fd09::5/64', 'dev', 'wire0', 'nodad')
  const taken = await errorOf(attach(it, 'two', '', six('fd09::5/64')))
  expect(taken.msg).toContain('duplicate address detection failed for fd09::5')
  await it.node.del(one.conf, one.call)
  const three = await attach(it, 'three', '', six('fd09::13/64', { mode: 'l3' }))
  const [found] = (await linkOf(three.container, 'eth0')).addr_info
  expect(found).toMatchObject({ local: 'fd09::13', nodad: true })
  expect(found?.tentative).toBeUndefined()
})

test('without IPAM the interface is up, in mode l2', async () => {
  const it = await routed()
  const { container, result, conf, call } = await attach(it, 'one', '', { ipam: {} })
  const found = await linkOf(container, 'eth0')
  expect(found.flags).toContain('UP')
  expect(result.ips).toBeUndefined()
  await it.node.check(conf, call)
  await container.ip('address', 'add', '10.9.0.11/24', 'dev', 'eth0')
  expect(await container.ping('10.9.0.1', 10)).toBe(true)
  await it.node.del(conf, call)
  for (const [more, msg] of [
    [{ ipam: {} }, 'ipvlan mode l3 requires an IPAM configuration'],
    [{ ipam: { type: 'dhcp' } }, 'IPAM plugin "dhcp" can not work in ipvlan mode l3'],
  ] as const) {
    const refused = await errorOf(it.node.add({ ...conf, mode: 'l3', ...more }, { container }))
    expect(refused).toMatchObject({ code: 7, msg })
    expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo'])
  }
})

describe('chained', () => {
  const previous = (...names: string[]) => ({
    cniVersion: '1.1.0',
    interfaces: names.map((name) => ({ name })),
    ips: [{ address: '10.9.0.11/24', interface: 0 }],
    routes: [{ dst: '10.77.0.0/16', gw: '10.9.0.1' }],
    dns: { nameservers: ['10.9.0.1'] },
  })
  const conf = { type: 'ipvlan' }

  test('after a plugin that made the master and got its addresses', async () => {
    const { node } = await routed()
    const container = await node.host.container()
    const result = await node.add(conf, { container, prevResult: previous('eth1') })
    expect(result).toMatchObject({
      interfaces: [{ name: 'eth0', sandbox: container.path }],
      ips: [{ address: '10.9.0.11/24', interface: 0 }],
      routes: [{ dst: '10.77.0.0/16', gw: '10.9.0.1' }],
      dns: { nameservers: ['10.9.0.1'] },
    })
    expect(result.interfaces).toHaveLength(1)
    expect(await container.ping('10.9.0.1', 10)).toBe(true)
    // What a later plugin of the chain adds to the result does not matter to CHECK and DEL, nor does a missing master.
    const prevResult = { ...result, interfaces: [...result.interfaces!, { name: 'later' }] }
    await node.check(conf, { container, prevResult })
    await node.host.ip('link', 'del', 'eth1')
    await node.del(conf, { container, prevResult })
  })

  test('after one with several interfaces, or where there is none', async () => {
    const { node } = await routed()
    const container = await node.host.container()
    const several = await errorOf(node.add(conf, { container, prevResult: previous('eth1', 'eth2') }))
    expect(several).toMatchObject({
      code: 7,
      msg: 'chained master failure. PrevResult lacks a single named interface',
    })
    const none = await errorOf(node.add(conf, { container }))
    expect(none).toMatchObject({ code: 7, msg: 'no default route interface found' })
    // It may get one from the chain.
    await node.call('STATUS', conf)
  })
})

test('the default route tells the master; DEL and CHECK do without', async () => {
  const it = await routed()
  const { node } = it
  await node.host.ip('route', 'add', 'default', 'via', '10.9.0.1')
  const { container, conf, call } = await attach(it, 'one', '10.9.0.11/24', { master: '' })
  expect(await container.ping('10.9.0.1', 10)).toBe(true)
  await node.call('STATUS', conf)
  await node.host.ip('route', 'del', 'default')
  await node.check(conf, call)
  await container.ip('link', 'set', 'eth0', 'down')
  await container.ip('link', 'set', 'eth0', 'name', 'mine')
  await node.del(conf, call)
  expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo'])
})

test('on a master in the container', async () => {
  const { node } = await wired()
  const container = await node.host.container()
  await plug(container, 'up0')
  const conf = on('10.9.0.11/24', { master: 'up0', linkInContainer: true })
  const prevResult = await node.add(conf, { container })
  expect(await container.ping('10.9.0.1', 10)).toBe(true)
  await node.check(conf, { container, prevResult })
  await node.del(conf, { container, prevResult })
  expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo', 'up0'])
})

test('what goes wrong is said in words, and nothing is left of it', async () => {
  const it = await routed()
  const { node } = it
  const container = await node.host.container()
  const before = await factsOf(container)
  const refused = async (more: JsonObject, call = {}) => {
    const error = await errorOf(node.add(on('10.9.0.11/24', more), { container, ...call }))
    expect(await factsOf(container)).toEqual(before)
    return `${error.msg}; ${error.details}`
  }
  await refused({}, { deliver: unheard })
  expect(await refused({ master: 'eth9' })).toContain('failed to lookup master "eth9"')
  expect(await refused({ master: 'lo' })).toContain('lo is no Ethernet interface')
  expect(await refused({ mtu: 9000 })).toContain('invalid MTU 9000, must be [0, master MTU(1500)]')
  const one = await attach(it, 'one', '10.9.0.11/24')
  expect(await refused({})).toContain('another ipvlan interface of eth1 has this address')
  const macvlan = { ...on('10.9.0.12/24'), type: 'macvlan' }
  const exclusive = 'macvlan and ipvlan exclude each other on one master'
  expect((await errorOf(node.add(macvlan, { container }))).details).toContain(exclusive)
  await node.del(one.conf, one.call)
  await node.add(macvlan, { container: one.container })
  expect(await refused({})).toContain(exclusive)
  await node.del(macvlan, { container: one.container })
  await node.host.ip('link', 'add', 'br0', 'type', 'bridge')
  await node.host.ip('link', 'set', 'eth1', 'master', 'br0')
  expect(await refused({})).toContain('eth1 is a port of another interface')
  await node.host.ip('link', 'set', 'eth1', 'nomaster', 'down')
  const down = await errorOf(node.call('STATUS', on('10.9.0.11/24')))
  expect(down).toMatchObject({ code: 50, msg: 'master eth1 is down' })
})
