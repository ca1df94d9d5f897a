/** Rules as iptables 1.8.9 sends them, byte by byte, and read back. */
import { describe, expect, test } from 'vitest'
import { Reader } from '../../../netlink/codec/reader.ts'
import { Writer } from '../../../netlink/codec/writer.ts'
import { type Expression, expressionList } from '../../../netlink/nftables/expressions.ts'
import { drop, fields, match, reject } from '../../../netlink/nftables/index.ts'
import { expressionsOf } from '../../../netlink/nftables/rules/context.ts'
import { readTag, ruleUserdata } from '../../../netlink/nftables/userdata.ts'
import {
  readXtablesRule,
  takesAll,
  type XtablesFamily,
  type XtablesRule,
  xtablesRule,
} from '../../../netlink/nftables/xtables.ts'
import captured from './xtables.json' with { type: 'json' }

/** `(N)` stands for N bytes of zero. */
const sent = (command: keyof typeof captured): string =>
  captured[command].replace(/\((\d+)\)/g, (_, count) => '00'.repeat(Number(count)))

const rules: readonly (readonly [keyof typeof captured, XtablesFamily, XtablesRule])[] = [
  [
    'iptables -d 10.1.2.3/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    'ip',
    { destination: '10.1.2.3/32', established: true, target: 'ACCEPT' },
  ],
  ['ip6tables -s fd00::5/128 -j ACCEPT', 'ip6', { source: 'fd00::5/128', target: 'ACCEPT' }],
  [
    'iptables -i br0 ! -o br0 -m comment --comment "a b" -j Y',
    'ip',
    { in: { name: 'br0' }, out: { name: 'br0', not: true }, comment: 'a b', target: 'Y' },
  ],
  ['iptables -m comment --comment "a b" -j RETURN', 'ip', { comment: 'a b', target: 'RETURN' }],
  ['iptables -s 10.1.2.3/32 -m comment --comment "a b"', 'ip', { source: '10.1.2.3/32', comment: 'a b' }],
]

const listed = (family: 'ip' | 'ip6' | 'inet', expressions: readonly Expression[], comment?: string) => ({
  ...{
    family,
    table: 'filter',
    chain: 'X',
    handle: 1n,
    tag: undefined,
    raw: new Uint8Array(),
    told: new Uint8Array(),
  },
  ...{ expressions, comment },
})

describe.each(rules)('%s', (command, family, rule) => {
  const expressions = expressionsOf(family, xtablesRule(family, rule))

  test('is written as iptables writes it', () => {
    const writer = new Writer()
    expressionList.write(writer, expressions)
    expect(Buffer.from(writer.finish()).toString('hex')).toBe(sent(command))
  })

  test('is read back', () => {
    const read = expressionList.read(new Reader(new Uint8Array(Buffer.from(sent(command), 'hex'))))
    expect(readXtablesRule(listed(family, read))).toEqual(rule)
  })
})

describe('what is none of these', () => {
  test.each([
    ['a match by nft', [match.tcpDport(22), drop()]],
    ['a prefix', [match.ipSaddr('10.0.0.0/8'), drop()]],
    ['another address', [match.ipSaddr('10.0.0.1', 'ne'), drop()]],
    ['two of the same', [match.ipSaddr('10.0.0.1'), match.ipSaddr('10.0.0.2'), drop()]],
    ['a beginning of a name', [match.iifname('eth*'), drop()]],
    ['something behind the verdict', [drop(), match.field(fields.mark, 1)]],
  ])('%s is not read', (_, parts) => {
    expect(readXtablesRule(listed('ip', expressionsOf('ip', parts)))).toBeUndefined()
  })

  test('another family, another state', () => {
    const [, , rule] = rules[0]!
    const expressions = expressionsOf('ip', xtablesRule('ip', rule))
    expect(readXtablesRule(listed('inet', expressions))).toBeUndefined()
    const altered = expressions.map((expression) => {
      if (expression.kind !== 'match' || !expression.data?.info) return expression
      const info = expression.data.info.slice()
      info[150] = 2
      return { ...expression, data: { ...expression.data, info } }
    })
    expect(readXtablesRule(listed('ip', altered))).toBeUndefined()
  })

  test('what can not be written is refused', () => {
    for (const [rule, family] of [
      [{ source: '10.0.0.0/8' }, 'ip'],
      [{ source: '10.0.0.1/32' }, 'ip6'],
      [{ destination: 'x' }, 'ip'],
      [{ comment: 'x'.repeat(256) }, 'ip'],
      [{ comment: 'x\0' }, 'ip'],
    ] as const)
      expect(() => expressionsOf(family, xtablesRule(family, rule))).toThrow(RangeError)
  })
})

test('a comment that an older iptables has put elsewhere', () => {
  const expressions = expressionsOf('ip', xtablesRule('ip', { target: 'X' }))
  expect(readXtablesRule(listed('ip', expressions, 'a b'))).toEqual({ comment: 'a b', target: 'X' })
})

test('rules that no packet gets past', () => {
  const of = (rule: XtablesRule) => ({ expressions: expressionsOf('ip', xtablesRule('ip', rule)) })
  expect(takesAll(of({ target: 'DROP' }))).toBe(true)
  expect(takesAll(of({ comment: 'x', target: 'RETURN' }))).toBe(true)
  expect(takesAll({ expressions: expressionsOf('ip', [reject()]) })).toBe(true)
  const target: Expression = { kind: 'target', data: { name: 'REJECT', rev: 0, info: new Uint8Array(4) } }
  expect(takesAll({ expressions: [target] })).toBe(true)
  expect(takesAll({ expressions: [{ kind: 'target', data: { name: 'LOG' } }] })).toBe(false)
  expect(takesAll(of({ source: '10.0.0.1/32', target: 'DROP' }))).toBe(false)
  expect(takesAll(of({ established: true, target: 'ACCEPT' }))).toBe(false)
  expect(takesAll(of({ target: 'X' }))).toBe(false)
  expect(takesAll(of({ comment: 'x' }))).toBe(false)
  expect(takesAll({ expressions: [] })).toBe(false)
})

test('a tag stands beside a comment, and does not take it for its own', () => {
  const userdata = ruleUserdata('for people', 'for programs')
  expect(readTag(userdata)).toBe('for programs')
  expect(Buffer.from(userdata!).toString('latin1')).toBe('\0\x0bfor people\0l\x0dfor programs\0')
  expect(readTag(ruleUserdata('for people', undefined))).toBeUndefined()
  expect(ruleUserdata(undefined, undefined)).toBeUndefined()
  expect(() => ruleUserdata('x'.repeat(128), 'y'.repeat(128))).toThrow(RangeError)
})
