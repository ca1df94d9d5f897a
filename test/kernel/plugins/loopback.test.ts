import { describe, expect, test } from 'vitest'
import { addressesOf, errorOf, linkOf, node, unheard } from './node.ts'

const conf = { type: 'loopback' }

describe('loopback', () => {
  test('brings lo up and tells what it has', async () => {
    const it = await node()
    const container = await it.host.container()
    const result = await it.add(conf, { container })
    expect(result).toEqual({
      cniVersion: '1.1.0',
      interfaces: [{ name: 'lo', mac: '00:00:00:00:00:00', mtu: 65536, sandbox: container.path }],
      ips: [
        { address: '127.0.0.1/8', interface: 0 },
        { address: '::1/128', interface: 0 },
      ],
    })
    expect(await container.ping('127.0.0.1')).toBe(true)
    expect(await container.ping('::1')).toBe(true)
    await it.check(conf, { container, prevResult: result })
    await it.add(conf, { container })
    await it.del(conf, { container, prevResult: result })
    expect((await linkOf(container, 'lo')).flags).not.toContain('UP')
    expect(await errorOf(it.check(conf, { container, prevResult: result }))).toMatchObject({
      code: 999,
      msg: 'loopback interface is down',
    })
  })

  test('tells no MTU before 1.1.0, but leaves the one that others have put there', async () => {
    const it = await node()
    const container = await it.host.container()
    const old = { ...conf, cniVersion: '1.0.0' }
    expect((await it.add(old, { container })).interfaces).toEqual([
      { name: 'lo', mac: '00:00:00:00:00:00', sandbox: container.path },
    ])
    const prevResult = { cniVersion: '1.0.0', interfaces: [{ name: 'eth0', mtu: 1400 }] }
    expect(await it.add(old, { container, prevResult })).toEqual(prevResult)
  })

  test('passes a result on', async () => {
    const it = await node()
    const container = await it.host.container()
    const prevResult = { cniVersion: '1.1.0', ips: [{ address: '10.1.0.5/16' }], dns: { domain: 'x' } }
    expect(await it.add(conf, { container, prevResult })).toEqual(prevResult)
    expect((await linkOf(container, 'lo')).flags).toContain('UP')
  })

  test('tells only what is there', async () => {
    const it = await node()
    const container = await it.host.container()
    await container.must('sh', ['-c', 'echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6'])
    expect((await it.add(conf, { container })).ips).toEqual([{ address: '127.0.0.1/8', interface: 0 }])
  })

  test.each(['10.9.9.9/32', 'fd00::9/128'])('refuses a lo with %s, and leaves it down', async (address) => {
    const it = await node()
    const container = await it.host.container()
    await container.ip('address', 'add', address, 'dev', 'lo')
    const error = await errorOf(it.add(conf, { container }))
    expect(error).toMatchObject({
      code: 999,
      msg: `loopback interface found with non-loopback address "${address.split('/')[0]}"`,
    })
    expect((await linkOf(container, 'lo')).flags).not.toContain('UP')
    expect(await addressesOf(container, 'lo')).toEqual([address])
  })

  test('a failed ADD leaves a lo that was up as it was', async () => {
    const it = await node()
    const container = await it.host.container()
    await container.ip('link', 'set', 'lo', 'up')
    await errorOf(it.add(conf, { container, deliver: unheard }))
    expect((await linkOf(container, 'lo')).flags).toContain('UP')
    await it.del(conf, { container })
    await errorOf(it.add(conf, { container, deliver: unheard }))
    expect((await linkOf(container, 'lo')).flags).not.toContain('UP')
  })

  test.each([
    ['no namespace', {}],
    ['one that is gone', { netnsPath: '/run/netns/gone' }],
    ['what is none', { netnsPath: '/etc/hostname' }],
  ])('DEL takes %s', async (_what, call) => {
    const it = await node()
    await it.del(conf, call)
  })

  test('ADD does not', async () => {
    const it = await node()
    expect(await errorOf(it.add(conf, { netnsPath: '/run/netns/gone' }))).toMatchObject({ code: 8 })
    expect(await errorOf(it.add(conf, { netnsPath: it.host.path }))).toMatchObject({ code: 8 })
  })
})
