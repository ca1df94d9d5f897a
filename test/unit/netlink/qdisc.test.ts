/** Traffic control: what `tc` sends is what the requests here send, and what the kernel answers is understood. */
import { readFileSync } from 'node:fs'
import { describe, expect, it, test } from 'vitest'
import { Reader } from '../../../netlink/codec/reader.ts'
import { encode } from '../../../netlink/exchange.ts'
import { toFilter } from '../../../netlink/filter.ts'
import { type Filter, filter, qdisc, type Request, trafficClass } from '../../../netlink/index.ts'
import { formatHandle, parseHandle } from '../../../netlink/qdisc/handle.ts'
import { trafficLayout } from '../../../netlink/qdisc/layout.ts'
import { toQdisc } from '../../../netlink/qdisc.ts'
import { readMessage } from '../../../netlink/request.ts'
import { toTrafficClass } from '../../../netlink/traffic-class.ts'
import { messagesOf } from './captured.ts'

interface Captured {
  readonly command: string
  readonly sent?: string
  readonly received?: string
}

/** What iproute2 6.1 and Linux 6.18 said to each other; `fixtures/capture-qdisc.mjs` made it. */
const captured = JSON.parse(
  readFileSync(new URL('./fixtures/captured-qdisc.json', import.meta.url), 'utf8'),
) as readonly Captured[]

const ticks = (bytes: number, rate: number): number => qdisc.toTicks(Math.floor((bytes * 1_000_000) / rate))
const veth0 = { index: 20 } as const
const root = { ...veth0, parent: 'root', handle: '1:' } as const

/** The requests that say the same as the captured commands. */
const requests: Readonly<Record<string, Request<unknown>>> = {
  'tc qdisc add dev veth0 root handle 1: tbf rate 16mbit burst 100000 limit 150000': qdisc.add({
    ...root,
    kind: 'tbf',
    data: { rate: 2_000_000n, limit: 150_000, buffer: ticks(100_000, 2_000_000) },
  }),
  'tc qdisc replace dev veth0 root handle 1: tbf rate 48gbit burst 100000000 limit 400000000': qdisc.replace({
    ...root,
    kind: 'tbf',
    // iproute2 takes the rate for 2^32 - 1 here; what counts is the burst, which it sends besides.
    data: { rate: 6_000_000_000n, limit: 400_000_000, buffer: ticks(100_000_000, 2 ** 32 - 1) },
  }),
  'tc qdisc add dev veth0 root handle 1: tbf rate 8mbit burst 100000 limit 150000 peakrate 16mbit mtu 3000':
    qdisc.add({
      ...root,
      kind: 'tbf',
      data: {
        rate: 1_000_000n,
        limit: 150_000,
        buffer: ticks(100_000, 1_000_000),
        peakRate: 2_000_000n,
        peakBuffer: ticks(3000, 2_000_000),
      },
    }),
  'tc qdisc add dev veth0 handle ffff: ingress': qdisc.add({
    ...veth0,
    parent: 'ingress',
    handle: 'ffff:',
    kind: 'ingress',
  }),
  'tc qdisc add dev veth0 clsact': qdisc.add({
    ...veth0,
    parent: 'ingress',
    handle: 'ffff:',
    kind: 'clsact',
  }),
  'tc qdisc add dev veth0 root handle 1: htb default 30': qdisc.add({
    ...root,
    kind: 'htb',
    data: { defaultClass: 0x30 },
  }),
  'tc qdisc add dev veth0 root handle 2: bfifo limit 20000': qdisc.add({
    ...root,
    handle: '2:',
    kind: 'bfifo',
    data: { limit: 20_000 },
  }),
  'tc qdisc add dev veth0 root handle 2: pfifo limit 20': qdisc.add({
    ...root,
    handle: '2:',
    kind: 'pfifo',
    data: { limit: 20 },
  }),
  'tc qdisc add dev veth0 parent 1:30 handle 30: bfifo limit 20000': qdisc.add({
    ...veth0,
    parent: '1:30',
    handle: '30:',
    kind: 'bfifo',
    data: { limit: 20_000 },
  }),
  'tc qdisc del dev veth0 root handle 1:': qdisc.delete(root),
  'tc class add dev veth0 parent 1: classid 1:31 htb rate 8mbit ceil 16mbit burst 50000 cburst 60000 quantum 3000 prio 3':
    trafficClass.add({
      ...veth0,
      parent: '1:',
      handle: '1:31',
      kind: 'htb',
      data: {
        rate: 1_000_000n,
        ceil: 2_000_000n,
        buffer: ticks(50_000, 1_000_000),
        ceilBuffer: ticks(60_000, 2_000_000),
        quantum: 3000,
        priority: 3,
      },
    }),
  'tc class replace dev veth0 parent 1: classid 1:30 htb rate 800gbit burst 100000000 cburst 100000000':
    trafficClass.replace({
      ...veth0,
      parent: '1:',
      handle: '1:30',
      kind: 'htb',
      data: { rate: 100_000_000_000n, buffer: ticks(100_000_000, 100_000_000_000) },
    }),
  'tc class del dev veth0 classid 1:30': trafficClass.delete({ ...veth0, handle: '1:30' }),
  'tc filter add dev veth0 parent 1: protocol ip pref 16 u32 match ip dst 10.1.0.0/16 flowid 1:1': filter.add(
    {
      ...veth0,
      parent: '1:',
      protocol: 'ip',
      priority: 16,
      kind: 'u32',
      data: { sel: filter.matchSubnet('dst', '10.1.0.0/16'), classid: '1:1' },
    },
  ),
  'tc filter add dev veth0 parent 1: protocol ipv6 pref 15 u32 match ip6 src 2001:db8:1:2:3::/72 flowid 1:1':
    filter.add({
      ...veth0,
      parent: '1:',
      protocol: 'ipv6',
      priority: 15,
      kind: 'u32',
      data: { sel: filter.matchSubnet('src', '2001:db8:1:2:3::/72'), classid: '1:1' },
    }),
  'tc filter add dev veth0 parent 1: protocol ip pref 5 matchall flowid 1:1': filter.add({
    ...veth0,
    parent: '1:',
    protocol: 'ip',
    priority: 5,
    kind: 'matchall',
    data: { classid: '1:1' },
  }),
  'tc filter add dev veth0 parent ffff: protocol all pref 1 u32 match u32 0 0 flowid 1:1 action mirred egress redirect dev ifb7':
    filter.add({
      ...veth0,
      parent: 'ffff:',
      protocol: 'all',
      priority: 1,
      kind: 'u32',
      data: {
        sel: filter.matchAll,
        classid: '1:1',
        act: [{ kind: 'mirred', data: { to: 'egressRedir', index: 30 } }],
      },
    }),
  'tc filter add dev veth0 ingress protocol ip pref 7 matchall action mirred egress mirror dev ifb7':
    filter.add({
      ...veth0,
      parent: 'ingress',
      protocol: 'ip',
      priority: 7,
      kind: 'matchall',
      data: { act: [{ kind: 'mirred', data: { to: 'egressMirror', index: 30 } }] },
    }),
  'tc filter del dev veth0 parent ffff: pref 1': filter.delete({ ...veth0, parent: 'ffff:', priority: 1 }),
}

