import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CniError } from '../../../cni/error.ts'
import type { JsonObject } from '../../../cni/types.ts'
import { createHostLocal } from '../../../ipam/host-local/plugin.ts'
import { Store } from '../../../ipam/host-local/store.ts'
import { hostLocal } from '../../../ipam/index.ts'
import { LockTable } from '../../../ipam/lock.ts'
import { binding } from '../../../native/binding.ts'
import {
  add,
  addUndoably,
  check,
  del,
  failure,
  gc,
  reserved,
  scratch,
  silence,
  status,
  tree,
} from './harness.ts'

/** A configuration of a network in a directory of its own. */
const setUp = (ipam: JsonObject = { subnet: '10.1.0.0/24' }, rest: JsonObject = {}) => {
  const dataDir = scratch()
  const dir = join(dataDir, 'net')
  const conf: JsonObject = {
    cniVersion: '1.1.0',
    name: 'net',
    type: 'bridge',
    ipam: { type: 'host-local', dataDir, ...ipam },
    ...rest,
  }
  return { dataDir, dir, conf }
}

const addresses = async (promise: ReturnType<typeof add>): Promise<string[]> =>
  ((await promise).ips ?? []).map(({ address }) => address)

/** Puts a file there, as a Go plugin of old or new does it, or somebody else. */
const put = (dir: string, files: Readonly<Record<string, string>>): void => {
  mkdirSync(dir, { recursive: true })
  for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), content)
}

