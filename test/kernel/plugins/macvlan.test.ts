/** The macvlan plugin on real interfaces. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { type Wired, wired } from './master.ts'
import { addressesOf, errorOf, factsOf, linkOf, links, unheard } from './node.ts'

const on = (address: string, more: JsonObject = {}): JsonObject => ({
  type: 'macvlan',
  master: 'eth1',
  ...more,
  ipam: { type: 'static', addresses: [{ address, gateway: '10.9.0.1' }], routes: [{ dst: '0.0.0.0/0' }] },
})

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
    ['private', false],
    // Without a switch that sends frames back (a hairpin), vepa isolates.
    ['vepa', false],
  ])('%s: whether two containers reach each other', async (mode, reaches) => {
    const it = await wired()
    const one = await attach(it, 'one', '10.9.0.11/24', { mode })
    await attach(it, 'two', '10.9.0.12/24', { mode })
    expect(await one.container.ping('10.9.0.1')).toBe(true)
    expect(await one.container.ping('10.9.0.12', reaches ? 2 : 1)).toBe(reaches)
  })

  test('passthru takes its master for itself', async () => {
    const it = await wired()
    const { container } = await attach(it, 'one', '10.9.0.11/24', { mode: 'passthru' })
    expect(await container.ping('10.9.0.1')).toBe(true)
    expect((await linkOf(container, 'eth0')).address).toBe((await linkOf(it.node.host, 'eth1')).address)
    const error = await errorOf(attach(it, 'two', '10.9.0.12/24'))
    expect(error.details).toContain('passthru')
  })
})

test('a failed ADD leaves nothing', async () => {
  const it = await wired()
  const container = await it.node.host.container()
  const before = await factsOf(container)
  await errorOf(it.node.add(on('10.9.0.11/24'), { container, deliver: unheard }))
  expect(await factsOf(container)).toEqual(before)
})