/** What messages of these types tell of. */
const objectOf = (type: number, message: ReturnType<typeof readMessage<never, never>>): unknown => {
  const { attributes, ...header } = message as unknown as Parameters<typeof toFilter>[0] & {
    attributes: Parameters<typeof toFilter>[1]
  }
  if (type < 40) return toQdisc(header, attributes)
  return type < 44 ? toTrafficClass(header, attributes) : toFilter(header, attributes)
}

const objectsOf = (hex: string) =>
  messagesOf(hex)
    .filter(({ type }) => type >= 36)
    .map(({ type, flags, payload }) => ({
      type,
      flags,
      object: objectOf(type, readMessage(trafficLayout, payload) as never),
    }))

const sentBy = (hex: string) => objectsOf(hex)[0]

describe('requests say what tc says', () => {
  for (const { command, sent } of captured)
    if (sent !== undefined && requests[command])
      it(command, () => {
        const ours = Buffer.from(encode([requests[command]!], 1)).toString('hex')
        expect(sentBy(ours)).toEqual(sentBy(sent))
      })

  it('of all that was captured', () => {
    const missing = captured.filter(({ command, sent }) => sent !== undefined && !requests[command])
    // It names what is to go a second and a third time.
    expect(missing.map(({ command }) => command)).toEqual(['tc qdisc del dev veth0 ingress'])
  })
})

const answerTo = (command: string, nth = 0): readonly unknown[] => {
  const found = captured.filter((one) => one.command === command)[nth]
  return objectsOf(found?.received ?? '').map(({ object }) => object)
}

