/** The dummy plugin on real interfaces. */
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { addressesOf, errorOf, factsOf, linkOf, links, node, unheard } from '../../kernel/plugins/node.ts'

const conf: JsonObject = {
  type: 'dummy',
  dns: { nameservers: ['10.6.0.1'] },
  ipam: {
    type: 'static',
    addresses: [{ address: '10.6.0.11/24' }, { address: 'fd06::11/64' }],
    routes: [{ dst: '10.60.0.0/16' }],
  },
}

test('ADD, CHECK, DEL', async () => {
  const it = await node()
  const container = await it.host.container()
  await container.ip('link', 'set', 'lo', 'up')
  const before = { host: await factsOf(it.host), container: await factsOf(container) }
  const prevResult = await it.add(conf, { container })
  const found = await linkOf(container, 'eth0')
  expect(found).toMatchObject({ ifalias: 'linkwright:net/cid-1/eth0', linkinfo: { info_kind: 'dummy' } })
  expect(prevResult).toEqual({
    cniVersion: '1.1.0',
    interfaces: [{ name: 'eth0', mac: found.address, mtu: 1500, sandbox: container.path }],
    ips: [
      { address: '10.6.0.11/24', interface: 0 },
      { address: 'fd06::11/64', interface: 0 },
    ],
    routes: [{ dst: '10.60.0.0/16' }],
    dns: { nameservers: ['10.6.0.1'] },
  })
  expect(await addressesOf(container, 'eth0')).toEqual(['10.6.0.11/24', 'fd06::11/64'])
  for (const address of ['10.6.0.11', 'fd06::11']) expect(await container.ping(address, 5)).toBe(true)
  const check = () => it.check(conf, { container, prevResult })
  await check()
  await container.ip('route', 'del', '10.60.0.0/16')
  expect((await errorOf(check())).msg).toBe('route 10.60.0.0/16 is not in any table')
  await container.ip('link', 'set', 'eth0', 'down')
  expect((await errorOf(check())).msg).toBe('interface eth0 is down')
  await it.del(conf, { container, prevResult })
  await it.del(conf, { container, prevResult })
  expect({ host: await factsOf(it.host), container: await factsOf(container) }).toEqual(before)
})

test('what goes wrong is said in words, and nothing is left of it', async () => {
  const it = await node()
  await it.call('STATUS', conf)
  const container = await it.host.container()
  await container.ip('link', 'add', 'eth0', 'type', 'dummy')
  const before = await factsOf(container)
  const refused = async (more: JsonObject, call = {}) => {
    const error = await errorOf(it.add({ ...conf, ...more }, { container, ...call }))
    expect(await factsOf(container)).toEqual(before)
    return `${error.msg}; ${error.details}`
  }
  expect(await refused({ ipam: {} })).toContain('dummy interface requires an IPAM configuration')
  expect(await refused({})).toContain('the container has an interface eth0 already')
  await refused({}, { ifName: 'net1', deliver: unheard })
  // Somebody else's stays, although DEL can't tell it by its name alone.
  await container.ip('link', 'set', 'eth0', 'alias', 'linkwright:net/other/eth0')
  await it.del(conf, { container })
  expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo', 'eth0'])
})
