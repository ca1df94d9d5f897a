/** tuning: what is kept and given back, whatever happened between ADD and DEL; GC. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { errorOf, unheard } from './node.ts'
import { everything, type Tuned, tuned } from './tuning.ts'

const filter = 'net/ipv4/conf/eth0/arp_filter'

/** What {@link everything} changes. */
const state = async (it: Tuned) => ({
  link: await it.link(),
  sysctls: [await it.sysctl(filter), await it.sysctl('net/ipv4/ip_local_port_range')],
})

describe('originals', () => {
  test('are those before the first of several ADDs', async () => {
    const it = await tuned()
    const before = await state(it)
    await it.add(everything)
    await it.add({ mac: '02:11:22:33:44:66', mtu: 1350, sysctl: { 'net.ipv4.ip_forward': '1' } })
    expect(await it.link()).toMatchObject({ address: '02:11:22:33:44:66', mtu: 1350, txqlen: 77 })
    await it.del()
    expect(await state(it)).toEqual(before)
    expect(await it.sysctl('net/ipv4/ip_forward')).toBe('0')
  })

  test('stay when a further ADD fails, which takes back its own part', async () => {
    const it = await tuned()
    const before = await state(it)
    await it.add(everything)
    const first = await state(it)
    const kept = it.backup()
    const more = { mac: '02:11:22:33:44:66', mtu: 1350, sysctl: { 'net.ipv4.conf.eth0.arp_filter': '0' } }
    await errorOf(it.add(more, { deliver: unheard }))
    expect(await state(it)).toEqual(first)
    expect(it.backup()).toEqual(kept)
    await it.del()
    expect(await state(it)).toEqual(before)
  })

  test('go with their namespace', async () => {
    const it = await tuned()
    await it.add(everything)
    const kept = it.backup()
    const next = await it.node.host.container('red')
    await next.ip('link', 'add', 'eth0', 'address', '02:00:00:00:00:07', 'type', 'veth', 'peer', 'name', 'x')
    // The runtime has forgotten its DEL. What was is no business of the new one's.
    await it.add({ mtu: 1300 }, { container: next })
    expect(it.backup()).toMatchObject({ mtu: 1500, linkwright: { sysctl: {} } })
    expect(it.backup()).not.toHaveProperty('mac')
    await it.del({}, { container: next })
    it.keep('cid-1_eth0.json', kept)
    await it.del({}, { container: next })
    expect((await next.must('ip', ['link', 'show', 'eth0'])).toString()).toContain('02:00:00:00:00:07')
    expect(it.kept()).toEqual([])
  })

  test('of another attachment with the same name of a file', async () => {
    const it = await tuned()
    await it.add(everything)
    const { linkwright } = it.backup() as { linkwright: object }
    it.keep('a_b_eth0.json', { mtu: 1450, linkwright: { ...linkwright, containerId: 'a', ifName: 'b_eth0' } })
    const error = await errorOf(it.add({ mtu: 1300 }, { containerId: 'a_b' }))
    expect(error).toMatchObject({ code: 7, details: expect.stringContaining('b_eth0 in a;') })
    await it.del({}, { containerId: 'a_b' })
    expect(it.kept()).toEqual(['a_b_eth0.json', 'cid-1_eth0.json'])
    expect((await it.link()).mtu).toBe(1400)
  })
})

