/** The host-device plugin: a device of the host goes into a container, and comes back. */
import { describe, expect, test } from 'vitest'
import { conf, fakeSysfs, fixed, linksOf, notesOf, withDevice } from './host-device.ts'
import { addressesOf, errorOf, linkOf, unheard } from './node.ts'

describe('there and back', () => {
  test('with addresses', async () => {
    const { node } = await withDevice()
    const before = await linksOf(node.host)
    const was = await linkOf(node.host, 'hd0')
    const container = await node.host.container()
    const own = conf({ ipam: fixed })
    const result = await node.add(own, { container })
    expect(result).toMatchObject({
      interfaces: [{ name: 'eth0', mac: was.address, mtu: 1400, sandbox: container.path }],
      ips: [{ address: '10.9.0.11/24', interface: 0 }, { address: 'fd09::11/64' }],
    })
    const moved = await linkOf(container, 'eth0')
    expect(moved).toMatchObject({ ifalias: 'hd0', mtu: 1400, flags: expect.arrayContaining(['UP']) })
    expect(await addressesOf(container, 'eth0')).toEqual(['10.9.0.11/24', 'fd09::11/64'])
    expect(await container.ping('10.9.0.1')).toBe(true)
    expect(await container.ping('fd09::1')).toBe(true)
    const call = { container, prevResult: result }
    await node.check(own, call)
    await node.del(own, call)
    expect(await linksOf(node.host)).toEqual(before)
    expect(await notesOf(node)).toBe('')
    await node.del(own, call)
    expect(await linksOf(node.host)).toEqual(before)
  })

  test('without IPAM; a device that was down stays down on its way back', async () => {
    const { node } = await withDevice()
    await node.host.ip('link', 'set', 'hd0', 'down')
    const before = await linksOf(node.host)
    const container = await node.host.container()
    const result = await node.add(conf({ cniVersion: '1.0.0' }), { container })
    expect(result).toEqual({
      cniVersion: '1.0.0',
      interfaces: [{ name: 'eth0', mac: expect.any(String), sandbox: container.path }],
    })
    expect((await linkOf(container, 'eth0')).flags).toContain('UP')
    await node.check(conf(), { container, prevResult: { ...result, cniVersion: '1.1.0' } })
    await node.del(conf(), { container })
    expect(await linksOf(node.host)).toEqual(before)
  })
})

describe('by', () => {
  const pci = 'mkdir -p /sys/bus/pci/devices/0000:01:00.0/net/hd0'
  test.each([
    ['hwaddr', '', { device: '', hwaddr: '02:00:00:00:0A:01' }, undefined],
    [
      'alternative name',
      'ip link property add dev hd0 altname a-name-longer-than-others',
      { device: 'a-name-longer-than-others' },
      undefined,
    ],
    ['pciBusID', pci, { device: '', pciBusID: '0000:01:00.0' }, '0000:01:00.0'],
    [
      'deviceID',
      pci,
      { device: '', pciBusID: '0000:02:00.0', runtimeConfig: { deviceID: '0000:01:00.0' } },
      '0000:01:00.0',
    ],
    [
      'virtio',
      'mkdir -p /sys/bus/pci/devices/0000:01:00.0/virtio7/net/hd0',
      { device: '', pciBusID: '0000:01:00.0' },
      '0000:01:00.0',
    ],
    [
      'auxiliary device',
      'mkdir -p /sys/bus/auxiliary/devices/mlx5_core.sf.4/net/hd0',
      { device: '', runtimeConfig: { deviceID: 'mlx5_core.sf.4' } },
      undefined,
    ],
    [
      'kernelpath',
      'mount -t tmpfs tmpfs /sys/devices/virtual; mkdir -p /sys/devices/virtual/nic/net/hd0',
      { device: '', kernelpath: '/sys/devices/virtual/nic/' },
      undefined,
    ],
  ])('%s', async (_title, script, more, pciID) => {
    const { node } = await withDevice()
    await node.host.ip('link', 'set', 'hd0', 'address', '02:00:00:00:0a:01')
    await fakeSysfs(node, script)
    const before = await linksOf(node.host)
    const container = await node.host.container()
    const result = await node.add(conf(more), { container })
    expect(result.interfaces?.[0]).toEqual({
      name: 'eth0',
      mac: '02:00:00:00:0a:01',
      mtu: 1400,
      sandbox: container.path,
      ...(pciID ? { pciID } : {}),
    })
    await node.check(conf(more), { container, prevResult: result })
    await node.del(conf(more), { container, prevResult: result })
    expect(await linksOf(node.host)).toEqual(before)
  })

  test('a device of user space: addresses are assigned, and nothing is moved', async () => {
    const { node } = await withDevice()
    await fakeSysfs(
      node,
      'mkdir -p /sys/bus/pci/devices/0000:01:00.0 /sys/bus/pci/drivers/vfio-pci; ln -s ../../drivers/vfio-pci /sys/bus/pci/devices/0000:01:00.0/driver',
    )
    const before = await linksOf(node.host)
    const container = await node.host.container()
    const own = conf({ device: '', pciBusID: '0000:01:00.0', ipam: fixed })
    const result = await node.add(own, { container })
    expect(result).toMatchObject({
      interfaces: [{ name: 'eth0', sandbox: container.path, pciID: '0000:01:00.0' }],
      ips: [{ address: '10.9.0.11/24' }, {}],
    })
    expect(await linksOf(node.host)).toEqual(before)
    await node.check(own, { container, prevResult: result })
    await node.del(own, { container, prevResult: result })
    expect(await linksOf(node.host)).toEqual(before)
    const named = conf({ DPDKMode: true, cniVersion: '1.0.0' })
    expect((await node.add(named, { container })).interfaces).toEqual([
      { name: 'eth0', sandbox: container.path },
    ])
    expect(await linksOf(node.host)).toEqual(before)
  })
})