describe('ADD', () => {
  test('reserves one address after the other, in files of the Go plugin', async () => {
    const { dir, conf } = setUp()
    expect(await add(hostLocal, { conf, containerId: 'a' })).toEqual({
      ips: [{ address: '10.1.0.2/24', gateway: '10.1.0.1' }],
    })
    expect(await addresses(add(hostLocal, { conf, containerId: 'b', ifName: 'net1' }))).toEqual([
      '10.1.0.3/24',
    ])
    expect(tree(dir)).toEqual({
      '10.1.0.2': '600 a\r\neth0',
      '10.1.0.3': '600 b\r\nnet1',
      'last_reserved_ip.0': '600 10.1.0.3',
      lock: '750 ',
    })
  })

  test('goes round about, and does not give back at once what became free', async () => {
    const { conf } = setUp({ subnet: '10.1.0.0/29' })
    for (const id of ['a', 'b', 'c']) await add(hostLocal, { conf, containerId: id })
    await del(hostLocal, { conf, containerId: 'a' })
    expect(await addresses(add(hostLocal, { conf, containerId: 'd' }))).toEqual(['10.1.0.5/29'])
    expect(await addresses(add(hostLocal, { conf, containerId: 'e' }))).toEqual(['10.1.0.6/29'])
    expect(await addresses(add(hostLocal, { conf, containerId: 'f' }))).toEqual(['10.1.0.2/29'])
  })

  test('remembers a shorter address after a longer one', async () => {
    const { dir, conf } = setUp({ ranges: [[{ subnet: '10.1.0.0/24' }, { subnet: '9.0.0.0/30' }]] })
    put(dir, { 'last_reserved_ip.0': '10.1.0.254' })
    expect(await addresses(add(hostLocal, { conf }))).toEqual(['9.0.0.2/30'])
    expect(tree(dir)['last_reserved_ip.0']).toMatch(/ 9\.0\.0\.2$/)
  })

  test.each(['', 'nonsense', '192.168.0.1', '2001:db8::1'])(
    'starts at the beginning after %j',
    async (last) => {
      const { dir, conf } = setUp()
      put(dir, { 'last_reserved_ip.0': last })
      expect(await addresses(add(hostLocal, { conf }))).toEqual(['10.1.0.2/24'])
    },
  )

  test('gives an address of each range set, in their order', async () => {
    const { dir, conf } = setUp(
      {
        subnet: '10.1.0.0/24',
        ranges: [[{ subnet: '2001:db8::/64', gateway: 'fe80::1' }]],
        routes: [
          { dst: '0.0.0.0/0' },
          {
            dst: '2001:DB8:1::/48',
            gw: '2001:DB8::0:9',
            mtu: 1400,
            advmss: 1300,
            priority: 5,
            table: 0,
            scope: 0,
          },
        ],
      },
      { runtimeConfig: { ipRanges: [[{ subnet: '10.9.0.0/24' }]] } },
    )
    expect(await add(hostLocal, { conf })).toEqual({
      ips: [
        { address: '10.9.0.2/24', gateway: '10.9.0.1' },
        { address: '10.1.0.2/24', gateway: '10.1.0.1' },
        { address: '2001:db8::1/64', gateway: 'fe80::1' },
      ],
      routes: [
        { dst: '0.0.0.0/0' },
        {
          dst: '2001:db8:1::/48',
          gw: '2001:db8::9',
          mtu: 1400,
          advmss: 1300,
          priority: 5,
          table: 0,
          scope: 0,
        },
      ],
    })
    expect(tree(dir)['last_reserved_ip.2']).toBe('600 2001:db8::1')
    await check(hostLocal, { conf })
    await del(hostLocal, { conf })
    expect(reserved(dir)).toEqual([])
  })

  test('takes keys in any case, and nulls for nothing', async () => {
    const { dataDir } = setUp()
    const conf = {
      cniVersion: '1.0.0',
      name: 'net',
      IPAM: {
        Type: 'host-local',
        datadir: dataDir,
        Subnet: '10.1.0.0/24',
        RangeStart: '10.1.0.7',
        routes: null,
      },
      RuntimeConfig: null,
      args: null,
    }
    expect(await add(hostLocal, { conf })).toEqual({ ips: [{ address: '10.1.0.7/24', gateway: '10.1.0.1' }] })
  })

  test('reads dns from resolvConf before it reserves anything', async () => {
    const { dir, dataDir, conf } = setUp()
    const file = join(dataDir, 'resolv.conf')
    writeFileSync(
      file,
      '# nameserver 9.9.9.9\n;nameserver 9.9.9.8\n\n nameserver 192.0.2.1 192.0.2.9\nnameserver\nNAMESERVER 192.0.2.2\n' +
        'nameserver\t192.0.2.3\ndomain one\ndomain two three\nsearch a b\nsearch c\noptions ndots:2 rotate\noptions x',
    )
    const withFile = (resolvConf: string) => ({ ...conf, ipam: { ...(conf.ipam as JsonObject), resolvConf } })
    expect((await add(hostLocal, { conf: withFile(file) })).dns).toEqual({
      nameservers: ['192.0.2.1', '192.0.2.3'],
      domain: 'two',
      search: ['a', 'b', 'c'],
      options: ['ndots:2', 'rotate', 'x'],
    })
    await del(hostLocal, { conf })
    rmSync(dir, { recursive: true })
    const { code, msg } = await failure(add(hostLocal, { conf: withFile(join(dataDir, 'none')) }))
    expect({ code, msg }).toEqual({
      code: 5,
      msg: `open ${join(dataDir, 'none')}: no such file or directory`,
    })
    expect((await failure(add(hostLocal, { conf: withFile(dataDir) }))).msg).toMatch(/is a directory$/)
    expect(existsSync(dir)).toBe(false)
  })

  test('says which directory can not be made, and what for', async () => {
    const { dataDir, dir, conf } = setUp()
    const within = (dataDir: string) => ({ ...conf, ipam: { ...(conf.ipam as JsonObject), dataDir } })
    writeFileSync(join(dataDir, 'file'), '')
    const below = join(dataDir, 'file', 'sub')
    expect(await failure(add(hostLocal, { conf: within(below) }))).toMatchObject({
      code: 5,
      msg: `mkdir ${below}/net: not a directory`,
      details: `reservations are kept in ${below}/net`,
    })
    writeFileSync(dir, '')
    expect(await failure(add(hostLocal, { conf }))).toMatchObject({
      code: 5,
      msg: `mkdir ${dir}: file exists`,
      details: `reservations are kept in ${dir}`,
    })
    // Not the last one, but the one above it that is the trouble: no process can make anything in there.
    expect(await failure(add(hostLocal, { conf: within('/proc/none/data') }))).toMatchObject({
      code: 5,
      msg: expect.stringMatching(/^mkdir \/proc\/none: /),
    })
  })

  test('makes the directory again where it is removed meanwhile, and says so in the end', async () => {
    const { dataDir, dir } = setUp()
    const { open, tryFlock, flock, countLinks } = binding()
    let left = 2
    const removing = {
      tryFlock,
      flock,
      countLinks,
      open: (...args: Parameters<typeof open>) => {
        if (left-- > 0) rmSync(dir, { recursive: true, force: true })
        return open(...args)
      },
    }
    const places = { reservations: dir, index: join(dataDir, 'index') }
    const create = () =>
      new Store(new LockTable(1_000, () => removing), places, silence, undefined).create(async () => 'done')
    expect(await create()).toBe('done')
    left = Number.POSITIVE_INFINITY
    expect(await failure(create())).toMatchObject({
      code: 5,
      msg: `open ${dir}/lock: no such file or directory`,
      details: `reservations are kept in ${dir}`,
    })
  })

  test('refuses a second address of a set for an attachment', async () => {
    const { dir, conf } = setUp()
    await add(hostLocal, { conf })
    const { code, msg } = await failure(add(hostLocal, { conf }))
    expect({ code, msg }).toEqual({
      code: 999,
      msg: 'failed to allocate for range 0: 10.1.0.2 has been allocated to cid-1, duplicate allocation is not allowed',
    })
    expect(reserved(dir)).toEqual(['10.1.0.2'])
    // Another interface is another attachment.
    expect(await addresses(add(hostLocal, { conf, ifName: 'eth1' }))).toEqual(['10.1.0.3/24'])
  })

  test('refuses a second address where an old release reserved the first', async () => {
    const { dir, conf } = setUp()
    put(dir, { '10.1.0.9': 'cid-1' })
    expect((await failure(add(hostLocal, { conf }))).msg).toContain('10.1.0.9 has been allocated to cid-1')
  })

  test('that runs out of addresses says so', async () => {
    const { dir, conf } = setUp({ subnet: '10.1.0.0/30' })
    await add(hostLocal, { conf })
    const { code, msg, details } = await failure(add(hostLocal, { conf, containerId: 'b' }))
    expect({ code, msg }).toEqual({
      code: 999,
      msg: 'failed to allocate for range 0: no IP addresses available in range set: 10.1.0.1-10.1.0.2',
    })
    expect(details).toContain('1 address: 10.1.0.1-10.1.0.2 of 10.1.0.0/30 without the gateway 10.1.0.1')
    expect(reserved(dir)).toEqual(['10.1.0.2'])
  })

  test('finds the one free address of a /64 among many', async () => {
    const { dir, conf } = setUp({ subnet: '2001:db8::/64' })
    put(
      dir,
      Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`2001:db8::${(i + 2).toString(16)}`, 'x'])),
    )
    expect(await addresses(add(hostLocal, { conf }))).toEqual(['2001:db8::12e/64'])
  })

  test('that fails in a later set takes back what it made, and nothing else', async () => {
    const { dir, conf } = setUp({
      ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: '10.2.0.0/30' }], [{ subnet: '10.3.0.0/24' }]],
    })
    // From an earlier ADD of the same attachment. In the Go plugin, the failed ADD would remove it.
    put(dir, { '10.2.0.2': 'cid-1\r\neth0' })
    const { msg } = await failure(add(hostLocal, { conf }))
    expect(msg).toMatch(/^failed to allocate for range 1: 10\.2\.0\.2 has been allocated to cid-1,/)
    expect(reserved(dir)).toEqual(['10.2.0.2'])
    put(dir, { '10.2.0.2': 'other\r\neth0' })
    expect((await failure(add(hostLocal, { conf }))).msg).toMatch(/^failed to allocate for range 1: no IP/)
    expect(reserved(dir)).toEqual(['10.2.0.2'])
  })

  test('that can not remember the last address takes it back', async () => {
    const { dir, conf } = setUp()
    mkdirSync(join(dir, 'last_reserved_ip.0'), { recursive: true })
    const { code, msg } = await failure(add(hostLocal, { conf }))
    expect(code).toBe(5)
    expect(msg).toMatch(/^failed to allocate for range 0: open .*last_reserved_ip\.0: is a directory$/)
    expect(reserved(dir)).toEqual([])
  })

  test('is undone when the interface can not be made', async () => {
    const { dir, conf } = setUp({ ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: '2001:db8::/64' }]] })
    put(dir, { '10.1.0.9': 'cid-1' })
    const { undo } = await addUndoably(hostLocal, { conf, ifName: 'eth0', containerId: 'cid-2' })
    expect(reserved(dir)).toEqual(['10.1.0.2', '10.1.0.9', '2001:db8::2'])
    expect(await undo.run()).toEqual([])
    expect(reserved(dir)).toEqual(['10.1.0.9'])
  })

  test('leaves to others what they took over before it is undone', async () => {
    const { dir, conf } = setUp()
    const { undo } = await addUndoably(hostLocal, { conf })
    put(dir, { '10.1.0.2': 'somebody\r\nelse' })
    expect(await undo.run()).toEqual([])
    expect(reserved(dir)).toEqual(['10.1.0.2'])
  })

  test('is undone even when it was stopped', async () => {
    const { dir, conf } = setUp()
    const controller = new AbortController()
    const { undo } = await addUndoably(hostLocal, { conf, signal: controller.signal })
    controller.abort()
    expect(await undo.run()).toEqual([])
    expect(reserved(dir)).toEqual([])
  })

  test('that is stopped reserves nothing', async () => {
    const { dir, conf } = setUp()
    const reason = new CniError({ code: 11, msg: 'enough' })
    expect(await failure(add(hostLocal, { conf, signal: AbortSignal.abort(reason) }))).toBe(reason)
    expect(existsSync(dir)).toBe(false)
  })

  test('of many at the same time gives all different addresses', async () => {
    const { dir, conf } = setUp()
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, i) => addresses(add(hostLocal, { conf, containerId: `c${i}` }))),
    )
    expect(new Set(results.flat()).size).toBe(100)
    expect(reserved(dir)).toHaveLength(100)
    await Promise.all(Array.from({ length: 100 }, (_, i) => del(hostLocal, { conf, containerId: `c${i}` })))
    expect(reserved(dir)).toEqual([])
  })

  test('waits no longer for the lock than it may', async () => {
    const { dir, conf } = setUp()
    mkdirSync(dir)
    const other = binding().open(join(dir, 'lock'), 0o100, 0o750)
    expect(binding().tryFlock(other, 2)).toBe(true)
    const { code, msg } = await failure(add(createHostLocal({ lockTimeout: 20 }), { conf }))
    expect(code).toBe(11)
    expect(msg).toContain(join(dir, 'lock'))
    expect((await failure(del(createHostLocal({ lockTimeout: 20 }), { conf }))).code).toBe(11)
    other.close()
    expect(reserved(dir)).toEqual([])
  })

  test.each(['../evil', 'a/b', '..', '.linkwright', '', 'a\nb'])(
    'does not leave its directory for network %j',
    async (name) => {
      const { dataDir, conf } = setUp()
      for (const verb of [add, del, check])
        expect((await failure(verb(hostLocal, { conf: { ...conf, name } }))).code).toBe(7)
      expect(readdirSync(dataDir)).toEqual([])
    },
  )

  test.each(['../evil', 'a/b', '', 'a\r\neth0', ' a'])(
    'does not take container id %j',
    async (containerId) => {
      const { dataDir, conf } = setUp()
      for (const verb of [add, del, check])
        expect((await failure(verb(hostLocal, { conf, containerId }))).code).toBe(4)
      expect(readdirSync(dataDir)).toEqual([])
    },
  )
})

