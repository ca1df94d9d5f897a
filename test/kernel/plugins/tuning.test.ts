/** tuning: every key, ADD and DEL. */
import { expect, test } from 'vitest'
import { errorOf, unheard } from './node.ts'
import { everything, tuned } from './tuning.ts'

test('all of it, and back', async () => {
  const it = await tuned()
  const before = await it.link()
  const ports = await it.sysctl('net/ipv4/ip_local_port_range')
  const result = await it.add(everything)
  expect(result).toEqual({
    ...it.before(),
    interfaces: [
      it.before().interfaces![0],
      { name: 'eth0', mac: '02:11:22:33:44:55', mtu: 1400, sandbox: it.container.path },
    ],
  })
  const link = await it.link()
  expect(link).toMatchObject({ address: '02:11:22:33:44:55', mtu: 1400, txqlen: 77 })
  expect(link.flags).toEqual(expect.arrayContaining(['PROMISC', 'ALLMULTI', 'UP']))
  expect(await it.sysctl('net/ipv4/conf/eth0/arp_filter')).toBe('1')
  expect(await it.sysctl('net/ipv4/ip_local_port_range')).toBe('20000\t30000')
  await it.check(everything, { prevResult: result })
  await it.del(everything, { prevResult: result })
  expect(await it.link()).toEqual(before)
  expect(await it.sysctl('net/ipv4/conf/eth0/arp_filter')).toBe('0')
  expect(await it.sysctl('net/ipv4/ip_local_port_range')).toBe(ports)
  expect(it.kept()).toEqual([])
  await it.del(everything)
})

test('an ADD that fails at its end leaves nothing', async () => {
  const it = await tuned()
  const before = await it.link()
  expect((await errorOf(it.add(everything, { deliver: unheard }))).msg).toBe('nobody listens')
  expect(await it.link()).toEqual(before)
  expect(await it.sysctl('net/ipv4/conf/eth0/arp_filter')).toBe('0')
  expect(it.kept()).toEqual([])
})