describe('DEL', () => {
  test('without a result, arguments or a configuration that validates', async () => {
    const it = await tuned()
    const before = await state(it)
    await it.add({ ...everything, mac: '', runtimeConfig: { mac: '02:11:22:33:44:55' } })
    const conf = { mtu: 'large', mac: 'x', sysctl: 7, dataDir: 5 }
    await it.del(conf as JsonObject, { prevResult: undefined, args: 'broken' })
    expect(await state(it)).toEqual(before)
  })

  test('where the configuration names another folder by now', async () => {
    const it = await tuned()
    const before = await state(it)
    await it.add(everything)
    await it.del({ dataDir: it.node.host.file('/run/other') })
    expect(await state(it)).toEqual(before)
    const dataDir = it.node.host.file('/run/own/folder')
    await it.add({ ...everything, dataDir })
    expect(it.kept()).toEqual([])
    await it.del({ dataDir })
    expect(await state(it)).toEqual(before)
  })

  test('when the namespace is gone', async () => {
    const it = await tuned()
    await it.add(everything)
    const path = it.container.path
    await it.container.close()
    await it.del(everything, { container: undefined, netnsPath: path })
    expect(it.kept()).toEqual([])
    await it.del(everything, { container: undefined })
  })

  test('when the interface is gone: sysctls of the namespace go back', async () => {
    const it = await tuned()
    await it.add({
      ...everything,
      sysctl: { 'net.ipv4.conf.eth0.arp_filter': '1', 'net.ipv4.ip_forward': '1' },
    })
    await it.container.ip('link', 'del', 'eth0')
    await it.del(everything)
    expect(await it.sysctl('net/ipv4/ip_forward')).toBe('0')
    expect(it.kept()).toEqual([])
    expect(it.node.warnings).toEqual([])
  })

  test('gives back what can be, where something can not, and says so', async () => {
    const it = await tuned()
    await it.add(everything)
    const { linkwright, ...link } = it.backup() as { linkwright: object }
    it.keep('cid-1_eth0.json', {
      ...link,
      mtu: 70_000,
      linkwright: { ...linkwright, sysctl: { [filter]: '0', 'net/ipv4/ip_forward': 'x' } },
    })
    await it.del()
    expect(await it.link()).toMatchObject({ address: '02:00:00:00:00:02', mtu: 1400, txqlen: 1000 })
    expect(await it.sysctl(filter)).toBe('0')
    expect(it.kept()).toEqual([])
    expect(it.node.warnings).toEqual([
      expect.stringMatching(/^give back mtu of eth0: set link eth0 \(mtu\): EINVAL/),
      expect.stringMatching(/^give back sysctl net\/ipv4\/ip_forward: .*EINVAL/),
    ])
  })

  test("of what Go's has kept", async () => {
    const it = await tuned()
    it.keep('cid-1_eth0.json', {
      mac: '02:00:00:00:00:0a',
      promisc: true,
      mtu: 1450,
      allmulti: true,
      txQLen: 3,
    })
    await it.del()
    const link = await it.link()
    expect(link).toMatchObject({ address: '02:00:00:00:00:0a', mtu: 1450, txqlen: 3 })
    expect(link.flags).toEqual(expect.arrayContaining(['PROMISC', 'ALLMULTI']))
    expect(it.kept()).toEqual([])
  })

  test('after a further ADD to what Go has tuned', async () => {
    const it = await tuned()
    it.keep('cid-1_eth0.json', { mtu: 1450 })
    await it.add({ mtu: 1300, txQLen: 5 })
    await it.del()
    expect(await it.link()).toMatchObject({ mtu: 1450, txqlen: 1000 })
  })

  const spoilt: readonly [title: string, spoil: (it: Tuned, path: string) => void][] = [
    ['nothing', (_it, path) => writeFileSync(path, '')],
    ['half a file', (_it, path) => writeFileSync(path, readFileSync(path, 'utf8').slice(0, 60))],
    ['a list', (_it, path) => writeFileSync(path, '[]')],
    [
      'a sysctl of the machine',
      (it) => {
        const { linkwright } = it.backup() as { linkwright: object }
        const sysctl = { 'net/../kernel/hostname': 'owned', [filter]: '0' }
        it.keep('cid-1_eth0.json', { linkwright: { ...linkwright, sysctl } })
      },
    ],
  ]

  test('of a file that is broken does no harm, and removes it', async () => {
    const it = await tuned()
    const path = `${it.folder}/cid-1_eth0.json`
    for (const [title, spoil] of spoilt) {
      await it.add({ mtu: 1400 })
      spoil(it, path)
      await it.del()
      expect((await it.link()).mtu, title).toBe(1400)
      expect(it.kept(), title).toEqual([])
      expect(it.node.warnings.splice(0), title).toEqual([
        expect.stringContaining('is no backup, and is removed'),
      ])
    }
  })

  test('of a link in its place removes the link', async () => {
    const it = await tuned()
    mkdirSync(it.folder, { recursive: true })
    writeFileSync(it.node.host.file('/run/precious'), '{"mtu":1450}')
    symlinkSync('../../precious', `${it.folder}/cid-1_eth0.json`)
    await it.del()
    expect((await it.link()).mtu).toBe(1500)
    expect(it.kept()).toEqual([])
    expect(readFileSync(it.node.host.file('/run/precious'), 'utf8')).toBe('{"mtu":1450}')
  })
})

describe('two of them in one chain', () => {
  test('and back, in the order of DEL', async () => {
    const it = await tuned()
    const before = await state(it)
    await it.add({ mtu: 1400, sysctl: { 'net.ipv4.ip_forward': '1' } })
    await it.add({ mac: '02:11:22:33:44:55', mtu: 1300 })
    await it.del({ mac: '02:11:22:33:44:55', mtu: 1300 })
    await it.del({ mtu: 1400 })
    expect(await state(it)).toEqual(before)
    expect(await it.sysctl('net/ipv4/ip_forward')).toBe('0')
  })
})

test('GC removes what is of this network and of no valid attachment', async () => {
  const it = await tuned()
  const call = { container: it.container }
  for (const [containerId, name] of [
    ['stays', 'net'],
    ['goes_now', 'net'],
    ['elsewhere', 'other'],
  ] as const)
    await it.add({ mtu: 1400, name }, { ...call, containerId })
  it.keep('go_eth0.json', { mtu: 1500 })
  const valid = [{ containerID: 'stays', ifname: 'eth0' }]
  await it.call('GC', { 'cni.dev/valid-attachments': valid })
  expect(it.kept()).toEqual(['elsewhere_eth0.json', 'go_eth0.json', 'stays_eth0.json'])
  // Without a list nothing is said about anything.
  await it.call('GC', {})
  expect(it.kept()).toHaveLength(3)
  await it.call('GC', { 'cni.dev/valid-attachments': [], dataDir: it.node.host.file('/run/none') })
  expect(it.kept()).toEqual(['elsewhere_eth0.json', 'go_eth0.json'])
})
