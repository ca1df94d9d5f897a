/** Traffic control in the kernel, with `tc` as an independent eye. */
import { expect, test } from 'vitest'
import { filter, link, qdisc, trafficClass } from '../../../netlink/index.ts'
import type { Space } from '../../support/space.ts'
import { all, place } from './open.ts'

const VETH = 20
const IFB = 30

const tcJson = async (space: Space, ...args: string[]): Promise<Record<string, unknown>[]> => {
  const all = JSON.parse(await space.must('tc', ['-j', '-s', ...args])) as Record<string, unknown>[]
  // iproute2 6.1 prints empty objects in the place of what a filter left out.
  return all.filter((one) => Object.keys(one).length > 0)
}

const wired = async () => {
  const it = await place()
  await all(
    it.conn,
    link.add({
      kind: 'veth',
      name: 'veth0',
      index: VETH,
      up: true,
      data: { peer: { name: 'eth0', index: 21 } },
    }),
    link.add({ kind: 'ifb', name: 'ifb7', index: IFB, up: true }),
  )
  return it
}

const root = { index: VETH, parent: 'root', handle: '1:' } as const

test('a token bucket is made, changed in place, told and removed', async () => {
  const { space, conn } = await wired()
  await conn.run(
    qdisc.add({ ...root, kind: 'tbf', data: { rate: 2_000_000n, limit: 150_000, buffer: 781_250 } }),
  )
  expect(await tcJson(space, 'qdisc', 'show', 'dev', 'veth0')).toMatchObject([
    { kind: 'tbf', handle: '1:', root: true, options: { rate: 2_000_000, burst: 100_000, lat: 25_000 } },
  ])
  // More than 32 bits of bytes a second.
  const large = { rate: 6_000_000_000n, limit: 400_000_000, buffer: 260_416 }
  await conn.run(qdisc.replace({ ...root, kind: 'tbf', data: large }))
  const [shown] = await tcJson(space, 'qdisc', 'show', 'dev', 'veth0')
  expect(shown).toMatchObject({ kind: 'tbf', options: { rate: 6_000_000_000 } })
  expect(await conn.run(qdisc.get(root))).toMatchObject({
    kind: 'tbf',
    handle: '1:',
    parent: 'root',
    data: large,
  })
  expect(await conn.run(qdisc.list({ index: VETH }))).toEqual([
    expect.objectContaining({ kind: 'tbf', data: large, statistics: expect.objectContaining({ drops: 0 }) }),
  ])
  await conn.run(qdisc.delete(root))
  expect((await conn.run(qdisc.get({ index: VETH, parent: 'root' })))?.handle ?? '0:').toBe('0:')
  expect((await tcJson(space, 'qdisc', 'show', 'dev', 'veth0')).map(({ kind }) => kind)).toEqual(['noqueue'])
})

test('classes and filters divide a link', async () => {
  const { space, conn } = await wired()
  const shaped = { rate: 2_000_000n, buffer: 781_250, quantum: 2000 }
  await all(
    conn,
    qdisc.add({ ...root, kind: 'htb', data: { defaultClass: 0x30 } }),
    trafficClass.add({ index: VETH, parent: '1:', handle: '1:30', kind: 'htb', data: shaped }),
    trafficClass.add({
      index: VETH,
      parent: '1:',
      handle: '1:1',
      kind: 'htb',
      data: { rate: 100_000_000_000n, buffer: 15_625, quantum: 200_000 },
    }),
    qdisc.add({ index: VETH, parent: '1:30', handle: '30:', kind: 'bfifo', data: { limit: 20_000 } }),
    qdisc.add({ index: VETH, parent: '1:1', handle: '10:', kind: 'pfifo', data: { limit: 20 } }),
    filter.add({
      index: VETH,
      parent: '1:',
      priority: 16,
      protocol: 'ip',
      kind: 'u32',
      data: { classid: '1:1', sel: filter.matchSubnet('src', '10.1.2.3/16') },
    }),
    filter.add({
      index: VETH,
      parent: '1:',
      priority: 15,
      protocol: 'ipv6',
      kind: 'u32',
      data: { classid: '1:1', sel: filter.matchSubnet('dst', '2001:db8:1:2:3::/72') },
    }),
  )
  const qdiscs = await tcJson(space, 'qdisc', 'show', 'dev', 'veth0')
  expect(qdiscs).toMatchObject([
    { kind: 'htb', handle: '1:', options: { default: '0x30', r2q: 10 } },
    { kind: 'bfifo', handle: '30:', parent: '1:30' },
    { kind: 'pfifo', handle: '10:', parent: '1:1' },
  ])
  const classes = await space.must('tc', ['class', 'show', 'dev', 'veth0'])
  expect(classes).toMatch(/class htb 1:30 root leaf 30: prio 0 rate 16Mbit ceil 16Mbit burst 100000b/)
  expect(classes).toMatch(/class htb 1:1 root leaf 10: prio 0 rate 800Gbit ceil 800Gbit/)
  const filters = await space.must('tc', ['filter', 'show', 'dev', 'veth0'])
  expect(filters).toMatch(
    /protocol ip pref 16 u32 chain 0 fh \w+::800 .*flowid 1:1 .*\n {2}match 0a010000\/ffff0000 at 12/,
  )
  expect(filters).toMatch(
    /protocol ipv6 pref 15 .*flowid 1:1 .*\n {2}match 20010db8\/ffffffff at 24\n {2}match 00010002\/ffffffff at 28\n {2}match 00030000\/ff000000 at 32|match 20010db8/,
  )
  const found = await conn.run(trafficClass.list({ index: VETH }))
  expect(found.find(({ handle }) => handle === '1:30')).toMatchObject({
    leaf: '30:',
    data: { ...shaped, ceil: 2_000_000n },
  })
  await conn.run(
    trafficClass.replace({
      index: VETH,
      parent: '1:',
      handle: '1:30',
      kind: 'htb',
      data: { ...shaped, rate: 1_000_000n, ceil: 3_000_000n },
    }),
  )
  expect(await space.must('tc', ['class', 'show', 'dev', 'veth0'])).toMatch(/1:30 .* rate 8Mbit ceil 24Mbit/)
  // What a filter leads to stays.
  await expect(conn.run(trafficClass.delete({ index: VETH, handle: '1:1' }))).rejects.toThrow(
    'delete class 1:1 of link 20: EBUSY',
  )
  await conn.run(filter.delete({ index: VETH, parent: '1:', priority: 16, protocol: 'ip' }))
  await conn.run(filter.delete({ index: VETH, parent: '1:', priority: 15 }))
  expect(await conn.run(filter.list({ index: VETH, parent: '1:' }))).toEqual([])
  await conn.run(trafficClass.delete({ index: VETH, handle: '1:1' }))
  expect((await conn.run(trafficClass.list({ index: VETH }))).map(({ handle }) => handle)).toEqual(['1:30'])
})

