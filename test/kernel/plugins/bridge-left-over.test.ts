/** What an ADD finds on the host: bridges of earlier boots, of killed ADDs, of operators and of other networks. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { kernelState } from '../../support/state.ts'
import { settled } from '../../support/wait.ts'
import {
  addressesOf,
  classic,
  errorOf,
  factsOf,
  fixed,
  linkOf,
  links,
  node,
  unheard,
  vethsOf,
} from './node.ts'

const NO_MAC = '00:00:00:00:00:00'

describe('a bridge that is there already', () => {
  test('one that is down is brought up, and refuses router advertisements', async () => {
    const it = await node()
    await it.host.ip('link', 'add', 'cni0', 'type', 'bridge')
    const container = await it.host.container()
    await it.add(classic, { container })
    expect(await container.ping('10.22.0.1')).toBe(true)
    expect(await it.host.sysctl('net/ipv6/conf/cni0/accept_ra')).toBe('0')
  })

  test('one that has lost its last port, and with it its MAC, gets one to stay', async () => {
    const it = await node()
    const { host } = it
    await host.ip('link', 'add', 'cni0', 'up', 'type', 'bridge')
    await host.ip('link', 'add', 'v0', 'master', 'cni0', 'type', 'veth', 'peer', 'name', 'v1')
    await host.ip('link', 'del', 'v0')
    expect((await linkOf(host, 'cni0')).address).toBe(NO_MAC)
    const seen = new Set<string>()
    for (const name of ['one', 'two', 'three']) {
      const container = await host.container(name)
      const conf = { bridge: 'cni0' }
      const result = await it.add(conf, { container, containerId: name })
      await it.check(conf, { container, containerId: name, prevResult: result })
      seen.add(result.interfaces![0]!.mac!).add((await linkOf(host, 'cni0')).address)
    }
    expect([...seen]).toEqual([expect.not.stringContaining(NO_MAC)])
  })

  test("one that follows its ports' MAC does not change it for a container", async () => {
    const it = await node()
    const { host } = it
    await host.ip('link', 'add', 'cni0', 'up', 'type', 'bridge')
    // Of a card: higher than most random ones.
    await host.ip('link', 'add', 'v0', 'address', 'dc:a6:32:01:02:03', 'type', 'veth', 'peer', 'name', 'v1')
    await host.ip('link', 'set', 'v0', 'master', 'cni0')
    for (const name of ['one', 'two', 'three', 'four']) {
      const container = await host.container(name)
      const { interfaces } = await it.add({ bridge: 'cni0' }, { container, containerId: name })
      expect(interfaces?.[0]?.mac).toBe('dc:a6:32:01:02:03')
    }
    expect((await linkOf(host, 'cni0')).address).toBe('dc:a6:32:01:02:03')
  })

  test('its MTU becomes the least of its ports, and the result says so', async () => {
    const it = await node()
    await it.host.ip('link', 'add', 'cni0', 'mtu', '9000', 'type', 'bridge')
    const container = await it.host.container()
    const { interfaces } = await it.add({ bridge: 'cni0', mtu: 1400 }, { container })
    expect((await linkOf(it.host, 'cni0')).mtu).toBe(1400)
    expect(interfaces?.map(({ mtu }) => mtu)).toEqual([1400, 1400, 1400])
    expect(it.warnings).toEqual(['bridge cni0 has an MTU of 9000; the configuration says 1400'])
  })

  test('promiscMode is set on it, and a network without leaves it so', async () => {
    const it = await node()
    await it.host.ip('link', 'add', 'cni0', 'type', 'bridge')
    const [blue, red] = [await it.host.container('blue'), await it.host.container('red')]
    await it.add({ bridge: 'cni0', promiscMode: true }, { container: blue, containerId: 'blue' })
    expect((await linkOf(it.host, 'cni0')).flags).toContain('PROMISC')
    const result = await it.add({ bridge: 'cni0' }, { container: red, containerId: 'red' })
    expect((await linkOf(it.host, 'cni0')).flags).toContain('PROMISC')
    await it.check({ bridge: 'cni0' }, { container: red, containerId: 'red', prevResult: result })
  })

  test.each([
    ['veth', ['link', 'add', 'cni0', 'type', 'veth', 'peer', 'name', 'v1']],
    ['tun', ['tuntap', 'add', 'cni0', 'mode', 'tap']],
  ])('something else of its name is left as it is: %s', async (_kind, command) => {
    const it = await node()
    await it.host.ip(...command)
    const container = await it.host.container()
    const before = await kernelState(it.host)
    const error = await errorOf(it.add(classic, { container }))
    expect(error).toMatchObject({
      code: 7,
      msg: 'failed to create bridge "cni0": "cni0" already exists but is not a bridge',
    })
    expect(await kernelState(it.host)).toEqual(before)
    await it.del(classic, { container })
    expect(await kernelState(it.host)).toEqual(before)
  })
})

describe('addresses of a bridge that is there already', () => {
  const prepared = async (...addresses: string[]) => {
    const it = await node()
    const { host } = it
    // Duplicate address detection would take seconds.
    await host.must('sh', ['-c', 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'])
    await host.ip('link', 'add', 'cni0', 'address', '02:00:00:00:00:01', 'up', 'type', 'bridge')
    // A port with a carrier: IPv6 would otherwise start when the container comes.
    await host.ip(...'link add v0 up master cni0 type veth peer name v1'.split(' '))
    await host.ip('link', 'set', 'v1', 'up')
    await settled(host)
    for (const address of addresses) await it.host.ip('address', 'add', address, 'dev', 'cni0')
    return { it, container: await it.host.container() }
  }

  test('the same address does', async () => {
    const { it, container } = await prepared('10.22.0.1/16')
    await it.add(classic, { container })
    expect(await addressesOf(it.host, 'cni0')).toEqual(['10.22.0.1/16'])
  })

  test('another one of IPv4 is in the way', async () => {
    const { it, container } = await prepared('10.33.0.1/16')
    const before = await kernelState(it.host)
    const error = await errorOf(it.add(classic, { container }))
    expect(error).toMatchObject({
      code: 7,
      msg: 'failed to set bridge addr: "cni0" already has an IP address different from 10.22.0.1/16',
    })
    expect(error.details).toContain('10.33.0.1/16')
    expect(error.details).toContain('forceAddress')
    expect(await kernelState(it.host)).toEqual(before)
  })

  test('the same one with another prefix length is in the way', async () => {
    const { it, container } = await prepared('10.22.0.1/24')
    expect((await errorOf(it.add(classic, { container }))).msg).toContain('different from 10.22.0.1/16')
  })

  test('of IPv6 only an overlapping one is', async () => {
    const { it, container } = await prepared('fd00:1::1/64')
    const other = await it.host.container('other')
    await it.add(fixed('fd00:2::5/64'), { container })
    const error = await errorOf(
      it.add(fixed('fd00:1::5/48', 'fd00:1::ff'), { container: other, containerId: 'other' }),
    )
    expect(error.msg).toBe(
      'failed to set bridge addr: "cni0" already has an IP address different from fd00:1::ff/48',
    )
    expect((await addressesOf(it.host, 'cni0')).sort()).toEqual(['fd00:1::1/64', 'fd00:2::1/64'])
  })

  test('forceAddress replaces all of them', async () => {
    const { it, container } = await prepared('10.33.0.1/16', '10.33.0.2/16', '10.44.0.1/16', 'fd00:1::1/64')
    await it.add({ ...classic, forceAddress: true }, { container })
    expect((await addressesOf(it.host, 'cni0')).sort()).toEqual(['10.22.0.1/16', 'fd00:1::1/64'])
    expect(await container.ping('10.22.0.1')).toBe(true)
  })

  test('forceAddress keeps a wanted address that is secondary to a foreign one', async () => {
    const { it, container } = await prepared('10.9.0.77/24', '10.9.0.1/24')
    const conf: JsonObject = {
      bridge: 'cni0',
      isGateway: true,
      forceAddress: true,
      ipam: {
        type: 'static',
        addresses: [{ address: '10.9.0.5/24' }, { address: '172.20.3.4/16', gateway: '172.20.0.1' }],
      },
    }
    await it.add(conf, { container })
    expect((await addressesOf(it.host, 'cni0')).sort()).toEqual(['10.9.0.1/24', '172.20.0.1/16'])
  })

  test('what forceAddress has replaced comes back when the ADD fails, exactly as it was', async () => {
    const { it, container } = await prepared()
    const { host } = it
    for (const address of [
      '10.33.0.1/16 broadcast 10.33.0.0 label cni0:x',
      '10.33.0.2/16',
      '10.33.0.3/16',
      '10.44.0.1 peer 10.44.0.2/32',
      '10.55.0.1/16 noprefixroute',
      '10.66.0.1/16 scope site metric 7',
    ])
      await host.ip('address', 'add', ...address.split(' '), 'dev', 'cni0')
    const addresses = () => host.must('ip', ['-4', 'address', 'show', 'dev', 'cni0'])
    const before = await addresses()
    const conf = fixed('10.9.0.5/24', '10.9.0.1', { forceAddress: true })
    const error = await errorOf(it.add(conf, { container, deliver: unheard }))
    expect(error).toMatchObject({ code: 5, msg: 'nobody listens' })
    expect(error.details).toBeUndefined()
    expect(await addresses()).toBe(before)
  })
})

describe('a failed ADD gives back', () => {
  test('what it has changed of a bridge that was there', async () => {
    const it = await node()
    const { host } = it
    await host.ip('link', 'add', 'cni0', 'address', '02:00:00:00:00:01', 'up', 'type', 'bridge')
    await host.ip('link', 'set', 'cni0', 'down')
    const container = await host.container()
    const settings = async () => (await kernelState(host)).sysctls.filter((line) => line.includes('/cni0/'))
    const [facts, sysctls] = [await factsOf(host), await settings()]
    await errorOf(it.add({ ...classic, promiscMode: true }, { container, deliver: unheard }))
    expect(await factsOf(host)).toEqual(facts)
    expect(await settings()).toEqual(sysctls)
    // The chains that all attachments share stay; so does ip_forward, see docs/differences.md.
    expect(await host.must('nft', ['list', 'ruleset'])).not.toContain('saddr')
  })

  test('a bridge that it has made', async () => {
    const it = await node()
    const container = await it.host.container()
    await errorOf(it.add(classic, { container, deliver: unheard }))
    expect((await links(it.host)).map(({ ifname }) => ifname)).toEqual(['lo'])
  })

  test('nothing that another attachment has come to use', async () => {
    const it = await node()
    const [blue, red] = [await it.host.container('blue'), await it.host.container('red')]
    // Red starts when blue has made everything, and is over before blue fails.
    const deliver = async () => {
      await it.add(classic, { container: red, containerId: 'red' })
      unheard()
    }
    await errorOf(it.add(classic, { container: blue, containerId: 'blue', deliver }))
    expect(await red.ping('10.22.0.1')).toBe(true)
    expect((await vethsOf(it.host)).map(({ ifalias }) => ifalias)).toEqual(['linkwright:net/red/eth0'])
  })
})