test.each(['a/b', 'a\r\nb', '', '..'])('does not take interface name %j', async (ifName) => {
  const { dataDir, conf } = setUp()
  for (const verb of [add, del, check])
    expect((await failure(verb(hostLocal, { conf, ifName }))).code).toBe(4)
  expect(readdirSync(dataDir)).toEqual([])
})

describe('requested addresses', () => {
  const both = {
    ranges: [[{ subnet: '10.1.0.0/24', gateway: '10.1.0.5' }], [{ subnet: '2001:db8::/64' }]],
  }

  test('come from CNI_ARGS, args and runtimeConfig together', async () => {
    const { conf } = setUp(
      { ranges: [...both.ranges, [{ subnet: '10.3.0.0/24' }]] },
      { args: { cni: { ips: ['2001:DB8::0:7/64', '10.1.0.9'] } }, runtimeConfig: { ips: ['10.3.0.8/16'] } },
    )
    expect(await addresses(add(hostLocal, { conf, args: 'IP=10.1.0.9/8' }))).toEqual([
      '10.1.0.9/24',
      '2001:db8::7/64',
      '10.3.0.8/24',
    ])
  })

  test('go with the next free ones of other sets', async () => {
    const { dir, conf } = setUp(both, { runtimeConfig: { ips: ['2001:db8::7'] } })
    expect(await addresses(add(hostLocal, { conf }))).toEqual(['10.1.0.1/24', '2001:db8::7/64'])
    expect(tree(dir)['last_reserved_ip.1']).toBe('600 2001:db8::7')
  })

  test('of a set are given one each, the first that was asked for', async () => {
    const { dir, conf } = setUp(both, { runtimeConfig: { ips: ['10.1.0.8', '10.1.0.7'] } })
    const { code, msg } = await failure(add(hostLocal, { conf, args: 'IP=10.1.0.9' }))
    expect({ code, msg }).toEqual({ code: 7, msg: 'failed to allocate all requested IPs: 10.1.0.8 10.1.0.7' })
    expect(reserved(dir)).toEqual([])
  })

  test('must be in a range', async () => {
    const { dir, conf } = setUp(both)
    expect((await failure(add(hostLocal, { conf, args: 'IP=10.2.0.9' }))).msg).toBe(
      'failed to allocate all requested IPs: 10.2.0.9',
    )
    expect(reserved(dir)).toEqual([])
  })

  test('must not be the gateway', async () => {
    const { conf } = setUp(both)
    expect((await failure(add(hostLocal, { conf, args: 'IP=10.1.0.5' }))).msg).toBe(
      "failed to allocate for range 0: requested ip 10.1.0.5 is subnet's gateway",
    )
  })

  test('must be free', async () => {
    const { dir, conf } = setUp(both)
    await add(hostLocal, { conf, args: 'IP=10.1.0.9' })
    expect((await failure(add(hostLocal, { conf, containerId: 'b', args: 'IP=10.1.0.9' }))).msg).toBe(
      'failed to allocate for range 0: requested IP address 10.1.0.9 is not available in range set 10.1.0.1-10.1.0.254',
    )
    expect(reserved(dir)).toEqual(['10.1.0.9', '2001:db8::2'])
  })

  test('that nobody can read are an error in ADD and CHECK, and none in DEL', async () => {
    const { conf } = setUp()
    await add(hostLocal, { conf })
    for (const [args, msg] of [
      ['IP=10.1', 'ARGS: error parsing value of pair "IP=10.1": invalid IP address 10.1'],
      [
        'IP=10.1.0.9/33',
        'ARGS: error parsing value of pair "IP=10.1.0.9/33": invalid IP address 10.1.0.9/33',
      ],
      ['K8S=x', 'ARGS: unknown args ["K8S=x"]'],
      ['IP', 'ARGS: invalid pair "IP"'],
    ] as const)
      for (const verb of [add, check]) {
        const error = await failure(verb(hostLocal, { conf, args }))
        expect({ code: error.code, msg: error.msg }).toEqual({ code: 4, msg })
      }
    await del(hostLocal, { conf, args: 'IP=10.1;;' })
    expect(await addresses(add(hostLocal, { conf, args: 'IgnoreUnknown=1;K8S=x;IP=' }))).toEqual([
      '10.1.0.3/24',
    ])
  })
})