describe('what the kernel tells', () => {
  it('a token bucket of a rate of more than 32 bits', () => {
    expect(answerTo('tc -s qdisc show dev veth0')).toContainEqual({
      index: 20,
      handle: '1:',
      parent: 'root',
      kind: 'tbf',
      data: { rate: 6_000_000_000n, limit: 400_000_000, buffer: 260_416 },
      statistics: { bytes: 0n, packets: 0, queued: 0, backlog: 0, drops: 0, requeues: 0, overlimits: 0 },
      unknown: [],
    })
  })

  it('htb and its classes', () => {
    expect(answerTo('tc -s qdisc show dev veth0', 1)).toContainEqual(
      expect.objectContaining({
        kind: 'htb',
        handle: '1:',
        data: { defaultClass: 0x30, rateToQuantum: 10, directQueueLength: 1000 },
        unknown: [],
      }),
    )
    const classes = answerTo('tc -s class show dev veth0')
    expect(classes).toHaveLength(2)
    expect(classes).toContainEqual(
      expect.objectContaining({
        handle: '1:30',
        parent: 'root',
        leaf: undefined,
        data: expect.objectContaining({ rate: 2_000_000n, ceil: 2_000_000n, quantum: 2000 }),
        unknown: [],
      }),
    )
    expect(classes).toContainEqual(
      expect.objectContaining({
        handle: '1:1',
        data: expect.objectContaining({ rate: 100_000_000_000n, ceil: 100_000_000_000n }),
      }),
    )
  })

  it('filters, with the tables they are in', () => {
    const filters = answerTo('tc -s filter show dev veth0 parent 1:') as Filter[]
    expect(filters.map(({ handle }) => handle)).toEqual([0, 0x8000_0000, 0x8000_0800])
    expect(filters[2]).toMatchObject({
      parent: '1:',
      priority: 16,
      protocol: 'ip',
      kind: 'u32',
      data: { classid: '1:1', sel: [{ value: 0x0a01_0000, mask: 0xffff_0000, offset: 16 }] },
      unknown: [],
    })
    expect(filters.map(filter.redirectOf)).toEqual([undefined, undefined, undefined])
  })

  it('where a filter redirects to', () => {
    const filters = answerTo('tc -s filter show dev veth0 parent ffff:') as Filter[]
    expect(filters.map(filter.redirectOf)).toEqual([undefined, undefined, 30])
    expect(filters[2]).toMatchObject({
      protocol: 'all',
      data: { act: [{ kind: 'mirred', data: { to: 'egressRedir', index: 30, verdict: 'stolen' } }] },
    })
  })
})

test.each([
  ['1:', 0x1_0000],
  ['1:30', 0x1_0030],
  ['ffff:', 0xffff_0000],
  ['ffff:fff2', 0xffff_fff2],
] as const)('the handle %s', (text, number) => {
  expect(parseHandle(text)).toBe(number)
  expect(formatHandle(number)).toBe(text)
})

test.each(['', '1', ':', '1:2:3', '10000:', '1:10000', 'g:'])('%j is no handle', (text) => {
  expect(() => parseHandle(text as qdisc.Handle)).toThrow(RangeError)
})

test.each([
  ['0.0.0.0/0', [[0, 0, 0]]],
  ['10.1.2.3/32', [[0x0a01_0203, 0xffff_ffff, 16]]],
  // Bits of the host do not count.
  ['10.1.2.3/9', [[0x0a00_0000, 0xff80_0000, 16]]],
  ['::/0', [[0, 0, 0]]],
  ['fd00::/8', [[0xfd00_0000, 0xff00_0000, 24]]],
  [
    '2001:db8::1/128',
    [
      [0x2001_0db8, 0xffff_ffff, 24],
      [0, 0xffff_ffff, 28],
      [0, 0xffff_ffff, 32],
      [1, 0xffff_ffff, 36],
    ],
  ],
  [
    '2001:db8:0:ff00::/33',
    [
      [0x2001_0db8, 0xffff_ffff, 24],
      [0, 0x8000_0000, 28],
    ],
  ],
] as const)('the words of %s', (subnet, words) => {
  expect(filter.matchSubnet('dst', subnet)).toEqual(
    words.map(([value, mask, offset]) => ({ value, mask, offset })),
  )
})

test('what can not be sent is refused', () => {
  const tbf = { ...root, kind: 'tbf', data: { rate: 1n, limit: 2 ** 32, buffer: 1 } } as const
  expect(() => encode([qdisc.add(tbf)], 1)).toThrow('limit: 4294967296 is not an integer')
  expect(() => qdisc.add({ ...root, index: 0, kind: 'ingress' })).toThrow('0 is not the index of a link')
  expect(() => filter.delete({ ...veth0, parent: '1:', priority: 65536 })).toThrow('is not a priority')
  expect(() => filter.matchSubnet('src', 'somewhere')).toThrow(RangeError)
})

test('a selector that is cut short is malformed', () => {
  const bytes = encode(
    [requests['tc filter add dev veth0 parent 1: protocol ip pref 5 matchall flowid 1:1']!],
    1,
  )
  expect(bytes.length).toBeGreaterThan(0)
  const sel = new Uint8Array(16)
  sel[2] = 3
  const rows = filter.filterKinds.u32.rows
  expect(() => rows.sel[1].read(new Reader(sel))).toThrow('a selector of 3 keys in 16 bytes')
})

test('ticks end where 32 bits do', () => {
  expect(qdisc.toTicks(1_000_000)).toBe(15_625_000)
  expect(qdisc.toTicks(1e12)).toBe(0xffff_ffff)
})
