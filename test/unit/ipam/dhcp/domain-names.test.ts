import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { decodeNames, domainName, encodeNames } from '../../../../ipam/dhcp/domain-names.ts'
import { ascii, hex, within } from './wire.ts'

/** Bytes from labels as text: `3eng` for a label, `*7` for a pointer to 7, `0` for the end. */
const wire = (text: string): Uint8Array =>
  Uint8Array.from(
    text.split(' ').flatMap((part) => {
      if (part.startsWith('*')) return [0xc0 | (Number(part.slice(1)) >> 8), Number(part.slice(1)) & 0xff]
      const [, length, rest] = /^(\d+)(.*)$/.exec(part)!
      return [Number(length), ...ascii(rest!)]
    }),
  )

describe('names in labels', () => {
  test('are written one after the other, uncompressed', () => {
    expect(encodeNames(['eng.apple.com', 'a.b.'])).toEqual(wire('3eng 5apple 3com 0 1a 1b 0'))
    expect(encodeNames([])).toEqual(new Uint8Array())
  })

  it.each(['', '.', 'a..b', 'a b', '-a', 'a'.repeat(64), `${'a.'.repeat(126)}aa`])(
    '%j is not written',
    (name) => {
      expect(() => encodeNames([name])).toThrow(RangeError)
    },
  )

  test('are read with and without pointers', () => {
    // The example of RFC 3397 section 2, in one option.
    const example = wire('3eng 5apple 3com 0 9marketing *4')
    expect(decodeNames(example)).toEqual(['eng.apple.com', 'marketing.apple.com'])
    expect(decodeNames(within(example))).toEqual(['eng.apple.com', 'marketing.apple.com'])
    expect(decodeNames(example, { compression: false })).toBeUndefined()
    expect(decodeNames(wire('1a 0 1b 0'), { compression: false })).toEqual(['a', 'b'])
    // A pointer alone, and one to something that ends with a pointer.
    expect(decodeNames(wire('1a 1b 0 *2 1c *5'))).toEqual(['a.b', 'b', 'c.b'])
  })

  test('leave padding out', () => {
    expect(decodeNames(wire('1a 0 0 0'))).toEqual(['a'])
    expect(decodeNames(wire('0 0'))).toBeUndefined()
    expect(decodeNames(new Uint8Array())).toBeUndefined()
  })

  it.each([
    ['an end that is missing', wire('1a')],
    ['a label that reaches past the end', wire('3ab')],
    ['a pointer cut in two', hex('016100c0')],
    ['a pointer to itself', wire('*0')],
    ['a pointer to its own name', wire('1a *0')],
    ['a pointer forward', wire('*2 1a 0')],
    ['a pointer past the end', wire('1a 0 *99')],
    ['two pointers at each other', wire('1a 0 *5 *3')],
    ['pointers in a circle of names', wire('1a *4 1b *0')],
    ['a label of the type 01', hex('41'.padEnd(132, '61'))],
    ['a label of the type 10', hex('81'.padEnd(264, '61'))],
    ['a blank', hex('02612000')],
    ['a dot within a label', wire('3a.b 0')],
    ['a line feed', hex('010a00')],
    ['a zero byte', hex('01 00 00')],
    ['a second name that is malformed', wire('1a 0 1b')],
  ])('are refused for %s', (_, bytes) => {
    expect(decodeNames(bytes)).toBeUndefined()
  })

  test('have 255 bytes at most, what a pointer leads to included', () => {
    const most = encodeNames([`${'a.'.repeat(126)}a`])
    expect(most).toHaveLength(255)
    expect(decodeNames(most)).toEqual([`${'a.'.repeat(126)}a`])
    expect(decodeNames(Uint8Array.of(...most, ...wire('*2')))).toHaveLength(2)
    expect(decodeNames(Uint8Array.of(...most, ...wire('1b *0')))).toBeUndefined()
    expect(decodeNames(wire(`${'1a '.repeat(126)}2aa 0`))).toBeUndefined()
  })

  test('are 256 at most', () => {
    const list = (count: number) => Array.from({ length: count }, (_, i) => `n${i}`)
    expect(decodeNames(encodeNames(list(256)))).toEqual(list(256))
    expect(decodeNames(encodeNames(list(257)))).toBeUndefined()
  })

  test('are not read from the middle of a pointer', () => {
    // At 0x1c0 a pointer to 0xc1, whose low byte, with the next pointer's high one, looks like a pointer to itself.
    const names = `${'1a 0 '.repeat(64)}0 ${'1a 0 '.repeat(85)}`
    expect(decodeNames(wire(`${names}*${0xc1}`))).toHaveLength(150)
    expect(decodeNames(wire(`${names}*${0xc1} *${0x1c1}`))).toBeUndefined()
  })

  test('cost no time, however their pointers are laid', () => {
    const bytes = new Uint8Array(65_535)
    // Each pointer leads to the one before it.
    for (let at = 2; at + 2 <= 16_000; at += 2) bytes.set([0xc0 | ((at - 2) >> 8), (at - 2) & 0xff], at)
    for (let at = 16_000; at + 2 <= bytes.length; at += 2)
      bytes.set([0xc0 | (15_998 >> 8), 15_998 & 0xff], at)
    const before = process.cpuUsage()
    decodeNames(bytes)
    decodeNames(bytes.subarray(1000))
    decodeNames(new Uint8Array(65_535))
    expect(process.cpuUsage(before).user).toBeLessThan(1_000_000)
  })
})

const label = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_-]{0,20}$/)
const name = fc.array(label, { minLength: 1, maxLength: 8, size: 'max' }).map((labels) => labels.join('.'))

test('any names come back', () => {
  fc.assert(
    fc.property(fc.array(name, { minLength: 1, maxLength: 8, size: 'max' }), (names) => {
      expect(decodeNames(encodeNames(names))).toEqual(names)
    }),
  )
})

test('any bytes are names or none', () => {
  // Lengths and pointers more often than chance has them.
  const byte = fc.oneof(fc.nat(0xff), fc.nat(3), fc.constantFrom(0xc0, 0x61))
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 40, size: 'max' }), (list) => {
      const bytes = Uint8Array.from(list)
      const names = decodeNames(within(bytes))
      expect(decodeNames(within(bytes, 0))).toEqual(names)
      for (const one of names ?? []) expect(domainName(one)).toBe(one)
    }),
    { numRuns: 1500 },
  )
})