describe('a configuration', () => {
  test.each<[JsonObject | undefined, string]>([
    [undefined, "IPAM config missing 'ipam' key"],
    [{}, 'no IP ranges specified'],
    // What has no subnet is no range.
    [{ rangeStart: '10.1.0.2' }, 'no IP ranges specified'],
    [{ ranges: [[]] }, 'invalid range set 0: empty range set'],
    [{ ranges: [[{}]] }, 'invalid range set 0: IP <nil> not v4 nor v6'],
    [{ subnet: '10.1.0.0/31' }, 'invalid range set 0: Network 10.1.0.0/31 too small to allocate from'],
    [{ subnet: '10.1.0.0/24', ranges: [[{ subnet: '10.1.0.0/16' }]] }, 'range set 0 overlaps with 1'],
  ])('%j is refused: %s', async (ipam, msg) => {
    const conf = {
      cniVersion: '1.0.0',
      name: 'net',
      ...(ipam && { ipam: { dataDir: '/nonexistent', ...ipam } }),
    }
    for (const verb of [add, check, status]) {
      const error = await failure(verb(hostLocal, { conf }))
      expect({ code: error.code, msg: error.msg }).toEqual({ code: 7, msg })
    }
  })

  test.each<[JsonObject, string]>([
    [{ subnet: '10.1.0.0' }, 'ipam.subnet'],
    [{ subnet: 7 }, 'ipam.subnet'],
    [{ ranges: [[{ subnet: '10.1.0.0/24', rangeEnd: 'x' }]] }, 'ipam.ranges[0][0].rangeEnd'],
    [{ ranges: [{ subnet: '10.1.0.0/24' }] }, 'ipam.ranges[0]'],
    [{ subnet: '10.1.0.0/24', routes: [{ gw: '10.1.0.1' }] }, 'ipam.routes[0].dst'],
    [{ subnet: '10.1.0.0/24', dataDir: 1 }, 'ipam.dataDir'],
  ])('%j is refused, with the key %s', async (ipam, key) => {
    const conf = { cniVersion: '1.0.0', name: 'net', ipam }
    const { code, msg, details } = await failure(add(hostLocal, { conf }))
    expect(code).toBe(7)
    expect(msg).toContain(`host-local.${key}: `)
    expect(details).toContain(key)
  })
})

