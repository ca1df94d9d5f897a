import { describe, expect, test } from 'vitest'
import { type LoggedOperation, OperationLog, traceOf } from '../../../daemon/operation-log.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'

describe('TRACEPARENT', () => {
  test.each([`00-${TRACE}-${SPAN}-01`, `00-${TRACE}-${SPAN}-00`, `cc-${TRACE}-${SPAN}-01-what-comes-later`])(
    '%s is kept',
    (text) => {
      expect(traceOf({ TRACEPARENT: text })).toEqual({ traceId: TRACE, parentId: SPAN })
    },
  )

  test.each([
    undefined,
    '',
    'nonsense',
    `00-${TRACE}-${SPAN}`,
    `00-${TRACE}-${SPAN}-01-more`,
    `00-${TRACE}-${SPAN}-01 `,
    `00-${TRACE}-${SPAN}-01\n`,
    `ff-${TRACE}-${SPAN}-01`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE}0-${SPAN}-01`,
    `cc-${TRACE}-${SPAN}-01-${'x'.repeat(300)}`,
  ])('%j is none: a new trace begins', (text) => {
    const traces = [0, 1].map(() => traceOf({ TRACEPARENT: text }))
    for (const { traceId, parentId } of traces) {
      expect(traceId).toMatch(/^[0-9a-f]{32}$/)
      expect(traceId).not.toBe(TRACE)
      expect(parentId).toBeNull()
    }
    expect(traces[0]!.traceId).not.toBe(traces[1]!.traceId)
  })
})

describe('a line', () => {
  const lineOf = (more: Partial<LoggedOperation> = {}): Record<string, unknown> => {
    const lines: string[] = []
    new OperationLog((line) => void lines.push(line)).operation({
      trace: { traceId: TRACE, parentId: SPAN },
      container: 'cid-1',
      network: 'pods',
      plugin: 'bridge',
      verb: 'ADD',
      code: 0,
      queued: 0.12345,
      work: 4,
      delivered: 0.5,
      ...more,
    })
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatch(/^[^\n]*\n$/)
    return JSON.parse(lines[0]!)
  }

  test('has everything', () => {
    const { time, ...rest } = lineOf()
    expect(Math.abs(Date.parse(String(time)) - Date.now())).toBeLessThan(10_000)
    expect(rest).toEqual({
      level: 'info',
      message: 'operation',
      trace: TRACE,
      parent: SPAN,
      container: 'cid-1',
      network: 'pods',
      plugin: 'bridge',
      verb: 'ADD',
      code: 0,
      ms: { queued: 0.123, work: 4, delivered: 0.5 },
    })
  })

  test.each([
    [0, 'info'],
    [11, 'warn'],
    [7, 'error'],
    [999, 'error'],
  ])('code %i is of level %s', (code, level) => {
    expect(lineOf({ code })).toMatchObject({ code, level })
  })

  test('a network as a whole has no container; a new trace no parent', () => {
    const line = lineOf({ container: null, network: null, trace: { traceId: TRACE, parentId: null } })
    expect(line).toMatchObject({ container: null, network: null })
    expect(line).not.toHaveProperty('parent')
  })

  test('names that nobody has checked stay on their line, and end somewhere', () => {
    const line = lineOf({ container: `a\n{"level":"info"}${'x'.repeat(300)}`, network: 'n'.repeat(256) })
    expect(line.container).toMatch(/^a\n\{"level":"info"\}x+…$/)
    expect((line.container as string).length).toBe(257)
    expect(line.network).toBe('n'.repeat(256))
  })
})
