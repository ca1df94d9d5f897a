import { describe, expect, it } from 'vitest'
import { workOf } from '../../../bench/daemon/logged.ts'
import type { Exchange, Step } from '../../../bench/recording.ts'
import { asJson, asText, type Report } from '../../../bench/report.ts'
import { keeps, type Row, ratio } from '../../../bench/row.ts'
import { script } from '../../../bench/script.ts'
import { stats } from '../../../bench/stats.ts'
import { Writer } from '../../../netlink/codec/writer.ts'
import { encode } from '../../../netlink/exchange.ts'
import { link, nftables, nsid } from '../../../netlink/index.ts'
import type { Request } from '../../../netlink/request.ts'
import { attribute } from '../../support/attribute.ts'

const NETLINK_ROUTE = 0
const NETLINK_NETFILTER = 12
const FD = 4711

const exchange = (
  protocol: number,
  requests: readonly Request<unknown>[],
  received: Uint8Array,
): Exchange => ({
  kind: 'exchange',
  slot: 7,
  protocol,
  datagram: encode(requests, 5),
  options: { firstSeq: 5, lastSeq: 4 + requests.length, expected: requests.length, abortSeq: -1, timeout: 1 },
  received,
})

const message = (type: number, seq: number, body: (writer: Writer) => void): Uint8Array => {
  const writer = new Writer()
  writer.reserve(16)
  body(writer)
  writer.view.setUint32(0, writer.length, true)
  writer.view.setUint16(4, type, true)
  writer.view.setUint32(8, seq, true)
  return writer.finish().slice()
}

const marksOf = (steps: readonly Step[]): string[][] =>
  script('ADD', steps, '/run/netns/x', new Map())
    .slice(1, -1)
    .map((line) => line.split(' ').slice(7))

const nothing = new Uint8Array()

/** The four bytes at the place that a mark names. */
const at = ({ datagram }: Exchange, mark: string): number =>
  Buffer.from(datagram).readInt32LE(Number(mark.split('@')[1]))

describe('the script of a recording', () => {
  it('tells where a descriptor of the container is, in the peer of a veth and in a question for its number', () => {
    const netns = { fd: FD, close: () => {} }
    const veth = exchange(
      NETLINK_ROUTE,
      [link.add({ kind: 'veth', name: 'veth0', data: { peer: { name: 'eth0', netns } } })],
      nothing,
    )
    const question = exchange(NETLINK_ROUTE, [nsid.get(netns)], nothing)
    for (const one of [veth, question]) {
      const [marks] = marksOf([one])
      expect(marks).toHaveLength(1)
      expect(marks![0]).toMatch(/^fd@/)
      expect(at(one, marks![0]!)).toBe(FD)
    }
  })

  it('learns the index of the host from the container, and has it patched where it is asked for', () => {
    const told = message(16, 5, (writer) => {
      writer.reserve(16)
      attribute(writer, 5, () => writer.u32(0x8123))
    })
    const asks = exchange(NETLINK_ROUTE, [link.get(0x8123)], nothing)
    const marks = marksOf([exchange(NETLINK_ROUTE, [link.get('eth0')], told), asks])
    expect(marks[0]).toEqual(['learn=link'])
    expect(marks[1]!.map((mark) => at(asks, mark))).toEqual([0x8123])
  })

  it('takes batch markers of nf_tables for no links, and refuses a rule whose handle was not listed last', () => {
    const begin = { op: '', type: 16, flags: 0, write: () => {}, read: () => {} }
    expect(marksOf([exchange(NETLINK_NETFILTER, [begin], nothing)])).toEqual([[]])
    const rule = { family: 'inet', table: 't', chain: 'c', handle: 9n } as const
    const requests = nftables.deleteRule(rule).messages(() => 1)
    expect(() => marksOf([exchange(NETLINK_NETFILTER, requests, nothing)])).toThrow('can not be replayed')
    const listed = message(0xa06, 5, (writer) => {
      writer.reserve(4)
      attribute(writer, 3, () => {
        const offset = writer.reserve(8)
        writer.view.setBigUint64(offset, 9n)
      })
    })
    const list = exchange(NETLINK_NETFILTER, [nftables.listRules(rule)], listed)
    const marks = marksOf([list, exchange(NETLINK_NETFILTER, requests, nothing)])
    expect(marks[0]).toEqual(['learn=handle'])
    expect(marks[1]).toEqual([expect.stringMatching(/^handle@/)])
  })

  it('notes refusals, gives the container its own path and numbers descriptors anew', () => {
    const refused = message(2, 5, (writer) => {
      const offset = writer.reserve(4)
      writer.view.setInt32(offset, -2, true)
    })
    const slots = new Map<number, number>()
    const lines = script(
      'DEL',
      [
        { kind: 'container', slot: 40, path: '/run/netns/recorded' },
        { kind: 'enter', slot: 40 },
        { kind: 'leave' },
        { kind: 'sysctl', path: '/proc/sys/net/ipv4/ip_forward', value: '1' },
        exchange(NETLINK_ROUTE, [link.get('eth0')], refused),
      ],
      '/run/netns/floor',
      slots,
    )
    expect(lines.slice(0, 5)).toEqual([
      'script DEL',
      'container 0 /run/netns/floor',
      'enter 0',
      'leave',
      'sysctl /proc/sys/net/ipv4/ip_forward 1',
    ])
    expect(lines[5]).toMatch(/^exchange 1 1 -1 5 5 [0-9a-f]+ 5=2$/)
    expect(lines[6]).toBe('end')
  })
})