describe('DEL', () => {
  test('gives back what the attachment has, and nothing else', async () => {
    const { dir, conf } = setUp({ ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: '2001:db8::/64' }]] })
    for (const containerId of ['a', 'b'])
      for (const ifName of ['eth0', 'net1']) await add(hostLocal, { conf, containerId, ifName })
    await del(hostLocal, { conf, containerId: 'a', ifName: 'net1' })
    expect(reserved(dir)).toHaveLength(6)
    expect(Object.values(tree(dir)).filter((content) => content.includes('a\r\nnet1'))).toEqual([])
    await del(hostLocal, { conf, containerId: 'a', ifName: 'net1' })
    await del(hostLocal, { conf, containerId: 'unknown' })
    expect(reserved(dir)).toHaveLength(6)
  })

  test('makes no directory', async () => {
    const { dataDir, conf } = setUp()
    await del(hostLocal, { conf })
    expect(readdirSync(dataDir)).toEqual([])
    await del(hostLocal, { conf: { ...conf, ipam: { dataDir: join(dataDir, 'no', 'where') } } })
    expect(readdirSync(dataDir)).toEqual([])
  })

  test('takes the files of old releases only where there is none of the interface', async () => {
    const { dir, conf } = setUp()
    put(dir, { '10.1.0.5': 'cid-1', '10.1.0.6': 'cid-1\r\neth0', '10.1.0.7': 'cid-1\r\neth1' })
    await del(hostLocal, { conf })
    expect(reserved(dir)).toEqual(['10.1.0.5', '10.1.0.7'])
    await del(hostLocal, { conf })
    expect(reserved(dir)).toEqual(['10.1.0.7'])
  })

  test('looks at trimmed content, at any name and in directories, as the Go plugin does', async () => {
    const { dir, conf } = setUp()
    put(dir, { '10.1.0.5': ' cid-1\r\neth0\n', 'some-name': 'cid-1\r\neth0' })
    put(join(dir, 'sub', 'dir'), { '10.9.0.1': 'cid-1\r\neth0', '10.9.0.2': 'cid-2\r\neth0' })
    symlinkSync('/nowhere', join(dir, 'broken'))
    await check(hostLocal, { conf })
    expect((await failure(add(hostLocal, { conf }))).msg).toContain('10.1.0.5 has been allocated')
    await del(hostLocal, { conf })
    expect(reserved(dir)).toEqual(['broken', 'sub/dir/10.9.0.2'])
  })

  test('never takes the lock file or the last address for a reservation', async () => {
    const { dir, conf } = setUp()
    put(dir, { lock: '10.1.0.2', 'last_reserved_ip.0': '10.1.0.2', '10.1.0.7': '10.1.0.2' })
    await del(hostLocal, { conf, containerId: '10.1.0.2' })
    expect(Object.keys(tree(dir)).sort()).toEqual(['last_reserved_ip.0', 'lock'])
  })

  test.each<[string, JsonObject]>([
    ['is broken', { subnet: '10.1.0.0/33', ranges: 'none', routes: [{}], resolvConf: 7 }],
    ['has other ranges', { subnet: '192.0.2.0/24' }],
    ['has none', {}],
  ])('works when the configuration %s', async (_, ipam) => {
    const { dir, dataDir, conf } = setUp()
    await add(hostLocal, { conf })
    await del(hostLocal, {
      conf: { ...conf, cniVersion: '0.2.0', ipam: { dataDir, ...ipam }, runtimeConfig: 3 },
    })
    expect(reserved(dir)).toEqual([])
  })
})

