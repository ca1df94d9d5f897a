/** The macvlan plugin on real interfaces. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { binDirs, goVersions, mustRunPlugin } from '../../support/plugin.ts'
import { eventually } from '../../support/wait.ts'
import { plug, type Wired, wired } from './master.ts'
import { addressesOf, errorOf, factsOf, linkOf, links, unheard } from './node.ts'

const on = (address: string, more: JsonObject = {}): JsonObject => ({
  type: 'macvlan',
  master: 'eth1',
  ipam: { type: 'static', addresses: [{ address, gateway: '10.9.0.1' }], routes: [{ dst: '0.0.0.0/0' }] },
  ...more,
})
const layer2 = (more: JsonObject = {}): JsonObject => ({ type: 'macvlan', master: 'eth1', ...more })

const attach = async ({ node }: Wired, name: string, address: string, more: JsonObject = {}) => {
  const container = await node.host.container(name)
  const result = await node.add(on(address, more), { container, containerId: name })
  return { container, result }
}

test('ADD, CHECK, DEL', async () => {
  const it = await wired()
  const { node } = it
  const before = await factsOf(node.host)
  const { container, result } = await attach(it, 'one', '10.9.0.11/24', { mtu: 1400 })
  const found = await linkOf(container, 'eth0')
  expect(found).toMatchObject({
    mtu: 1400,
    ifalias: 'linkwright:net/one/eth0',
    linkinfo: { info_kind: 'macvlan', info_data: { mode: 'bridge' } },
  })
  expect(result).toMatchObject({
    interfaces: [{ name: 'eth0', mac: found.address, mtu: 1400, sandbox: container.path }],
    ips: [{ address: '10.9.0.11/24', gateway: '10.9.0.1', interface: 0 }],
    routes: [{ dst: '0.0.0.0/0' }],
  })
  expect(await addressesOf(container, 'eth0')).toEqual(['10.9.0.11/24'])
  expect(await container.ping('10.9.0.1')).toBe(true)
  const conf = on('10.9.0.11/24', { mtu: 1400 })
  const call = { container, containerId: 'one', prevResult: result }
  await node.check(conf, call)
  await node.del(conf, call)
  await node.del(conf, call)
  expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo'])
  expect(await factsOf(node.host)).toEqual(before)
})

describe('modes', () => {
  test.each([
    ['bridge', true],
    ['', true],
    ['private', false],
    // Without a switch that sends frames back (a hairpin), vepa isolates.
    ['vepa', false],
  ])('%j: whether two containers reach each other', async (mode, reaches) => {
    const it = await wired()
    const one = await attach(it, 'one', '10.9.0.11/24', { mode })
    await attach(it, 'two', '10.9.0.12/24', { mode })
    expect(await one.container.ping('10.9.0.1')).toBe(true)
    expect(await one.container.ping('10.9.0.12', reaches ? 2 : 1)).toBe(reaches)
  })

  test('passthru takes its master for itself', async () => {
    const it = await wired()
    const { container, result } = await attach(it, 'one', '10.9.0.11/24', { mode: 'passthru' })
    expect(await container.ping('10.9.0.1')).toBe(true)
    const mac = (await linkOf(it.node.host, 'eth1')).address
    expect((await linkOf(container, 'eth0')).address).toBe(mac)
    expect(result.interfaces?.[0]?.mac).toBe(mac)
    const error = await errorOf(attach(it, 'two', '10.9.0.12/24'))
    expect(error.details).toContain('passthru')
  })

  test('passthru gives its master the MAC that is asked for, and does not come to others', async () => {
    const it = await wired()
    const { host } = it.node
    const mac = '02:00:00:00:00:77'
    const own = (await linkOf(host, 'eth1')).address
    const { container } = await attach(it, 'one', '10.9.0.11/24', { mode: 'passthru', mac })
    expect((await linkOf(host, 'eth1')).address).toBe(mac)
    expect((await linkOf(container, 'eth0')).address).toBe(mac)
    await it.node.del(on('10.9.0.11/24', { mode: 'passthru', mac }), { container, containerId: 'one' })
    expect((await linkOf(host, 'eth1')).address).toBe(own)
    await plug(host, 'eth2')
    await attach(it, 'two', '10.9.0.12/24', { master: 'eth2' })
    const error = await errorOf(attach(it, 'three', '10.9.0.13/24', { master: 'eth2', mode: 'passthru' }))
    expect(error.details).toContain('passthru')
  })
})

describe('keys', () => {
  test('MAC: the last source wins, and CHECK looks at it', async () => {
    const it = await wired()
    const conf = layer2({ mac: '02:00:00:00:00:01' })
    const sources: [JsonObject, string | undefined][] = [
      [conf, undefined],
      [conf, 'IgnoreUnknown=1;MAC=02:00:00:00:00:02'],
      [{ ...conf, args: { cni: { mac: '02:00:00:00:00:03' } } }, 'MAC=02:00:00:00:00:02'],
      [{ ...conf, runtimeConfig: { mac: '02:00:00:00:00:04' } }, 'MAC=02:00:00:00:00:02'],
    ]
    for (const [i, [own, args]] of sources.entries()) {
      const container = await it.node.host.container(`c${i}`)
      const result = await it.node.add(own, { container, args })
      expect((await linkOf(container, 'eth0')).address).toBe(`02:00:00:00:00:0${i + 1}`)
      await it.node.check(own, { container, args, prevResult: result })
      await container.ip('link', 'set', 'eth0', 'address', `02:00:00:00:ff:0${i}`)
      await errorOf(it.node.check(own, { container, args, prevResult: result }))
    }
  })

  test('a MAC that another one has', async () => {
    const it = await wired()
    const mac = '02:00:00:00:00:01'
    await attach(it, 'one', '10.9.0.11/24', { mac })
    const error = await errorOf(attach(it, 'two', '10.9.0.12/24', { mac }))
    expect(error.details).toContain('its MAC is that of another macvlan on eth1')
  })

  test('without IPAM: up, and nothing else', async () => {
    const it = await wired()
    const container = await it.node.host.container()
    const conf = layer2({ dns: { nameservers: ['9.9.9.9'] } })
    const result = await it.node.add(conf, { container })
    expect(result.ips).toBeUndefined()
    expect(result.dns).toEqual({ nameservers: ['9.9.9.9'] })
    expect((await linkOf(container, 'eth0')).flags).toContain('UP')
    expect(await addressesOf(container, 'eth0')).toEqual([])
    await it.node.check(conf, { container, prevResult: result })
    await container.ip('link', 'set', 'eth0', 'down')
    expect((await errorOf(it.node.check(conf, { container, prevResult: result }))).msg).toContain('down')
  })

  test('bcqueuelen', async () => {
    const it = await wired()
    const conf = { bcqueuelen: 42 }
    const { container, result } = await attach(it, 'one', '10.9.0.11/24', conf)
    expect((await linkOf(container, 'eth0')).linkinfo?.info_data).toMatchObject({ bcqueuelen: 42 })
    const call = { container, containerId: 'one', prevResult: result }
    await it.node.check(on('10.9.0.11/24', conf), call)
    expect((await errorOf(it.node.check(on('10.9.0.11/24', { bcqueuelen: 43 }), call))).msg).toContain('42')
  })

  test('linkInContainer: the master is the container’s', async () => {
    const it = await wired()
    const { node } = it
    const container = await node.host.container()
    const outside = await plug(container, 'net1')
    const conf = on('10.9.0.11/24', { linkInContainer: true, master: 'net1' })
    const result = await node.add(conf, { container })
    expect(await linkOf(container, 'eth0')).toMatchObject({ link: 'net1' })
    expect(await container.ping('10.9.0.1')).toBe(true)
    expect(await outside.ping('10.9.0.11')).toBe(true)
    await node.check(conf, { container, prevResult: result })
    // Without a name: that of the default route, which by now is its own.
    await container.ip('route', 'replace', 'default', 'via', '10.9.0.1', 'dev', 'eth0')
    const second = layer2({ linkInContainer: true, master: '' })
    await node.add(second, { container, ifName: 'eth5' })
    expect(await linkOf(container, 'eth5')).toMatchObject({ link: 'net1' })
    expect(
      (await errorOf(node.add(on('10.9.0.12/24', { linkInContainer: true }), { container, ifName: 'eth6' })))
        .msg,
    ).toBe('failed to lookup master "eth1": Link not found')
    await node.del(conf, { container })
    expect((await links(container)).map(({ ifname }) => ifname).sort()).toEqual(['eth5', 'lo', 'net1'])
  })

  test.each([
    ['10.9.0.2/24', '10.9.0.1', '-4'],
    ['fd09::2/64', 'fd09::1', '-6'],
  ])('no master: that of the default route over %s', async (address, gateway, family) => {
    const it = await wired()
    const { host } = it.node
    const container = await host.container()
    const conf = layer2({ master: '' })
    expect(await errorOf(it.node.add(conf, { container }))).toMatchObject({
      code: 7,
      msg: 'no default route interface found',
    })
    expect((await errorOf(it.node.call('STATUS', conf))).code).toBe(50)
    await host.ip('address', 'add', address, 'dev', 'eth1', ...(family === '-6' ? ['nodad'] : []))
    await host.ip(family, 'route', 'add', 'default', 'via', gateway)
    await it.node.call('STATUS', conf)
    const result = await it.node.add(conf, { container })
    expect((await linkOf(container, 'eth0')).link_index).toBe((await linkOf(host, 'eth1')).ifindex)
    // What is there stays right when the route goes.
    await host.ip(family, 'route', 'del', 'default')
    await it.node.check(conf, { container, prevResult: result })
    await it.node.del(conf, { container, prevResult: result })
    expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo'])
  })

  test('a macvlan of a macvlan is on its master', async () => {
    const it = await wired()
    const { host } = it.node
    await host.ip('link', 'add', 'mv0', 'link', 'eth1', 'up', 'type', 'macvlan', 'mode', 'bridge')
    const { container, result } = await attach(it, 'one', '10.9.0.11/24', { master: 'mv0' })
    expect(await container.ping('10.9.0.1')).toBe(true)
    const call = { container, containerId: 'one', prevResult: result }
    await it.node.check(on('10.9.0.11/24', { master: 'mv0' }), call)
  })
})

describe('IPv6', () => {
  const six = (address: string, more: JsonObject = {}): JsonObject =>
    layer2({
      ...more,
      ipam: { type: 'static', addresses: [{ address, gateway: 'fd09::1' }], routes: [{ dst: '::/0' }] },
    })

  test('an address is probed before ADD returns, and is the container’s then', async () => {
    const it = await wired()
    const container = await it.node.host.container()
    const result = await it.node.add(six('fd09::11/64'), { container })
    const own = (await linkOf(container, 'eth0')).addr_info.find(({ local }) => local === 'fd09::11')
    expect(own?.tentative).toBeUndefined()
    expect(own?.nodad).toBeUndefined()
    expect(await container.ping('fd09::1')).toBe(true)
    await it.node.check(six('fd09::11/64'), { container, prevResult: result })
  })

  test('one that somebody on the wire has fails the ADD, which leaves nothing', async () => {
    const it = await wired()
    await it.outside.ip('address', 'add', 'fd09::5/64', 'dev', 'wire0', 'nodad')
    const container = await it.node.host.container()
    const before = await factsOf(container)
    const error = await errorOf(it.node.add(six('fd09::5/64'), { container }))
    expect(error).toMatchObject({
      msg: 'duplicate address detection failed for fd09::5/64',
      details: 'another host on the segment uses this address',
    })
    expect(await factsOf(container)).toEqual(before)
  })

  test('a master without a signal: nobody can be asked, so nobody is waited for', async () => {
    const it = await wired()
    await it.outside.ip('link', 'set', 'wire0', 'down')
    const container = await it.node.host.container()
    const start = performance.now()
    await it.node.add(six('fd09::11/64'), { container })
    expect(performance.now() - start).toBeLessThan(900)
    expect(it.node.warnings.join()).toContain('master eth1 has no carrier')
    await it.outside.ip('link', 'set', 'wire0', 'up')
    // IPv6 addresses go when an interface goes down.
    await it.outside.ip('address', 'add', 'fd09::1/64', 'dev', 'wire0', 'nodad')
    await eventually('its address is probed, and good', () => container.ping('fd09::1'))
  })
})

describe('refused', () => {
  const cases: [string, JsonObject, string, RegExp][] = [
    ['a mode that is none', { mode: 'source' }, 'unknown macvlan mode: "source"', /^$/],
    ['an MTU below 0', { mtu: -1 }, 'invalid MTU -1, must be [0, master MTU]', /^$/],
    ['an MTU above the master’s', { mtu: 1501 }, 'invalid MTU 1501, must be [0, master MTU(1500)]', /^$/],
    ['one that the kernel does not take', { mtu: 67 }, 'invalid MTU 67, must be [0, master MTU(1500)]', /68/],
    [
      'a master that is not there',
      { master: 'eth9' },
      'failed to lookup master "eth9": Link not found',
      /"master"/,
    ],
    [
      'the loopback',
      { master: 'lo', mtu: 1500 },
      '',
      /lo is no Ethernet interface \(loopback\), and can carry no macvlan/,
    ],
    ['the port of a bridge', { master: 'eth2' }, '', /eth2 is a port of another interface/],
    [
      'a MAC of a group',
      { mac: '01:00:5e:00:00:01' },
      'invalid MAC address "01:00:5e:00:00:01"',
      /multicast/,
    ],
    ['IPAM that is not there', { ipam: { type: 'nowhere' } }, '', /^$/],
  ]
  test.each(cases)('%s', async (_title, more, msg, details) => {
    const it = await wired()
    const { host } = it.node
    await host.ip('link', 'add', 'br0', 'type', 'bridge')
    await plug(host, 'eth2')
    await host.ip('link', 'set', 'eth2', 'master', 'br0')
    const container = await host.container()
    const before = [await factsOf(container), await factsOf(host)]
    const error = await errorOf(it.node.add(on('10.9.0.11/24', more), { container }))
    if (msg) expect(error.msg).toBe(msg)
    if (details.source !== '^$') expect(error.details).toMatch(details)
    expect([await factsOf(container), await factsOf(host)]).toEqual(before)
  })

  test('a name that is taken in the container, by whatever it is', async () => {
    const it = await wired()
    const container = await it.node.host.container()
    await container.ip('link', 'add', 'eth0', 'type', 'bridge')
    const before = await links(container)
    expect(await errorOf(it.node.add(on('10.9.0.11/24'), { container }))).toMatchObject({
      msg: 'failed to rename macvlan to "eth0": file exists',
      details: expect.stringContaining('CNI_IFNAME'),
    })
    expect(await links(container)).toEqual(before)
    await it.node.del(on('10.9.0.11/24'), { container })
    expect(await links(container)).toEqual(before)
  })

  test('a name that the host has, too, is none', async () => {
    const it = await wired()
    await it.node.host.ip('link', 'set', 'eth1', 'down')
    await it.node.host.ip('link', 'set', 'eth1', 'name', 'eth0')
    await it.node.host.ip('link', 'set', 'eth0', 'up')
    const { container } = await attach(it, 'one', '10.9.0.11/24', { master: 'eth0' })
    expect(await container.ping('10.9.0.1')).toBe(true)
    // A second one of the same container.
    await it.node.add(on('10.9.0.12/24', { master: 'eth0', ipam: {} }), {
      container,
      containerId: 'one',
      ifName: 'net1',
    })
    expect((await links(container)).map(({ ifname }) => ifname).sort()).toEqual(['eth0', 'lo', 'net1'])
  })

  test('a failed ADD leaves nothing', async () => {
    const it = await wired()
    const container = await it.node.host.container()
    const before = await factsOf(container)
    await errorOf(it.node.add(on('10.9.0.11/24'), { container, deliver: unheard }))
    expect(await factsOf(container)).toEqual(before)
  })
})

describe('CHECK', () => {
  test.each<[string, readonly string[], RegExp]>([
    ['gone', ['link', 'del', 'eth0'], /eth0 of the result does not exist/],
    ['down', ['link', 'set', 'eth0', 'down'], /is down/],
    ['of another mode', ['link', 'set', 'eth0', 'type', 'macvlan', 'mode', 'private'], /mode private/],
    ['without its address', ['address', 'del', '10.9.0.11/24', 'dev', 'eth0'], /10\.9\.0\.11\/24 is not on/],
    ['without its route', ['route', 'del', 'default'], /route 0\.0\.0\.0\/0 via 10\.9\.0\.1/],
    ['of another MAC', ['link', 'set', 'eth0', 'address', '02:00:00:00:00:ff'], /MAC 02:00:00:00:00:ff/],
  ])('an interface that is %s', async (_title, change, msg) => {
    const it = await wired()
    const { container, result } = await attach(it, 'one', '10.9.0.11/24')
    const call = { container, containerId: 'one', prevResult: result }
    await it.node.check(on('10.9.0.11/24'), call)
    await container.ip(...change)
    const error = await errorOf(it.node.check(on('10.9.0.11/24'), call))
    expect(error.msg).toMatch(msg)
    expect(error.code).toBe(999)
  })

  test('another MTU than the configuration says; where it says none, a plugin behind may have set it', async () => {
    const it = await wired()
    const { container, result } = await attach(it, 'one', '10.9.0.11/24')
    const call = { container, containerId: 'one', prevResult: result }
    await container.ip('link', 'set', 'eth0', 'mtu', '1300')
    expect(result.interfaces?.[0]?.mtu).toBe(1500)
    await it.node.check(on('10.9.0.11/24'), call)
    const error = await errorOf(it.node.check(on('10.9.0.11/24', { mtu: 1400 }), call))
    expect(error.msg).toBe('interface eth0 has MTU 1300, the configuration says 1400')
  })

  test('another kind, another master, no result', async () => {
    const it = await wired()
    const { container, result } = await attach(it, 'one', '10.9.0.11/24')
    const call = { container, containerId: 'one', prevResult: result }
    await plug(it.node.host, 'eth2')
    const check = (more: JsonObject) => errorOf(it.node.check(on('10.9.0.11/24', more), call))
    expect((await check({ master: 'eth2' })).msg).toContain('another interface than eth2')
    expect((await check({ master: 'eth9' })).msg).toContain('eth9 does not exist')
    expect(
      (await errorOf(it.node.check(on('10.9.0.11/24'), { container, containerId: 'one' }))).msg,
    ).toContain('prevResult')
    await container.ip('link', 'del', 'eth0')
    await container.ip('link', 'add', 'eth0', 'type', 'bridge')
    expect((await check({})).msg).toContain('is not a macvlan')
  })
})

describe('DEL', () => {
  test('needs neither the master nor the namespace nor a right configuration', async () => {
    const it = await wired()
    const { node } = it
    const one = await attach(it, 'one', '10.9.0.11/24')
    const call = { container: one.container, containerId: 'one', prevResult: one.result }
    await node.del(layer2({ master: 'eth9', mode: 'nonsense', mtu: 'x' }), call)
    expect((await links(one.container)).map(({ ifname }) => ifname)).toEqual(['lo'])
    const two = await attach(it, 'two', '10.9.0.12/24')
    await node.host.ip('link', 'del', 'eth1')
    // Its macvlans have gone with it.
    await node.del(on('10.9.0.12/24'), { container: two.container, containerId: 'two' })
    await two.container.close()
    await node.del(on('10.9.0.12/24'), { containerId: 'two' })
    await node.del(on('10.9.0.12/24'), { containerId: 'two', netnsPath: '/run/netns/nowhere' })
  })

  test('finds what was renamed in the container, and one of the Go plugin by the result', async () => {
    const it = await wired()
    const { node } = it
    const one = await attach(it, 'one', '10.9.0.11/24')
    const rename = async () => {
      await one.container.ip('link', 'set', 'eth0', 'down')
      await one.container.ip('link', 'set', 'eth0', 'name', 'lan')
    }
    await rename()
    await node.del(on('10.9.0.11/24'), { container: one.container, containerId: 'one' })
    expect((await links(one.container)).map(({ ifname }) => ifname)).toEqual(['lo'])
    const conf = { cniVersion: '1.0.0', name: 'net', ...layer2() }
    const prevResult = await mustRunPlugin({
      ...{ host: node.host, binDir: binDirs.go, type: 'macvlan', command: 'ADD', conf },
      ...{ containerId: 'one', netns: one.container },
    })
    await rename()
    await node.del(conf, { container: one.container, containerId: 'one', prevResult })
    expect((await links(one.container)).map(({ ifname }) => ifname)).toEqual(['lo'])
  })

  test('leaves what is not the attachment’s', async () => {
    const it = await wired()
    const { container, result } = await attach(it, 'one', '10.9.0.11/24')
    await it.node.del(on('10.9.0.12/24'), { container, containerId: 'two' })
    await it.node.del(on('10.9.0.12/24', { name: 'other' }), { container, containerId: 'one' })
    expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo', 'eth0'])
    expect(it.node.warnings.join()).toContain('it belongs to linkwright:net/one/eth0')
    // One without an alias, and another MAC than the result has.
    await container.ip('link', 'set', 'eth0', 'address', '02:00:00:00:00:ff')
    await container.ip('link', 'set', 'eth0', 'alias', '')
    await it.node.del(on('10.9.0.11/24'), { container, containerId: 'one', prevResult: result })
    expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo', 'eth0'])
  })
})

test('STATUS', async () => {
  const it = await wired()
  const { host } = it.node
  const status = (more: JsonObject = {}) => it.node.call('STATUS', layer2(more))
  await status()
  await status({ linkInContainer: true, master: 'nowhere' })
  const answer = async (more: JsonObject = {}) => {
    const { code, msg } = await errorOf(status(more))
    return `${code} ${msg}`
  }
  expect(await answer({ master: 'eth9' })).toBe('50 failed to lookup master "eth9": Link not found')
  expect(await answer({ master: '' })).toBe('50 no default route interface found')
  expect(await answer({ master: 'lo' })).toBe('50 master lo can carry no macvlan')
  expect(await answer({ mtu: 1501 })).toBe('7 invalid MTU 1501, must be [0, master MTU(1500)]')
  expect(await answer({ mtu: 67 })).toBe('7 invalid MTU 67, must be [0, master MTU(1500)]')
  await it.outside.ip('link', 'set', 'wire0', 'down')
  expect(await answer()).toBe('50 master eth1 has no carrier')
  await host.ip('link', 'set', 'eth1', 'down')
  expect(await answer()).toBe('50 master eth1 is down')
})

test.each([...goVersions.filter((version) => version >= '0.2.0'), '1.1.0'])(
  'a result of %s',
  async (cniVersion) => {
    const it = await wired()
    const container = await it.node.host.container()
    const conf = on('10.9.0.11/24', { cniVersion })
    const result = await it.node.add(conf, { container })
    expect(result.cniVersion).toBe(cniVersion)
    if (cniVersion === '0.2.0') expect(result.ip4).toMatchObject({ ip: '10.9.0.11/24', gateway: '10.9.0.1' })
    else expect(result.interfaces?.[0]).toMatchObject({ name: 'eth0', sandbox: container.path })
    expect(result.interfaces?.[0]?.mtu).toBe(cniVersion === '1.1.0' ? 1500 : undefined)
    if (cniVersion >= '0.4.0') await it.node.check(conf, { container, prevResult: result })
    await it.node.del(conf, { container })
    if (cniVersion === '0.2.0') {
      const before = await factsOf(container)
      await errorOf(it.node.add(layer2({ cniVersion }), { container }))
      expect(await factsOf(container)).toEqual(before)
    }
  },
)

test('20 at a time on one master, and two at a time in one container', async () => {
  const it = await wired()
  const { node } = it
  const before = await factsOf(node.host)
  const names = Array.from({ length: 20 }, (_, i) => `c${i}`)
  const containers = []
  for (const name of names) containers.push(await node.host.container(name))
  const conf = layer2({ ipam: { type: 'host-local', subnet: '10.9.0.0/24', rangeStart: '10.9.0.100' } })
  const added = await Promise.all(
    containers.flatMap((container, i) => [
      node.add(conf, { container, containerId: names[i] }),
      node.add(conf, { container, containerId: names[i], ifName: 'net1' }),
    ]),
  )
  expect(new Set(added.map(({ ips }) => ips?.[0]?.address)).size).toBe(40)
  expect(new Set(added.map(({ interfaces }) => interfaces?.[0]?.mac)).size).toBe(40)
  expect(await containers[0]!.ping(added[39]!.ips![0]!.address.split('/')[0]!)).toBe(true)
  await Promise.all(
    containers.flatMap((container, i) => [
      node.del(conf, { container, containerId: names[i] }),
      node.del(conf, { container, containerId: names[i], ifName: 'net1' }),
    ]),
  )
  for (const container of containers)
    expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo'])
  expect(await factsOf(node.host)).toEqual(before)
})
