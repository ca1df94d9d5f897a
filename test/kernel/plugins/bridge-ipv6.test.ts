import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { kernelState } from '../../support/state.ts'
import { eventually } from '../../support/wait.ts'
import { addressesOf, errorOf, fixed, linkOf, links, node } from './node.ts'

const v6 = (more: JsonObject = {}): JsonObject => fixed('fd00:6::5/64', 'fd00:6::1', more)

describe('IPv6 addresses', () => {
  test('of IPAM are usable at once: nobody else can have them', async () => {
    const it = await node()
    const container = await it.host.container()
    const start = performance.now()
    await it.add(v6({ isDefaultGateway: true }), { container })
    const { addr_info } = await linkOf(container, 'eth0')
    const own = addr_info.find(({ local }) => local === 'fd00:6::5')
    expect(own).toMatchObject({ prefixlen: 64, nodad: true })
    expect(own?.tentative ?? false).toBe(false)
    expect((await linkOf(it.host, 'cni0')).addr_info).toContainEqual(
      expect.objectContaining({ local: 'fd00:6::1', nodad: true }),
    )
    expect(await container.ping('fd00:6::1')).toBe(true)
    // Duplicate address detection takes a second at the least.
    expect(performance.now() - start).toBeLessThan(1000)
  })

  test('with enabledad ADD ends when they are known to be nobody else’s', async () => {
    const it = await node()
    const container = await it.host.container()
    await it.add(v6({ enabledad: true }), { container })
    const { addr_info } = await linkOf(container, 'eth0')
    expect(addr_info.map(({ tentative }) => tentative ?? false)).toEqual([false, false])
    expect(addr_info.some(({ nodad }) => nodad)).toBe(false)
    expect(await container.sysctl('net/ipv6/conf/eth0/accept_dad')).toBe('1')
    expect(await container.sysctl('net/ipv6/conf/eth0/enhanced_dad')).toBe('1')
  })

  test('with enabledad one that somebody else has fails the ADD at once, and nothing is left', async () => {
    const it = await node()
    const { host } = it
    const [container, other] = [await host.container(), await host.container('other')]
    await it.add(v6(), { container: other, containerId: 'other' })
    const facts = async () => [await links(host), await links(container)].flat().map(({ ifname }) => ifname)
    const before = await facts()
    const start = performance.now()
    const error = await errorOf(it.add(v6({ enabledad: true }), { container }))
    expect(error).toMatchObject({
      code: 999,
      msg: 'duplicate address detection failed for fd00:6::5/64',
    })
    expect(performance.now() - start).toBeLessThan(5000)
    expect(await facts()).toEqual(before)
    expect(await other.ping('fd00:6::1')).toBe(true)
  })

  test('ADD that waits for duplicate address detection can be stopped, and is undone', async () => {
    const it = await node()
    const container = await it.host.container()
    const controller = new AbortController()
    const adding = errorOf(it.add(v6({ enabledad: true }), { container, signal: controller.signal }))
    await eventually('the address is there', async () =>
      (await addressesOf(container, 'eth0')).includes('fd00:6::5/64'),
    )
    controller.abort(new Error('enough'))
    expect((await adding).msg).toContain('enough')
    expect((await links(it.host)).map(({ ifname }) => ifname)).toEqual(['lo'])
    expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo'])
  })

  test('where IPv6 is switched off it is switched on for the interface, and off again when the ADD fails', async () => {
    const it = await node()
    const container = await it.host.container()
    for (const name of ['all', 'default', 'lo'])
      await container.must('sh', ['-c', `echo 1 >/proc/sys/net/ipv6/conf/${name}/disable_ipv6`])
    const before = await kernelState(container)
    await errorOf(
      it.add(v6(), {
        container,
        deliver: () => {
          throw new Error('nobody listens')
        },
      }),
    )
    expect(await kernelState(container)).toEqual(before)
    await it.add(v6(), { container })
    expect(await container.ping('fd00:6::1')).toBe(true)
    expect(await container.sysctl('net/ipv6/conf/lo/disable_ipv6')).toBe('0')
    expect(await container.sysctl('net/ipv6/conf/eth0/disable_ipv6')).toBe('0')
  })

  test('an MTU that is too small for IPv6 is an error that says so', async () => {
    const it = await node()
    const container = await it.host.container()
    const error = await errorOf(it.add(v6({ mtu: 1000 }), { container }))
    expect(error.msg).toMatch(/IPv6/)
    expect((await links(it.host)).map(({ ifname }) => ifname)).toEqual(['lo'])
    // For IPv4 it does.
    await it.add(fixed('10.9.0.5/24', '10.9.0.1', { mtu: 1000 }), { container })
    expect(await container.ping('10.9.0.1')).toBe(true)
  })

  test('they stay when the interface goes down for a while', async () => {
    const it = await node()
    const container = await it.host.container()
    await it.add(v6(), { container })
    await container.ip('link', 'set', 'eth0', 'down')
    await container.ip('link', 'set', 'eth0', 'up')
    expect(await addressesOf(container, 'eth0')).toEqual(['fd00:6::5/64'])
  })

  test('routes of IPv6, by several gateways too', async () => {
    const it = await node()
    const container = await it.host.container()
    const conf: JsonObject = {
      bridge: 'cni0',
      isGateway: true,
      ipam: {
        type: 'static',
        addresses: [{ address: 'fd00:6::5/64', gateway: 'fd00:6::1' }],
        routes: [
          { dst: 'fd00:7::/48', priority: 77, mtu: 1300 },
          { dst: 'fd00:8::/48', gw: 'fd00:6::8' },
          { dst: 'fd00:8::/48', gw: 'fd00:6::9' },
          { dst: 'fd00:a::/48', table: 99 },
          { dst: '::/0' },
        ],
      },
    }
    const result = await it.add(conf, { container })
    const all = await container.must('ip', ['-6', 'route', 'show', 'table', 'all'])
    for (const line of [
      'fd00:7::/48 via fd00:6::1 dev eth0 metric 77 mtu 1300',
      'nexthop via fd00:6::8 dev eth0 weight 1',
      'nexthop via fd00:6::9 dev eth0 weight 1',
      'fd00:a::/48 via fd00:6::1 dev eth0 table 99 metric 1024',
      'default via fd00:6::1 dev eth0 metric 1024',
    ])
      expect(all).toContain(line)
    await it.check(conf, { container, prevResult: result })
    await container.ip('-6', 'route', 'del', 'fd00:8::/48', 'via', 'fd00:6::9')
    const error = await errorOf(it.check(conf, { container, prevResult: result }))
    expect(error.msg).toBe('route fd00:8::/48 via fd00:6::9 is not in any table')
  })
})