describe('CHECK', () => {
  test('finds the reservation, of either form', async () => {
    const { dir, conf } = setUp()
    const { code, msg } = await failure(check(hostLocal, { conf }))
    expect({ code, msg }).toEqual({
      code: 999,
      msg: 'host-local: Failed to find address added by container cid-1',
    })
    expect(existsSync(dir)).toBe(false)
    const result = await add(hostLocal, { conf })
    await check(hostLocal, { conf, prevResult: result })
    await check(hostLocal, { conf })
    expect((await failure(check(hostLocal, { conf, ifName: 'eth1' }))).msg).toContain(
      'Failed to find address',
    )
    put(dir, { '10.1.0.9': 'old' })
    await check(hostLocal, { conf, containerId: 'old', ifName: 'any' })
  })

  test('compares it with the result', async () => {
    const { dir, conf } = setUp({ ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: '10.2.0.0/24' }]] })
    await add(hostLocal, { conf })
    const ips = (...list: string[]) => ({ ips: list.map((address) => ({ address })) })
    await check(hostLocal, { conf, prevResult: ips('10.1.0.2/24', '10.2.0.2/24', '192.0.2.7/24') })
    expect((await failure(check(hostLocal, { conf, prevResult: ips('10.1.0.2/24') }))).details).toBe(
      '10.2.0.2 is reserved for it, but is not in prevResult',
    )
    rmSync(join(dir, '10.2.0.2'))
    const stale = ips('10.1.0.2/24', '10.2.0.2/24')
    expect((await failure(check(hostLocal, { conf, prevResult: stale }))).details).toBe(
      '10.2.0.2 of prevResult is not reserved for it',
    )
  })

  test('changes nothing', async () => {
    const { dir, conf } = setUp()
    put(dir, { '10.1.0.2': 'cid-1\r\neth0', '10.1.0.3': '', '.linkwright-new': 'cid-2\r\neth0' })
    const before = tree(dir)
    await check(hostLocal, { conf })
    // What was never given its name is no reservation.
    await failure(check(hostLocal, { conf, containerId: 'cid-2' }))
    expect(tree(dir)).toEqual(before)
  })
})

