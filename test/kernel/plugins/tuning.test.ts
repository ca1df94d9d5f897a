/** tuning: every key, one by one and together; ADD, what it refuses, DEL. */
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { Connection, NetlinkError, type Outcome, type Request } from '../../../netlink/index.ts'
import { errorOf, unheard } from './node.ts'
import { everything, type Shown, tuned } from './tuning.ts'

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
  expect(it.kept()).toEqual(['cid-1_eth0.json'])
  // As Go reads it, and one key more.
  expect(it.backup()).toEqual({
    ...{ mac: '02:00:00:00:00:02', promisc: false, mtu: 1500, allmulti: false, txQLen: before.txqlen },
    linkwright: {
      ...{ network: 'net', containerId: 'cid-1', ifName: 'eth0', netns: expect.stringMatching(/^\d+:\d+$/) },
      sysctl: { 'net/ipv4/conf/eth0/arp_filter': '0', 'net/ipv4/ip_local_port_range': ports },
    },
  })
  await it.check(everything, { prevResult: result })
  await it.del(everything, { prevResult: result })
  expect(await it.link()).toEqual(before)
  expect(await it.sysctl('net/ipv4/conf/eth0/arp_filter')).toBe('0')
  expect(await it.sysctl('net/ipv4/ip_local_port_range')).toBe(ports)
  expect(it.kept()).toEqual([])
  await it.del(everything)
})

const alone: readonly [conf: JsonObject, expected: Partial<Shown> | string, original: JsonObject][] = [
  [{ mac: '02-11-22-33-44-AA' }, { address: '02:11:22:33:44:aa' }, { mac: '02:00:00:00:00:02' }],
  [{ promisc: true }, 'PROMISC', { promisc: false }],
  [{ mtu: 9000 }, { mtu: 9000 }, { mtu: 1500 }],
  [{ allmulti: true }, 'ALLMULTI', { allmulti: false }],
  [{ TXQlen: 5 }, { txqlen: 5 }, { txQLen: 1000 }],
  [{ args: { cni: { mtu: 1300 } }, mtu: 1400 }, { mtu: 1300 }, { mtu: 1500 }],
]

test('each key alone, and back', async () => {
  const it = await tuned()
  const before = await it.link()
  for (const [conf, expected, original] of alone) {
    const result = await it.add(conf)
    const link = await it.link()
    if (typeof expected === 'string') expect(link.flags).toContain(expected)
    else expect(link).toEqual({ ...before, ...expected })
    const { linkwright: _own, ...kept } = it.backup()
    expect(kept).toEqual(original)
    expect(result.interfaces?.[1]?.mtu).toBe(link.mtu)
    await it.check(conf)
    await it.del(conf)
    expect(await it.link()).toEqual(before)
  }
})

test('modes are switched off, and on again by DEL', async () => {
  const it = await tuned()
  await it.container.ip('link', 'set', 'eth0', 'allmulticast', 'on', 'promisc', 'on')
  await it.add({ allmulti: false, promisc: false })
  const { flags } = await it.link()
  expect(flags).not.toContain('ALLMULTI')
  expect(flags).toContain('PROMISC')
  await it.del()
  expect((await it.link()).flags).toEqual(expect.arrayContaining(['ALLMULTI', 'PROMISC']))
})

test('nothing to do: nothing is touched, and nothing kept', async () => {
  const it = await tuned()
  const conf = { promisc: false, mtu: 0, mac: '', sysctl: {} }
  expect(await it.add(conf, { ifName: 'not-there' })).toEqual(it.before())
  expect(it.kept()).toEqual([])
})

describe('the result', () => {
  test('has no MTU before 1.1.0, and tells of the container alone', async () => {
    const it = await tuned()
    const sandbox = it.container.path
    const interfaces = [
      { name: 'eth0', mac: '02:00:00:00:00:09' },
      { name: 'eth0', mac: '02:00:00:00:00:02', sandbox },
      { name: 'eth1', mac: '02:00:00:00:00:08', sandbox },
    ]
    const prevResult = { ...it.before(), cniVersion: '1.0.0', interfaces }
    const conf = { cniVersion: '1.0.0', mac: '02:11:22:33:44:55', mtu: 1400 }
    expect((await it.add(conf, { prevResult })).interfaces).toEqual([
      interfaces[0],
      { ...interfaces[1], mac: '02:11:22:33:44:55' },
      interfaces[2],
    ])
  })

  test.each(['0.1.0', '0.2.0'])('of %s is passed on', async (cniVersion) => {
    const it = await tuned()
    const prevResult = { cniVersion, ip4: { ip: '10.9.0.5/24' }, dns: {} }
    expect(await it.add({ cniVersion, mtu: 1400 }, { prevResult })).toEqual(prevResult)
  })
})