test.each(['ingress', 'clsact'] as const)('%s: what comes in is redirected', async (kind) => {
  const { space, conn } = await wired()
  const parent = kind === 'ingress' ? 'ffff:' : 'ingress'
  await all(
    conn,
    qdisc.add({ index: VETH, parent: 'ingress', handle: 'ffff:', kind }),
    filter.add({
      index: VETH,
      parent,
      priority: 1,
      protocol: 'all',
      kind: 'u32',
      data: {
        classid: '1:1',
        sel: filter.matchAll,
        act: [{ kind: 'mirred', data: { to: 'egressRedir', index: IFB } }],
      },
    }),
  )
  expect(await conn.run(qdisc.get({ index: VETH, parent: 'ingress' }))).toMatchObject({
    kind,
    handle: 'ffff:',
  })
  const shown = await space.must('tc', ['filter', 'show', 'dev', 'veth0', 'ingress'])
  expect(shown).toMatch(
    /pref 1 u32 .*flowid 1:1 .*\n {2}match 00000000\/00000000 at 0\n.*mirred \(Egress Redirect to device ifb7\) stolen/,
  )
  const redirects = async () =>
    (await conn.run(filter.list({ index: VETH, parent })))
      .map(filter.redirectOf)
      .filter((to) => to !== undefined)
  expect(await redirects()).toEqual([IFB])
  await conn.run(link.delete(IFB))
  expect(await redirects()).toEqual([0])
  await conn.run(qdisc.delete({ index: VETH, parent: 'ingress' }))
  expect(await redirects()).toEqual([])
})

test('a kind without a table of its own', async () => {
  const { conn } = await wired()
  // pfifo_head_drop is of fifo's file, and so wherever that is.
  const options = {
    ...root,
    kind: 'pfifo_head_drop',
    raw: new Uint8Array(new Uint32Array([7]).buffer),
  } as const
  await conn.run(qdisc.add(options))
  expect(await conn.run(qdisc.get(root))).toMatchObject({
    kind: 'pfifo_head_drop',
    data: undefined,
    rawData: options.raw,
  })
})

test('errors say what was tried on which link', async () => {
  const { conn } = await wired()
  const tbf = { ...root, kind: 'tbf', data: { rate: 1000n, limit: 1000, buffer: 15_625_000 } } as const
  await conn.run(qdisc.add(tbf))
  const refused: [request: Parameters<typeof conn.run>[0], message: RegExp][] = [
    [qdisc.add(tbf), /^add qdisc tbf 1: at root of link 20: EEXIST/],
    [
      qdisc.replace({ ...root, kind: 'htb', data: { defaultClass: 1 } }),
      /^replace qdisc htb 1: at root of link 20: EINVAL/,
    ],
    [qdisc.add({ ...root, index: IFB, kind: 'nosuch' }), /^add qdisc nosuch 1: at root of link 30: ENOENT/],
    [qdisc.add({ ...tbf, index: 999 }), /^add qdisc tbf 1: at root of link 999: ENODEV/],
    [qdisc.get({ index: VETH, parent: 'ingress' }), /^get qdisc at ingress of link 20: E(NOENT|INVAL)/],
    [qdisc.delete({ ...root, handle: '2:' }), /^delete qdisc 2: at root of link 20: E(NOENT|INVAL)/],
    [qdisc.delete({ index: VETH, parent: 'ingress' }), /^delete qdisc at ingress of link 20: E(NOENT|INVAL)/],
    [
      filter.add({ index: VETH, parent: 'ffff:', priority: 1, protocol: 'all', kind: 'u32' }),
      /^add filter u32 1 at ffff: of link 20: EINVAL/,
    ],
    [trafficClass.delete({ index: VETH, handle: '9:1' }), /^delete class 9:1 of link 20: ENOENT/],
  ]
  for (const [request, message] of refused) await expect(conn.run(request)).rejects.toThrow(message)
  expect(await conn.run(filter.list({ index: 999, parent: 'ffff:' }))).toEqual([])
  expect(await conn.run(trafficClass.list({ index: 999 }))).toEqual([])
})

test('a tick is what the kernel says it is', async () => {
  const { space } = await wired()
  const [nanoseconds, ticks] = (await space.must('cat', ['/proc/net/psched']))
    .split(' ')
    .map((hex) => Number.parseInt(hex, 16))
  // Of a microsecond, and of a tick, in nanoseconds.
  expect([nanoseconds, ticks]).toEqual([1000, qdisc.TICK])
})