describe('STATUS', () => {
  test('is well while there is a free address in each set', async () => {
    const { dataDir, dir, conf } = setUp({
      ranges: [[{ subnet: '10.1.0.0/30' }], [{ subnet: '2001:db8::/64' }]],
    })
    await status(hostLocal, { conf })
    expect(readdirSync(dataDir)).toEqual([])
    put(dir, { '10.1.0.1': 'gateway', '10.1.0.3': 'no address of the range', '10.2.0.2': 'nor this' })
    await status(hostLocal, { conf })
    put(dir, { '10.1.0.2': 'x' })
    const { code, msg } = await failure(status(hostLocal, { conf }))
    expect({ code, msg }).toEqual({
      code: 50,
      msg: 'no IP addresses available in range set: 10.1.0.1-10.1.0.2',
    })
    // Left by a process that was killed: the next ADD takes it.
    put(dir, { '10.1.0.2': '' })
    await status(hostLocal, { conf })
  })

  test('is not well where a set has no address but its gateway', async () => {
    const only = { subnet: '10.1.0.0/24', rangeStart: '10.1.0.1', rangeEnd: '10.1.0.1' }
    const other = { subnet: '10.2.0.0/24' }
    const full = {
      code: 50,
      msg: 'no IP addresses available in range set: 10.1.0.1-10.1.0.1',
      details: '0 addresses: 10.1.0.1-10.1.0.1 of 10.1.0.0/24 without the gateway 10.1.0.1; widen the range',
    }
    const { dir, conf } = setUp({ ranges: [[other], [only]] })
    expect(await failure(status(hostLocal, { conf }))).toMatchObject(full)
    const refused = await failure(add(hostLocal, { conf }))
    expect(refused.msg).toContain(full.msg)
    expect(refused.details).toBe(full.details)
    expect(existsSync(dir)).toBe(true)
    expect(await failure(status(hostLocal, { conf }))).toMatchObject(full)
    // Another gateway, or another range of the set, makes room.
    for (const set of [[{ ...only, gateway: '10.1.0.254' }], [only, other]])
      await status(hostLocal, setUp({ ranges: [set] }))
  })

  test('is not well where resolvConf can not be read', async () => {
    const { conf } = setUp({ subnet: '10.1.0.0/24', resolvConf: '/nonexistent' })
    const { code, msg } = await failure(status(hostLocal, { conf }))
    expect({ code, msg }).toEqual({ code: 50, msg: 'open /nonexistent: no such file or directory' })
  })

  test('is not well where nothing can be written', async () => {
    const { dataDir, conf } = setUp()
    const file = join(dataDir, 'file')
    writeFileSync(file, '')
    const { code, msg } = await failure(
      status(hostLocal, { conf: { ...conf, ipam: { subnet: '10.1.0.0/24', dataDir: `${file}/sub` } } }),
    )
    expect(msg).toContain(`${file}/.: not a directory`)
    expect(code).toBe(50)
  })
})