describe('sysctls', () => {
  test('of an interface with dots in its name', async () => {
    const it = await tuned()
    await it.container.ip('link', 'add', 'eth0.7', 'type', 'veth', 'peer', 'name', 'b.1.2')
    const conf = {
      sysctl: {
        'net.ipv4.conf.IFNAME.arp_filter': '1',
        'net/ipv4/conf/b.1.2/arp_filter': '1',
        'net.ipv4.conf.b/1/2.arp_ignore': '2',
        'net.ipv4.conf.b.1.2.arp_announce': '2',
      },
    }
    const call = { ifName: 'eth0.7' }
    await it.add(conf, call)
    const read = () =>
      Promise.all(
        ['eth0.7/arp_filter', 'b.1.2/arp_filter', 'b.1.2/arp_ignore', 'b.1.2/arp_announce'].map((name) =>
          it.sysctl(`net/ipv4/conf/${name}`),
        ),
      )
    expect(await read()).toEqual(['1', '1', '2', '2'])
    await it.check(conf, call)
    await it.del(conf, call)
    expect(await read()).toEqual(['0', '0', '0', '0'])
  })

  test.each([[['all', 'eth0']], [['eth0', 'all']]])('of all interfaces and of one: %j', async (order) => {
    const it = await tuned()
    const one = 'net/ipv6/conf/eth0/forwarding'
    await it.container.must('sh', ['-c', `echo 1 >/proc/sys/${one}`])
    const values: Record<string, string> = { all: '1', eth0: '0' }
    const sysctl = Object.fromEntries(
      order.map((name) => [`net.ipv6.conf.${name}.forwarding`, values[name]!]),
    )
    await it.add({ sysctl })
    // Written in the configuration's order: the last one to say something wins.
    expect(await it.sysctl(one)).toBe(order[0] === 'all' ? '0' : '1')
    await it.del({})
    expect([await it.sysctl('net/ipv6/conf/all/forwarding'), await it.sysctl(one)]).toEqual(['0', '1'])
  })

  test('that have no value yet, or never one', async () => {
    const it = await tuned()
    const secret = 'fd00:0000:0000:0000:0000:0000:0000:0001'
    const conf = {
      sysctl: {
        'net.ipv6.conf.eth0.stable_secret': secret,
        'net.ipv4.route.flush': '1',
        'net.ipv6.bindv6only': '1',
      },
    }
    await it.add(conf)
    expect(await it.sysctl('net/ipv6/conf/eth0/stable_secret')).toBe(secret)
    await it.check(conf)
    await it.del(conf)
    expect(await it.sysctl('net/ipv6/bindv6only')).toBe('0')
  })

  test('an empty list is given back', async () => {
    const it = await tuned()
    const ports = 'net/ipv4/ip_local_reserved_ports'
    const before = await it.sysctl(ports)
    await it.container.must('sh', ['-c', `echo 8080 >/proc/sys/${ports}; echo >/proc/sys/${ports}`])
    await it.add({ sysctl: { 'net.ipv4.ip_local_reserved_ports': '1000,2000-2002' } })
    expect(await it.sysctl(ports)).toBe('1000,2000-2002')
    await it.del()
    expect(await it.sysctl(ports)).toBe('')
    expect(before).toBe('')
  })

  test('go with the container, not with the host', async () => {
    const it = await tuned()
    const conf = { sysctl: { 'net.ipv4.ip_forward': '1' } }
    await it.add(conf)
    expect([
      await it.sysctl('net/ipv4/ip_forward'),
      await it.node.host.sysctl('net/ipv4/ip_forward'),
    ]).toEqual([...['1', '0']])
  })
})