describe('refused before anything is touched', () => {
  test.each([
    ['nothing named', { device: '' }, /^specify either "device", "hwaddr", "kernelpath" or "pciBusID"$/],
    ['no such device', { device: 'hd9' }, /^failed to find host device: Link not found$/],
    ['no such MAC', { device: '', hwaddr: '02:00:00:00:0a:09' }, /failed to find physical interface$/],
    [
      'a path that leads out',
      { device: '', kernelpath: '/sys/devices/../class/net/hd0' },
      /kernelpath: expected path below/,
    ],
    ['a path elsewhere', { device: '', kernelpath: '/etc' }, /kernelpath: expected path below/],
    [
      'a PCI address that leads out',
      { device: '', pciBusID: '../../class' },
      /pciBusID: expected PCI address/,
    ],
    ['an id that leads out', { runtimeConfig: { deviceID: '..' } }, /deviceID: expected id/],
    [
      'an unknown id',
      { runtimeConfig: { deviceID: '0000:99:00.0' } },
      /^runtime config DeviceID 0000:99:00\.0 not found or unsupported$/,
    ],
    [
      'a PCI device without interfaces',
      { device: '', pciBusID: '0000:03:00.0' },
      /failed to find network devices at/,
    ],
    [
      'a name that sysfs has, and the host not',
      { device: '', pciBusID: '0000:04:00.0' },
      /failed to find physical interface$/,
    ],
    ['the loopback', { device: 'lo' }, /loopback/],
    ['IPAM that is not there', { ipam: { type: 'nowhere' } }, /nowhere/],
  ])('%s', async (_title, more, msg) => {
    const { node } = await withDevice()
    await fakeSysfs(
      node,
      'mkdir -p /sys/bus/pci/devices/0000:03:00.0 /sys/bus/pci/devices/0000:04:00.0/net/eno9 "/sys/bus/pci/devices/0000:04:00.0/net/a b"',
    )
    const before = await linksOf(node.host)
    const container = await node.host.container()
    const error = await errorOf(node.add(conf(more), { container }))
    expect(error.msg).toMatch(msg)
    expect(await linksOf(node.host)).toEqual(before)
    expect(await notesOf(node)).toBe('')
    // What the runtime does next.
    if (!('ipam' in more)) await node.del(conf(more), { container })
    expect(await linksOf(node.host)).toEqual(before)
  })
})

describe('a failed ADD brings it back completely', () => {
  test.each([
    ['at the end', {}, { deliver: unheard }],
    ['at its addresses', { ipam: { ...fixed, routes: [{ dst: '10.1.0.0/16', gw: '172.16.0.1' }] } }, {}],
    ['at its name', {}, { ifName: 'taken' }],
  ])('%s', async (_title, more, call) => {
    const { node } = await withDevice()
    const { host } = node
    await host.ip('link', 'add', 'br0', 'type', 'bridge')
    await host.ip('link', 'set', 'hd0', 'master', 'br0')
    await host.ip('address', 'add', '192.168.7.5/24', 'dev', 'hd0')
    await host.ip('address', 'add', 'fd77::5/64', 'dev', 'hd0', 'nodad')
    await host.ip('route', 'add', '192.168.8.0/24', 'via', '192.168.7.1', 'dev', 'hd0', 'metric', '7')
    const state = async () => [
      await linksOf(host).then((all) => all.filter((line) => line.startsWith('hd0'))),
      await addressesOf(host, 'hd0').then((all) => all.sort()),
      (await host.must('ip', ['route', 'show'])).split('\n').sort(),
    ]
    const before = await state()
    const container = await host.container()
    await container.ip('link', 'add', 'taken', 'type', 'ifb')
    await errorOf(node.add(conf(more), { container, ...call }))
    await expect.poll(state).toEqual(before)
    expect(await notesOf(node)).toBe('')
  })
})

test('STATUS', async () => {
  const { node } = await withDevice()
  await node.call('STATUS', conf())
  const error = await errorOf(node.call('STATUS', conf({ device: 'hd9' })))
  expect(error).toMatchObject({ code: 50, msg: 'failed to find host device: Link not found' })
  await node.call('STATUS', conf({ device: '', capabilities: { deviceID: true } }))
  const nothing = await errorOf(node.call('STATUS', conf({ device: '' })))
  expect(nothing.code).toBe(50)
})

test('CHECK sees what was changed', async () => {
  const { node } = await withDevice()
  const container = await node.host.container()
  const own = conf({ ipam: fixed })
  const prevResult = await node.add(own, { container })
  const complaint = async () => (await errorOf(node.check(own, { container, prevResult }))).msg
  await container.ip('link', 'set', 'eth0', 'alias', 'mine')
  expect(await complaint()).toContain('lost the name')
  await container.ip('link', 'set', 'eth0', 'alias', 'hd0')
  await node.check(own, { container, prevResult })
  // A plugin behind may have done that.
  await container.ip('link', 'set', 'eth0', 'mtu', '1300')
  await node.check(own, { container, prevResult })
  await container.ip('address', 'del', '10.9.0.11/24', 'dev', 'eth0')
  expect(await complaint()).toContain('10.9.0.11/24')
  await container.ip('link', 'set', 'eth0', 'down')
  expect(await complaint()).toContain('is down')
})
