/** The tap plugin: devices that programs really open, and frames through them. */
import { readSync, writeSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { binding } from '../../../native/binding.ts'
import { Netns, tun } from '../../../netlink/index.ts'
import { binDirs, runPlugin } from '../../support/plugin.ts'
import type { Container } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'
import { addressesOf, errorOf, factsOf, linkOf, links, node, unheard } from './node.ts'

const ipam = { type: 'static', addresses: [{ address: '10.9.0.11/24' }] }
const tapConf = (more: JsonObject = {}): JsonObject => ({ type: 'tap', ...more })

/** A program at the other end: a virtual machine in miniature. */
class Machine {
  readonly #tap: tun.Tap
  readonly mac = '02:00:00:00:99:01'

  constructor(container: Container, options: { name?: string; multiQueue?: boolean } = {}) {
    const netns = Netns.open(container.path)
    this.#tap = tun.openTap(netns, { name: 'eth0', ...options })
    netns.close()
    onTestFinished(() => this.#tap.close())
  }

  send(frame: Uint8Array): void {
    writeSync(this.#tap.descriptor.fd, frame)
  }

  /**
   * The next frame of which `wanted` is true.
   * @param ask sent until it comes: a port that has just got its carrier lets nothing through for a moment
   */
  async receive(wanted: (frame: Buffer) => boolean, ask?: Uint8Array): Promise<Buffer> {
    const { fd } = this.#tap.descriptor
    const buffer = Buffer.alloc(2048)
    return await eventually('a frame comes', () => {
      if (ask) this.send(ask)
      for (;;)
        try {
          const frame = buffer.subarray(0, readSync(fd, buffer))
          if (wanted(frame)) return Buffer.from(frame)
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return null
          throw error
        }
    })
  }
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/[: ]/g, ''), 'hex')
const isArp = (frame: Buffer): boolean => frame.readUInt16BE(12) === 0x0806
/** Who has `ip`? Asked by 10.9.0.99. */
const question = (mac: string, ip: string): Buffer =>
  Buffer.concat([
    hex(`ffffffffffff ${mac} 0806 0001 0800 06 04 0001 ${mac}`),
    Buffer.from([10, 9, 0, 99, 0, 0, 0, 0, 0, 0, ...ip.split('.').map(Number)]),
  ])

test('ADD, CHECK, DEL, with addresses and frames', async () => {
  const it = await node()
  const container = await it.host.container()
  const before = await factsOf(container)
  const mac = '02:11:22:33:44:55'
  const conf = tapConf({ mtu: 1400, mac, owner: 54321, group: 54322, ipam })
  const result = await it.add(conf, { container })
  expect(result).toMatchObject({
    interfaces: [{ name: 'eth0', mac, mtu: 1400, sandbox: container.path }],
    ips: [{ address: '10.9.0.11/24', interface: 0 }],
  })
  expect(await linkOf(container, 'eth0')).toMatchObject({
    ...{ address: mac, mtu: 1400, ifalias: 'linkwright:net/cid-1/eth0' },
    linkinfo: {
      info_kind: 'tun',
      info_data: { type: 'tap', pi: false, persist: true, multi_queue: false, user: 54321, group: 54322 },
    },
  })
  expect(await addressesOf(container, 'eth0')).toEqual(['10.9.0.11/24'])
  const call = { container, prevResult: result }
  await it.check(conf, call)
  // The container's kernel answers what comes out of the machine, and what it sends comes to the machine.
  const machine = new Machine(container)
  const answer = await machine.receive(
    (frame) => isArp(frame) && frame.readUInt16BE(20) === 2,
    question(machine.mac, '10.9.0.11'),
  )
  expect(answer.subarray(0, 6)).toEqual(hex(machine.mac))
  expect(answer.subarray(22, 28)).toEqual(hex(mac))
  await container.run('ping', ['-c1', '-W1', '10.9.0.77'])
  const asked = await machine.receive((frame) => isArp(frame) && frame.readUInt16BE(20) === 1)
  expect([...asked.subarray(38, 42)]).toEqual([10, 9, 0, 77])
  await it.check(conf, call)
  // While the machine runs, too.
  await it.del(conf, call)
  await it.del(conf, call)
  expect(await factsOf(container)).toEqual(before)
})

describe('keys', () => {
  test.each<[string, JsonObject, JsonObject]>([
    ['nothing', {}, { multi_queue: false, vnet_hdr: false, persist: true }],
    ['multiQueue', { multiQueue: true }, { multi_queue: true }],
    ['owner alone, root', { owner: 0 }, { user: 'root' }],
    ['group alone', { group: 4_000_000_000 }, { group: 4_000_000_000 }],
  ])('%s', async (_title, more, data) => {
    const it = await node()
    const container = await it.host.container()
    const result = await it.add(tapConf(more), { container })
    const found = await linkOf(container, 'eth0')
    const info = found.linkinfo?.info_data
    const shown = typeof data.user === 'string' ? { ...data, user: expect.toBeOneOf(['root', 0]) } : data
    expect(info).toMatchObject(shown)
    if (!('owner' in more)) expect(info).not.toHaveProperty('user')
    if (!('group' in more)) expect(info).not.toHaveProperty('group')
    expect(found.flags).toContain('UP')
    expect(found.mtu).toBe(1500)
    expect(result.interfaces?.[0]?.mac).toBe(found.address)
    expect(result.ips).toBeUndefined()
    await it.check(tapConf(more), { container, prevResult: result })
    const others = [{ multiQueue: !more.multiQueue }, { owner: 77 }, { group: 78 }, { mtu: 1300 }]
    for (const other of others)
      expect(
        (await errorOf(it.check(tapConf({ ...more, ...other }), { container, prevResult: result }))).code,
      ).toBe(999)
  })

  test('MAC: the last source wins', async () => {
    const it = await node()
    const conf = tapConf({ mac: '02:00:00:00:00:01' })
    const sources: [JsonObject, string | undefined][] = [
      [conf, undefined],
      [conf, 'IgnoreUnknown=1;MAC=02:00:00:00:00:02'],
      [{ ...conf, args: { cni: { mac: '02:00:00:00:00:03' } } }, 'MAC=02:00:00:00:00:02'],
      [{ ...conf, runtimeConfig: { mac: '02:00:00:00:00:04' } }, 'MAC=02:00:00:00:00:02'],
    ]
    for (const [i, [own, args]] of sources.entries()) {
      const container = await it.host.container(`c${i}`)
      await it.add(own, { container, args })
      expect((await linkOf(container, 'eth0')).address).toBe(`02:00:00:00:00:0${i + 1}`)
    }
  })

  test('several queues, each opened by itself', async () => {
    const it = await node()
    const container = await it.host.container()
    await it.add(tapConf({ multiQueue: true, ipam }), { container })
    const machine = new Machine(container, { multiQueue: true })
    expect(() => new Machine(container)).toThrow('EINVAL')
    new Machine(container, { multiQueue: true })
    machine.send(question(machine.mac, '10.9.0.11'))
    const found = await linkOf(container, 'eth0')
    expect(found.linkinfo?.info_data).toMatchObject({ numqueues: 2 })
  })

  test('bridge: a port of one in the container, frames pass', async () => {
    const it = await node()
    const container = await it.host.container()
    await container.ip('link', 'add', 'br0', 'up', 'type', 'bridge')
    await container.ip('address', 'add', '10.9.0.1/24', 'dev', 'br0')
    // One of the host does not count.
    await it.host.ip('link', 'add', 'br1', 'type', 'bridge')
    const conf = tapConf({ bridge: 'br0' })
    const result = await it.add(conf, { container })
    expect(await linkOf(container, 'eth0')).toMatchObject({ master: 'br0' })
    await it.check(conf, { container, prevResult: result })
    const machine = new Machine(container)
    await machine.receive(
      (frame) => isArp(frame) && frame.readUInt16BE(20) === 2,
      question(machine.mac, '10.9.0.1'),
    )
    await container.ip('link', 'set', 'eth0', 'nomaster')
    expect((await errorOf(it.check(conf, { container, prevResult: result }))).msg).toContain('bridge')
    expect(await errorOf(it.add(tapConf({ bridge: 'br1' }), { container, ifName: 'eth1' }))).toMatchObject({
      code: 7,
      msg: 'failed to lookup bridge "br1": Link not found',
    })
    expect((await errorOf(it.add(tapConf({ bridge: 'lo' }), { container, ifName: 'eth1' }))).msg).toBe(
      '"lo" already exists but is not a bridge',
    )
  })
})

describe('refused before anything is touched', () => {
  test.each<[JsonObject, RegExp, string?]>([
    [{ mtu: 67 }, /^invalid MTU 67/],
    [{ mtu: 65522 }, /^invalid MTU 65522/],
    [{ mtu: -1 }, /^invalid MTU -1/],
    [{ mac: '01:00:5e:00:00:01' }, /^invalid MAC address/],
    [{ owner: -1 }, /tap\.owner: expected integer from 0/],
    [{ group: 4294967295 }, /^invalid group/],
    [{ selinuxContext: 'nonsense' }, /^invalid selinuxContext "nonsense"/],
    [{ selinuxContext: 'system_u:system_r:container_t:s0' }, /does not run SELinux/],
    [{ ipam: { type: 'nowhere' } }, /nowhere/],
  ])('%j', async (more, msg) => {
    const it = await node()
    const container = await it.host.container()
    const before = await factsOf(container)
    expect((await errorOf(it.add(tapConf(more), { container }))).message).toMatch(msg)
    expect(await factsOf(container)).toEqual(before)
    // What may be there is removed all the same.
    await it
      .del(tapConf(more), { container })
      .catch((error: Error) => expect(error.message).toMatch(/nowhere/))
  })
})

describe('roll-back and DEL', () => {
  test('an ADD that fails leaves nothing, and others alone', async () => {
    const it = await node()
    const container = await it.host.container()
    const before = await factsOf(container)
    await errorOf(it.add(tapConf({ ipam }), { container, deliver: unheard }))
    await errorOf(
      it.add(
        tapConf({
          ipam: { type: 'static', addresses: [{ address: '10.9.0.1/24' }, { address: '10.9.0.1/24' }] },
        }),
        { container },
      ),
    )
    expect(await factsOf(container)).toEqual(before)
    await container.ip('tuntap', 'add', 'eth0', 'mode', 'tap')
    await container.ip('link', 'set', 'eth0', 'alias', 'mine')
    const mine = await links(container)
    expect(await errorOf(it.add(tapConf(), { container }))).toMatchObject({
      msg: 'failed to rename tap to "eth0": file exists',
      details: expect.stringContaining('CNI_IFNAME'),
    })
    expect(await links(container)).toEqual(mine)
  })

  test('a DEL finds it by its alias; leaves what is not the attachment’s; needs no namespace', async () => {
    const it = await node()
    const container = await it.host.container()
    await it.add(tapConf(), { container, containerId: 'one' })
    await container.ip('link', 'set', 'eth0', 'down')
    await container.ip('link', 'set', 'eth0', 'name', 'old')
    await it.add(tapConf(), { container, containerId: 'two' })
    await it.del(tapConf(), { container, containerId: 'one' })
    expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo', 'eth0'])
    expect(it.warnings.join()).toContain('it belongs to linkwright:net/two/eth0')
    await it.del(tapConf(), { container, containerId: 'two' })
    expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo'])
    await container.ip('link', 'add', 'eth0', 'type', 'bridge')
    await it.del(tapConf(), { container })
    expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo', 'eth0'])
    await it.del(tapConf(), {})
  })
})

test('STATUS', async () => {
  const it = await node()
  await it.call('STATUS', tapConf())
  expect(await errorOf(it.call('STATUS', tapConf({ selinuxContext: 'a:b:c' })))).toMatchObject({
    code: 50,
    msg: expect.stringContaining('does not run SELinux'),
  })
  expect(await errorOf(it.call('STATUS', tapConf({ mtu: 67 })))).toMatchObject({
    code: 50,
    msg: 'invalid MTU 67, must be 0 or [68, 65521]',
  })
})

test('an SELinux label is taken on, or refused, by the child that makes the device', async () => {
  const it = await node()
  const container = await it.host.container()
  const netns = Netns.open(container.path)
  onTestFinished(() => netns.close())
  const descriptor = netns.open({ path: tun.TUN_DEVICE, flags: 2 })
  onTestFinished(() => descriptor.close())
  let failure: unknown
  try {
    binding().ioctlLabelled(descriptor, 0x400454ca, new Uint8Array(40), 'a:b:c:s0')
  } catch (error) {
    failure = error
  }
  expect(failure).toMatchObject({ syscall: 'setcon', code: 'EINVAL' })
})

test('without /dev/net/tun', async () => {
  const it = await node()
  const container = await it.host.container()
  await it.host.must('mount', ['-t', 'tmpfs', 'tmpfs', '/dev/net'])
  const call = { host: it.host, binDir: binDirs.ours, type: 'tap', netns: container }
  const conf = { cniVersion: '1.1.0', name: 'net', type: 'tap' }
  for (const [command, code] of [
    ['ADD', 999],
    ['STATUS', 50],
  ] as const)
    expect((await runPlugin({ ...call, command, conf })).error).toMatchObject({
      code,
      msg: 'open /dev/net/tun: open: ENOENT',
      details: expect.stringContaining('modprobe tun'),
    })
  expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo'])
})

test.each(['0.2.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'])('a result of %s', async (cniVersion) => {
  const it = await node()
  const container = await it.host.container()
  const result = await it.add(tapConf({ cniVersion, ipam }), { container })
  expect(result.cniVersion).toBe(cniVersion)
  expect(result.interfaces?.[0]?.mtu).toBe(cniVersion === '1.1.0' ? 1500 : undefined)
})