describe('the report', () => {
  const row: Row = {
    group: 'in-process',
    case: 'ADD',
    ours: stats([3, 1, 2]),
    peer: 'C replay',
    theirs: stats([2, 2]),
    target: 0.5,
  }
  const report: Report = {
    date: '2026-01-01T00:00:00.000Z',
    quick: false,
    machine: {
      ...{ kernel: '6.1', cpu: 'cpu', cores: 2, memoryMiB: 1, node: 'v20', peers: [], load: [0, 0] },
      program: { kind: 'archive', version: 'v24' },
    },
    rows: [row],
    notes: ['a note'],
  }

  it('has medians, percentiles between the samples, and ratios', () => {
    expect(stats([3, 1, 2])).toEqual({ runs: 3, median: 2, p95: 2.9, min: 1 })
    expect(stats([4])).toEqual({ runs: 1, median: 4, p95: 4, min: 4 })
    expect(() => stats([])).toThrow(RangeError)
    expect([
      ratio(row),
      keeps(row),
      keeps({ ...row, target: 1 }),
      keeps({ ...row, target: undefined }),
    ]).toEqual([1, false, true, null])
  })

  it('holds ours alone against a limit, too', () => {
    expect(keeps({ ...row, target: undefined, limit: 2 })).toBe(true)
    expect(keeps({ ...row, target: undefined, limit: 1.9 })).toBe(false)
    expect(keeps({ ...row, target: 1, limit: 1.9 })).toBe(false)
  })

  it('has a table for each unit', () => {
    const memory: Row = { ...row, unit: 'MiB', case: 'memory', target: undefined, limit: 40 }
    const text = asText({ ...report, rows: [memory, row] })
    expect(text).toMatch(/^MiB +ours .*\n-+\nmemory .* ≤ 40 MiB kept +3\n\nms +ours .*\n-+\nADD /m)
    expect(JSON.parse(asJson({ ...report, rows: [memory] }))).toMatchObject({
      rows: [{ unit: 'MiB', limit: 40, kept: true }],
    })
  })

  it('says the same as text and as JSON', () => {
    expect(asText(report)).toMatch(/^ADD +2\.00 +2\.90 +1\.00 +C replay +2\.00 .* 1\.00 +≤ 0\.5 MISSED +3$/m)
    expect(asText(report)).toContain('- a note')
    expect(asText(report)).toContain('in process: Node v20; executed: what npm run dist packs, Node v24')
    expect(JSON.parse(asJson(report))).toMatchObject({
      unit: 'ms',
      machine: { node: 'v20', program: { kind: 'archive', version: 'v24' } },
      rows: [{ ratio: 1, kept: false, target: 0.5 }],
    })
  })
})

describe('the log of a daemon', () => {
  const line = (network: string, verb: string, work: number): string =>
    JSON.stringify({ message: 'operation', network, verb, ms: { queued: 0, work } })

  it('tells what the work on operations of a network took, among lines of others and halves', () => {
    const printed = [
      'work":7}}',
      line('pods', 'ADD', 3),
      line('pods', 'DEL', 20),
      line('other', 'ADD', 100),
      '{"message":"ready"}',
      line('pods', 'ADD', 5),
      '{"message":"opera',
    ].join('\n')
    expect(workOf(printed, 'pods', 'ADD')).toBe(4)
    expect(workOf(printed, 'pods', 'DEL')).toBe(20)
    expect(workOf(printed, 'nobody', 'ADD')).toBeNull()
  })
})
