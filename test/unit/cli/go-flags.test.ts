import { describe, expect, test } from 'vitest'
import { FlagError, helpOfFlags, parseDuration, parseFlags } from '../../../cli/go-flags.ts'

const flags = {
  path: { kind: 'text', help: 'a path' },
  wait: { kind: 'duration', help: 'how long' },
  loud: { kind: 'boolean', help: 'whether' },
} as const

test.each([
  ['10s', 10_000],
  ['1m30s', 90_000],
  ['1.5h', 5_400_000],
  ['250ms', 250],
  ['2us', 0.002],
  ['0', 0],
])('%s is a duration', (text, milliseconds) => expect(parseDuration(text)).toBeCloseTo(milliseconds, 6))

test.each(['', '10', '-1s', '1 s', 's', '1d', '1s2', 'Infinity'])('%j is none', (text) =>
  expect(parseDuration(text)).toBeNull(),
)

describe('a command line', () => {
  test.each([
    [['-path', '/x', '--wait=2s', '-loud'], { path: '/x', wait: 2000, loud: true }],
    [['--path=/a=b', '-loud=false'], { path: '/a=b', loud: false }],
    // A flag that needs a value takes whatever comes next, as Go has it.
    [['-path', '-loud'], { path: '-loud' }],
    [['-path', 'a', '-path', 'b'], { path: 'b' }],
    [[], {}],
  ])('%j', (args, values) => expect(parseFlags(flags, args)).toEqual(values))

  test.each([
    [['-nope'], 'flag provided but not defined: -nope'],
    [['-__proto__', 'x'], 'flag provided but not defined: -__proto__'],
    [['-path'], 'flag needs an argument: -path'],
    [['-wait', 'soon'], '-wait: "soon" is no duration'],
    [['-loud=perhaps'], '-loud: "perhaps" is no boolean'],
    [['stray'], 'unexpected argument "stray"'],
    [['-'], 'unexpected argument "-"'],
    [['---path'], 'unexpected argument "---path"'],
  ])('%j is refused', (args, message) => {
    expect(() => parseFlags(flags, args)).toThrow(FlagError)
    expect(() => parseFlags(flags, args)).toThrow(message)
  })
})

test('help names every flag', () => {
  expect(helpOfFlags(flags)).toBe(
    '  -path text\n        a path\n  -wait duration\n        how long\n  -loud\n        whether\n',
  )
})