describe('GC', () => {
  test('removes what no valid attachment has', async () => {
    const { dir, conf } = setUp()
    for (const containerId of ['a', 'b', 'c'])
      for (const ifName of ['eth0', 'net1']) await add(hostLocal, { conf, containerId, ifName })
    put(dir, {
      '10.1.0.50': 'b',
      '10.1.0.51': 'd',
      '10.1.0.52': '',
      '.linkwright-new': 'x',
      'some-name': 'd',
    })
    put(dir, { '10.1.0.60': 'kept by the administrator' })
    await gc(hostLocal, { conf }, [
      { containerId: 'a', ifName: 'eth0' },
      { containerId: 'b', ifName: 'net1' },
      { containerId: 'z', ifName: 'eth0' },
    ])
    expect(tree(dir)).toEqual({
      '10.1.0.2': '600 a\r\neth0',
      '10.1.0.5': '600 b\r\nnet1',
      '10.1.0.50': '644 b',
      '10.1.0.60': '644 kept by the administrator',
      'last_reserved_ip.0': '600 10.1.0.7',
      lock: '750 ',
      'some-name': '644 d',
    })
  })

  test('with no valid attachment removes all, and keeps the order of assignment', async () => {
    const { dir, conf } = setUp()
    for (let i = 0; i < 30; i++) await add(hostLocal, { conf, containerId: `c${i}` })
    await gc(hostLocal, { conf }, [])
    expect(reserved(dir)).toEqual([])
    expect(await addresses(add(hostLocal, { conf }))).toEqual(['10.1.0.32/24'])
  })

  test('leaves networks in directories of this one alone', async () => {
    const { dir, conf } = setUp()
    put(join(dir, 'inner'), { '10.9.0.1': 'x\r\neth0' })
    await gc(hostLocal, { conf }, [])
    expect(reserved(dir)).toEqual(['inner/10.9.0.1'])
  })

  test('makes no directory', async () => {
    const { dataDir, conf } = setUp()
    await gc(hostLocal, { conf }, [])
    expect(readdirSync(dataDir)).toEqual([])
  })
})

describe('what killed processes left', () => {
  test('is free: an empty file', async () => {
    const { dir, conf } = setUp()
    put(dir, { '10.1.0.2': '' })
    expect(await addresses(add(hostLocal, { conf }))).toEqual(['10.1.0.2/24'])
    expect(tree(dir)['10.1.0.2']).toBe('600 cid-1\r\neth0')
  })

  test('is free: an empty file in a range that is otherwise full, with an index', async () => {
    const { dir, conf } = setUp({ subnet: '10.1.0.0/26' })
    for (let i = 0; i < 61; i++) await add(hostLocal, { conf, containerId: `c${i}` })
    await del(hostLocal, { conf, containerId: 'c30' })
    put(dir, { '10.1.0.32': '' })
    await add(hostLocal, { conf, containerId: 'x' })
    expect(tree(dir)['10.1.0.32']).toBe('600 x\r\neth0')
    await failure(add(hostLocal, { conf, containerId: 'y' }))
  })

  test('is removed: a reservation before it had its name', async () => {
    const { dir, conf } = setUp()
    for (const content of ['', 'cid-1\r\n', 'cid-1\r\neth0']) {
      put(dir, { '.linkwright-new': content })
      await add(hostLocal, { conf })
      expect(reserved(dir)).toHaveLength(1)
      put(dir, { '.linkwright-new': content })
      await del(hostLocal, { conf })
      expect(reserved(dir)).toEqual([])
    }
  })

  test('is not overwritten: a reservation that still has both names', async () => {
    const { dir, conf } = setUp()
    await add(hostLocal, { conf })
    const { linkSync } = await import('node:fs')
    linkSync(join(dir, '10.1.0.2'), join(dir, '.linkwright-new'))
    await add(hostLocal, { conf, containerId: 'b' })
    expect(tree(dir)).toMatchObject({ '10.1.0.2': '600 cid-1\r\neth0', '10.1.0.3': '600 b\r\neth0' })
    expect(reserved(dir)).toHaveLength(2)
  })
})

test('a directory that goes away with its index comes back', async () => {
  const { dataDir, dir, conf } = setUp()
  for (let i = 0; i < 30; i++) await add(hostLocal, { conf, containerId: `c${i}` })
  expect(existsSync(join(dataDir, '.linkwright', 'net'))).toBe(true)
  rmSync(dir, { recursive: true })
  await del(hostLocal, { conf, containerId: 'c1' })
  expect(existsSync(join(dataDir, '.linkwright', 'net'))).toBe(false)
  for (let i = 0; i < 30; i++) await add(hostLocal, { conf, containerId: `c${i}` })
  rmSync(join(dataDir, '.linkwright'), { recursive: true })
  for (let i = 0; i < 30; i++) await del(hostLocal, { conf, containerId: `c${i}` })
  expect(reserved(dir)).toEqual([])
  chmodSync(dir, 0o755)
})
