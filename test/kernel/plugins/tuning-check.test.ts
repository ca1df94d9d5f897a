/** tuning: CHECK of each loss, and STATUS. */
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { errorOf } from './node.ts'
import { everything, tuned } from './tuning.ts'

test('CHECK sees each loss, and changes nothing', async () => {
  const it = await tuned()
  await it.add(everything)
  await it.check(everything)
  const set = (...args: string[]) => it.container.ip('link', 'set', 'eth0', ...args)
  const write = (name: string, value: string) =>
    it.container.must('sh', ['-c', `echo ${value} >/proc/sys/net/${name}`])
  const losses: [lose: () => Promise<unknown>, again: () => Promise<unknown>, msg: RegExp][] = [
    [
      () => set('address', '02:00:00:00:00:02'),
      () => set('address', '02:11:22:33:44:55'),
      /^interface eth0 has MAC 02:00:00:00:00:02, the configuration says 02:11/,
    ],
    [
      () => set('promisc', 'off'),
      () => set('promisc', 'on'),
      /^interface eth0 has promisc false, .* says true/,
    ],
    [() => set('mtu', '1399'), () => set('mtu', '1400'), /^interface eth0 has MTU 1399, .* says 1400/],
    [() => set('allmulticast', 'off'), () => set('allmulticast', 'on'), /^interface eth0 has allmulti false/],
    [() => set('txqueuelen', '78'), () => set('txqueuelen', '77'), /^interface eth0 has txQLen 78/],
    [
      () => write('ipv4/conf/eth0/arp_filter', '0'),
      () => write('ipv4/conf/eth0/arp_filter', '1'),
      /^sysctl net\.ipv4\.conf\.IFNAME\.arp_filter is "0", the configuration says "1"/,
    ],
    [
      () => write('ipv4/ip_local_port_range', '20000 30001'),
      () => write('ipv4/ip_local_port_range', '20000 30000'),
      /^sysctl net\.ipv4\.ip_local_port_range is "20000\\t30001"/,
    ],
  ]
  for (const [lose, again, msg] of losses) {
    await lose()
    const error = await errorOf(it.check(everything))
    expect(error.msg).toMatch(msg)
    expect(error.code).toBe(999)
    // Still so.
    expect((await errorOf(it.check(everything))).msg).toMatch(msg)
    await again()
    await it.check(everything)
  }
  await it.container.ip('link', 'del', 'eth0')
  expect((await errorOf(it.check(everything))).msg).toBe('interface eth0 does not exist')
})

const notations: readonly JsonObject[] = [
  { mac: '0211.2233.44AB' },
  { sysctl: { 'net.ipv4.ip_local_port_range': ' 0x4e20  072460 ' } },
  { promisc: false, allmulti: false },
]

test('CHECK knows other notations, and what is off', async () => {
  const it = await tuned()
  for (const conf of notations) {
    await it.add(conf)
    await it.check(conf)
    await it.del(conf)
  }
})

test('CHECK does not mind that others make it promiscuous', async () => {
  const it = await tuned()
  await it.add({ mtu: 1400 })
  await it.container.ip('link', 'set', 'eth0', 'promisc', 'on')
  await it.check({ mtu: 1400 })
})

test('CHECK without a result, and of a sysctl that is gone', async () => {
  const it = await tuned()
  expect(await errorOf(it.check(everything, { prevResult: undefined }))).toMatchObject({ code: 7 })
  const error = await errorOf(it.check({ sysctl: { 'net.ipv4.conf.gone.arp_filter': '0' } }))
  expect(error).toMatchObject({ code: 5, msg: expect.stringContaining('conf/gone/arp_filter') })
})

test('STATUS', async () => {
  const it = await tuned()
  const conf = { sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1' } }
  const statusOf = (more: JsonObject = {}) => errorOf(it.call('STATUS', { ...conf, ...more }))
  await it.call('STATUS', conf)
  it.allow('net.core')
  expect(await statusOf()).toMatchObject({
    code: 50,
    msg: expect.stringMatching(/^Sysctl net\.ipv4\.conf\.IFNAME\.arp_filter is not allowed/),
  })
  it.allow('arp_filter', '((')
  expect(await statusOf()).toMatchObject({
    code: 50,
    msg: expect.stringContaining('error parsing regexp "(("'),
  })
  it.allow('arp_filter')
  await it.call('STATUS', conf)
  expect(await statusOf({ dataDir: '/proc/version/x' })).toMatchObject({ code: 50 })
  expect(await statusOf({ mac: '01:00:00:00:00:00' })).toMatchObject({ code: 7 })
  await it.call('STATUS', { dataDir: '/proc/version/x' })
})