describe('an ADD that fails', () => {
  const cases: [string, JsonObject, RegExp, number][] = [
    [
      'at an unknown sysctl',
      { ...everything, sysctl: { 'net.ipv4.ip_forward': '1', 'net.ipv4.conf.nowhere.x': '1' } },
      /^open \/proc\/sys\/net\/ipv4\/conf\/nowhere\/x: no such file or directory$/,
      5,
    ],
    [
      'at a value that is none',
      { ...everything, sysctl: { 'net.ipv4.ip_forward': '1', 'net.ipv4.conf.eth0.arp_filter': 'x' } },
      /^write \/proc\/sys\/net\/ipv4\/conf\/eth0\/arp_filter: invalid argument$/,
      5,
    ],
    ['at an MTU that is too large', { ...everything, mtu: 70_000 }, /^invalid MTU 70000 of eth0$/, 7],
    ['at a MAC that is none', { ...everything, mac: 'ff:ff:ff:ff:ff:ff' }, /^invalid MAC address/, 7],
    [
      'at another sysctl',
      { ...everything, sysctl: { 'vm.swappiness': '1' } },
      /^invalid net sysctl key: "vm/,
      7,
    ],
  ]
  test('leaves nothing', async () => {
    const it = await tuned()
    const before = await it.link()
    for (const [title, conf, msg, code] of cases) {
      const error = await errorOf(it.add(conf))
      expect(error.msg, title).toMatch(msg)
      expect(error.code, title).toBe(code)
      expect(await it.link(), title).toEqual(before)
      expect(await it.sysctl('net/ipv4/ip_forward'), title).toBe('0')
      expect(it.kept(), title).toEqual([])
      await it.del(conf)
    }
  })

  test('at its end', async () => {
    const it = await tuned()
    const before = await it.link()
    const error = await errorOf(it.add(everything, { deliver: unheard }))
    expect([error.msg, error.details]).toEqual(['nobody listens', undefined])
    expect(await it.link()).toEqual(before)
    expect(await it.sysctl('net/ipv4/conf/eth0/arp_filter')).toBe('0')
    expect(it.kept()).toEqual([])
  })

  test('without an interface', async () => {
    const it = await tuned()
    expect(await errorOf(it.add({ mtu: 1400 }, { ifName: 'eth7' }))).toMatchObject({
      code: 999,
      msg: 'failed to get "eth7": Link not found',
    })
    // Sysctls of the namespace need none.
    await it.add({ sysctl: { 'net.ipv4.ip_forward': '1' } }, { ifName: 'eth7' })
  })

  test('without the result of another plugin', async () => {
    const it = await tuned()
    expect(await errorOf(it.add(everything, { prevResult: undefined }))).toMatchObject({
      code: 7,
      msg: 'Required prevResult missing',
    })
    expect((await it.link()).mtu).toBe(1500)
  })

  test('where originals can not be kept', async () => {
    const it = await tuned()
    const error = await errorOf(it.add({ ...everything, dataDir: '/proc/version/tuning' }))
    expect(error).toMatchObject({
      code: 5,
      msg: expect.stringMatching(/^mkdir \/proc\/version.*: not a directory$/),
    })
    expect((await it.link()).mtu).toBe(1500)
    expect(await it.sysctl('net/ipv4/conf/eth0/arp_filter')).toBe('0')
  })
})

describe('the allowlist', () => {
  test('of any part, as the configuration writes it', async () => {
    const it = await tuned()
    it.allow('', '  conf\\.[a-zA-Z]+\\.arp_filter$  ')
    await it.add({ sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1' } })
    const error = await errorOf(it.add({ mtu: 1400, sysctl: { 'net.ipv4.ip_forward': '1' } }))
    expect(error).toMatchObject({
      code: 7,
      msg: 'Sysctl net.ipv4.ip_forward is not allowed. Only the following sysctls are allowed: [conf\\.[a-zA-Z]+\\.arp_filter$]',
    })
    expect((await it.link()).mtu).toBe(1500)
    const args = { cni: { sysctl: { 'net.ipv4.ip_forward': '1' } } }
    expect((await errorOf(it.add({ args }))).msg).toContain('Sysctl net.ipv4.ip_forward is not allowed')
    // Without sysctls it does not matter, nor does it to CHECK and DEL.
    await it.add({ mtu: 1400 })
    await it.check({ sysctl: { 'net.ipv4.ip_forward': '0' } })
    await it.del()
    expect(await it.sysctl('net/ipv4/conf/eth0/arp_filter')).toBe('0')
  })

  test('with a line that is none', async () => {
    const it = await tuned()
    it.allow('net.(ipv4')
    const error = await errorOf(it.add({ sysctl: { 'net.ipv4.ip_forward': '1' } }))
    expect(error.msg).toMatch(/allowlist\.conf: error parsing regexp "net\.\(ipv4"/)
    expect(await it.sysctl('net/ipv4/ip_forward')).toBe('0')
  })
})

describe('small MTUs', () => {
  test('are refused where the result has IPv6', async () => {
    const it = await tuned()
    const prevResult = it.before({ ips: [{ address: 'fd09::5/64', interface: 1 }] })
    const error = await errorOf(it.add({ mtu: 1279 }, { prevResult }))
    expect(error).toMatchObject({ code: 7, msg: expect.stringContaining('has the IPv6 address fd09::5/64') })
    await it.add({ mtu: 1280 }, { prevResult })
    // One of another interface does not matter.
    const other = it.before({ ips: [{ address: 'fd09::5/64', interface: 0 }] })
    await it.add({ mtu: 576 }, { prevResult: other })
  })

  test('take sysctls of IPv6 away, and DEL brings them back', async () => {
    const it = await tuned()
    const conf = { mtu: 1000, sysctl: { 'net.ipv6.conf.IFNAME.accept_ra': '0', 'net.ipv6.bindv6only': '1' } }
    await it.add(conf)
    await expect(it.sysctl('net/ipv6/conf/eth0/accept_ra')).rejects.toThrow()
    await it.check(conf)
    await it.del(conf)
    expect(await it.sysctl('net/ipv6/conf/eth0/accept_ra')).toBe('1')
    expect(await it.sysctl('net/ipv6/bindv6only')).toBe('0')
  })
})

describe('a MAC', () => {
  test('that the kind of interface does not take', async () => {
    const it = await tuned('ifb')
    const error = await errorOf(it.add(everything))
    expect(error.msg).toMatch(/^set link eth0 \(address\): EOPNOTSUPP/)
    expect(error.details).toBe('an interface of its kind (ifb) takes no other MAC')
    expect((await it.link()).mtu).toBe(1500)
    expect(it.kept()).toEqual([])
  })

  test('that the driver takes only while the interface is down: nothing is lost by that', async () => {
    // No driver at hand is such a one (IFF_LIVE_ADDR_CHANGE): the kernel's answer is put in its place.
    const { batch } = Connection.prototype
    let refused = 0
    const spy = vi.spyOn(Connection.prototype, 'batch').mockImplementation(async function (
      this: Connection,
      requests: readonly Request<unknown>[],
    ) {
      const down = requests.some(({ op }) => op.includes('(up)'))
      const own = down ? -1 : requests.findIndex(({ op }) => op.includes('(address)'))
      if (own < 0) return await batch.call(this, requests)
      refused++
      const others = requests.filter((_, i) => i !== own)
      const outcomes: Outcome<unknown>[] = others.length > 0 ? [...(await batch.call(this, others))] : []
      const error = new NetlinkError({ op: requests[own]!.op, errno: 16 })
      return outcomes.toSpliced(own, 0, { ok: false, code: error.code, error })
    } as typeof batch)
    onTestFinished(() => spy.mockRestore())
    const it = await tuned()
    const { container } = it
    await container.ip('link', 'set', 'eth1', 'up')
    await container.ip('address', 'add', '10.9.0.5/24', 'dev', 'eth0')
    await container.ip('address', 'add', 'fd09::5/64', 'dev', 'eth0', 'nodad')
    await container.ip('route', 'add', 'default', 'via', '10.9.0.1')
    await container.ip(
      'route',
      'add',
      '10.8.0.0/16',
      'via',
      '10.7.0.2',
      'dev',
      'eth0',
      'onlink',
      'mtu',
      '1300',
    )
    await container.ip('route', 'add', 'default', 'via', 'fd09::1', 'metric', '33')
    const look = async () => ({
      addresses: await container.must('ip', ['-o', 'addr', 'show', 'dev', 'eth0', 'scope', 'global']),
      four: await container.must('ip', ['-4', 'route', 'show']),
      six: (await container.must('ip', ['-6', 'route', 'show'])).replaceAll(/fe80.*\n/g, ''),
      up: (await it.link()).flags.includes('UP'),
    })
    const before = await look()
    expect(before.six).toContain('default via fd09::1')
    await it.add(everything)
    expect(await it.link()).toMatchObject({ address: '02:11:22:33:44:55', mtu: 1400 })
    expect(await look()).toEqual(before)
    await it.del()
    expect(await it.link()).toMatchObject({ address: '02:00:00:00:00:02', mtu: 1500 })
    expect(await look()).toEqual(before)
    expect(refused).toBe(2)
  })
})
