import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addressLayout } from '../../../netlink/address.ts'
import { MalformedError, Reader } from '../../../netlink/codec/reader.ts'
import { list, type Rows, selected, struct, type Table, table } from '../../../netlink/codec/table.ts'
import * as types from '../../../netlink/codec/types.ts'
import {
  bits,
  bridgeId,
  choice,
  chooser,
  maskedBits,
  packed,
  packFlags,
  unpackFlags,
} from '../../../netlink/codec/values.ts'
import { align, Writer } from '../../../netlink/codec/writer.ts'
import { bridgeMessageLayout } from '../../../netlink/link/bridge-message.ts'
import { kinds, portKinds } from '../../../netlink/link/kinds.ts'
import { linkLayout } from '../../../netlink/link/layout.ts'
import { neighbourLayout } from '../../../netlink/neighbour.ts'
import { nsidLayout } from '../../../netlink/nsid.ts'
import { readMessage } from '../../../netlink/request.ts'
import { routeLayout } from '../../../netlink/route/layout.ts'
import { ruleLayout } from '../../../netlink/rule.ts'
import { attribute } from '../../support/attribute.ts'

const written = <T>(codec: types.Codec<T>, value: T): Uint8Array => {
  const writer = new Writer()
  codec.write(writer, value)
  return writer.finish()
}
const through = <T>(codec: types.Codec<T>, value: T): T => codec.read(new Reader(written(codec, value)))
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

describe('the writer', () => {
  it('grows under every kind of write', () => {
    // From every fill level of a tiny buffer: a write must land in the buffer that it made grow.
    for (let fill = 0; fill <= 8; fill++) {
      for (const write of [
        (writer: Writer) => writer.u8(0xaa),
        (writer: Writer) => writer.u16(0xaaaa),
        (writer: Writer) => writer.u32(0xaaaa_aaaa),
        (writer: Writer) => writer.put(Uint8Array.of(0xaa, 0xaa, 0xaa)),
        (writer: Writer) => types.u64.write(writer, 0xaaaa_aaaa_aaaa_aaaan),
      ]) {
        const writer = new Writer(8)
        writer.reserve(fill)
        write(writer)
        expect([...writer.finish().subarray(fill)].every((byte) => byte === 0xaa)).toBe(true)
        expect([...writer.finish().subarray(0, fill)].every((byte) => byte === 0)).toBe(true)
      }
    }
  })

  it('pads attributes and counts their length without the padding', () => {
    const writer = new Writer()
    attribute(writer, 3, () => types.string.write(writer, 'eth0'))
    attribute(writer, 4, () => writer.u32(1500))
    expect(hex(writer.finish())).toBe('09000300657468300000000008000400dc050000')
  })

  it('refuses an attribute longer than its length field can tell', () => {
    const writer = new Writer()
    attribute(writer, 1, () => writer.reserve(0xffff - 4))
    expect(() => attribute(writer, 1, () => writer.reserve(0xffff - 3))).toThrow(RangeError)
  })
})

describe('the reader', () => {
  it('reads nothing outside its window', () => {
    const reader = new Reader(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)).slice(2, 6)
    expect(reader.u32()).toBe(0x06050403)
    expect(reader.be16(2)).toBe(0x0506)
    for (const read of [
      () => reader.u8(4),
      () => reader.u16(3),
      () => reader.u32(1),
      () => reader.u64(),
      () => reader.slice(3, 5),
      () => reader.slice(3, 2),
    ])
      expect(read).toThrow(MalformedError)
  })

  it('stops at an attribute that reaches past its end, or is shorter than its header', () => {
    for (const bytes of ['05000100', '03000100', '00000000', '0800010000'])
      expect(() => new Reader(Buffer.from(bytes, 'hex')).attributes().next()).toThrow(MalformedError)
  })

  it('strips the flags of nested and network byte order', () => {
    const seen: number[] = []
    for (const at = new Reader(Buffer.from('0400018004000240', 'hex')).attributes(); at.next(); )
      seen.push(at.type)
    expect(seen).toEqual([1, 2])
  })
})

describe('values', () => {
  it('go through unchanged, at both ends of their range', () => {
    for (const [codec, low, high] of [
      [types.u8, 0, 0xff],
      [types.u16, 0, 0xffff],
      [types.be16, 0, 0xffff],
      [types.u32, 0, 0xffff_ffff],
      [types.be32, 0, 0xffff_ffff],
      [types.s32, -0x8000_0000, 0x7fff_ffff],
    ] as const) {
      fc.assert(
        fc.property(fc.integer({ min: low, max: high }), (n) => void expect(through(codec, n)).toBe(n)),
      )
      for (const edge of [low, high]) expect(through(codec, edge)).toBe(edge)
      for (const bad of [low - 1, high + 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])
        expect(() => written(codec, bad)).toThrow(RangeError)
    }
    for (const codec of [types.u64, types.be64]) {
      fc.assert(fc.property(fc.bigInt(0n, 2n ** 64n - 1n), (n) => void expect(through(codec, n)).toBe(n)))
      expect(() => written(codec, -1n)).toThrow(RangeError)
      expect(() => written(codec, 2n ** 64n)).toThrow(RangeError)
    }
    expect(hex(written(types.be16, 0x8100))).toBe('8100')
    expect(hex(written(types.be64, 1n))).toBe('0000000000000001')
  })

  it('strings end at a NUL, and can not hold one', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        if (text.includes('\0')) expect(() => written(types.string, text)).toThrow(RangeError)
        else expect(through(types.string, text)).toBe(text)
      }),
    )
    expect(types.string.read(new Reader(Buffer.from('no end')))).toBe('no end')
    expect(types.string.read(new Reader(Buffer.from('end\0more')))).toBe('end')
  })

  it('addresses are read at their length only', () => {
    expect(through(types.ip, '2001:db8::1')).toBe('2001:db8::1')
    expect(through(types.mac, '02:00:5e:10:00:01')).toBe('02:00:5e:10:00:01')
    expect(() => written(types.ip, '10.0.0')).toThrow(/"10.0.0" is not an IP address/)
    expect(() => written(types.mac, '02:00')).toThrow(/is not a MAC address/)
    expect(() => types.ip.read(new Reader(new Uint8Array(5)))).toThrow(MalformedError)
  })

  it('names stand for numbers; numbers without a name stay', () => {
    const codec = choice(types.u16, { l2: 0, l3: 1 })
    expect(through(codec, 'l3')).toBe('l3')
    expect(through(codec, 1)).toBe('l3')
    expect(through(codec, 77)).toBe(77)
    expect(() => written(codec, 'l4' as never)).toThrow('"l4" is none of l2, l3')
    expect(() => written(codec, 'constructor' as never)).toThrow(RangeError)
    expect(chooser({ first: 1, second: 1 }).fromNumber(1)).toBe('first')
  })

  it('flags are packed and unpacked', () => {
    const names = { a: 1, b: 2, high: 0x8000_0000 } as const
    expect(packFlags(names, { a: true, b: false, high: true })).toBe(0x8000_0001)
    expect(unpackFlags(names, 0x8000_0001)).toEqual({ a: true, b: false, high: true })
    expect(() => packFlags(names, { c: true } as never)).toThrow(RangeError)
    expect(through(bits(types.u16, { a: 1, b: 2 }), { b: true })).toEqual({ a: false, b: true })
  })

  it('masked flags change only those that are named', () => {
    const codec = maskedBits({ a: 1, b: 2, c: 4 })
    expect(hex(written(codec, { a: true, b: false }))).toBe('0100000003000000')
    expect(through(codec, { a: true, b: false })).toEqual({ a: true, b: false })
  })

  it('structs and bridge ids', () => {
    expect(through(packed({ low: 'be16', high: 'be16' }), { low: 1, high: 2 })).toEqual({ low: 1, high: 2 })
    expect(through(bridgeId, '8000.0a0b0c0d0e0f')).toBe('8000.0a0b0c0d0e0f')
    expect(() => written(bridgeId, '8000')).toThrow(RangeError)
    const layout = struct({ a: 'u8', pad: [3], b: 's32' })
    const writer = new Writer()
    layout.write(writer, { b: -2 })
    expect(hex(writer.finish())).toBe('00000000feffffff')
    expect(layout.read(new Reader(writer.finish()))).toEqual({ a: 0, b: -2 })
  })
})

describe('tables', () => {
  const sample = table({
    name: [1, types.string],
    on: [2, types.flag],
    many: [3, types.u32, 'multi'],
    inner: [4, table({ size: [1, types.u16] })],
    run: [5, list(types.ip, 7)],
  })

  it('encode, decode, and keep what they do not know', () => {
    const value = {
      name: 'x',
      on: true,
      many: [1, 2],
      inner: { size: 3 },
      run: ['10.0.0.1', '10.0.0.2'],
      unknown: [{ type: 99, payload: Uint8Array.of(1, 2, 3) }],
    }
    expect(through(sample, value)).toEqual(value)
    // NLA_F_NESTED on what holds attributes, and on nothing else.
    expect(hex(written(sample, { inner: { size: 3 } }))).toBe('0c000480060001000300' + '0000')
  })

  it('leave out what is undefined, and flags that are false', () => {
    expect(written(sample, { name: undefined, on: false })).toHaveLength(0)
    expect(through(sample, {})).toEqual({})
  })

  it('refuse names that are none, and say which value is wrong', () => {
    expect(() => written(sample, { nmae: 'x' } as never)).toThrow('no attribute is called "nmae"')
    expect(() => written(sample, { toString: 'x' } as never)).toThrow(RangeError)
    expect(() => written(sample, { inner: { size: -1 } })).toThrow('inner: size: -1 is not an integer')
  })

  it('a kind chooses the layout of its data; unknown kinds keep their bytes', () => {
    const codec = selected(1, 2, { sample })
    expect(through(codec, { kind: 'sample', data: { name: 'x' } })).toEqual({
      kind: 'sample',
      data: { name: 'x' },
    })
    const odd = { kind: 'odd', raw: Uint8Array.of(4, 0, 9, 0) }
    expect(through(codec, odd)).toEqual(odd)
    expect(through(codec, { kind: 'constructor', raw: odd.raw })).toEqual({
      kind: 'constructor',
      raw: odd.raw,
    })
    expect(through(codec, { kind: 'sample' })).toEqual({ kind: 'sample' })
  })
})

/** A value for each row, by trying: what its codec writes and reads back. */
const trials: readonly unknown[] = [
  7,
  7n,
  true,
  'eth0',
  '10.1.2.3',
  '02:00:00:00:00:01',
  '8000.0a0b0c0d0e0f',
  Uint8Array.of(1, 2, 3, 4),
]

describe('every row of every table', () => {
  const tables: Readonly<Record<string, Table<Rows>>> = {
    ...Object.fromEntries(Object.entries(kinds).map(([name, one]) => [name, one as never])),
    ...Object.fromEntries(Object.entries(portKinds).map(([name, one]) => [`${name} port`, one as never])),
    link: linkLayout.attributes as never,
    'bridge message': bridgeMessageLayout.attributes as never,
    address: addressLayout.attributes as never,
    route: routeLayout.attributes as never,
    rule: ruleLayout.attributes as never,
    neighbour: neighbourLayout.attributes as never,
    nsid: nsidLayout.attributes as never,
  }
  for (const [title, one] of Object.entries(tables))
    it(`${title}: numbers are used once, simple values go through`, () => {
      const rows = Object.entries(one.rows)
      expect(new Set(rows.map(([, row]) => row[0])).size).toBe(rows.length)
      let tried = 0
      for (const [name, [, codec, multi]] of rows)
        for (const trial of trials) {
          const value = multi ? [trial] : trial
          let bytes: Uint8Array
          try {
            bytes = written(one, { [name]: value } as never).slice()
          } catch {
            continue
          }
          const back = one.read(new Reader(bytes)) as Record<string, unknown>
          if (codec === types.flag) continue
          tried++
          // Written again it has to be the same, whatever form it was given in.
          expect(hex(written(one, back as never))).toBe(hex(bytes))
        }
      expect(tried).toBeGreaterThanOrEqual(rows.length > 0 ? 1 : 0)
    })
})

describe('bytes from anywhere', () => {
  const layouts = {
    link: linkLayout,
    'bridge message': bridgeMessageLayout,
    address: addressLayout,
    route: routeLayout,
    rule: ruleLayout,
    neighbour: neighbourLayout,
  }
  /** Attributes with sound headers, so that the fuzz gets inside. */
  const { attributes } = fc.letrec<{ attributes: Uint8Array; attribute: Uint8Array }>((tie) => ({
    attribute: fc
      .tuple(
        fc.integer({ min: 0, max: 70 }),
        fc.oneof({ depthSize: 'small' }, fc.uint8Array({ maxLength: 24 }), tie('attributes')),
        fc.integer({ min: -2, max: 2 }),
        fc.integer({ min: 0, max: 30 }),
      )
      .map(([type, payload, slip, chance]) => {
        const bytes = Buffer.alloc(align(payload.length + 4))
        // Now and then the length lies.
        bytes.writeUInt16LE(Math.max(0, payload.length + 4 + (chance === 0 ? slip : 0)), 0)
        bytes.writeUInt16LE(type, 2)
        bytes.set(payload, 4)
        return bytes
      }),
    attributes: fc
      .array(tie('attribute'), { maxLength: 6 })
      .map((parts) => new Uint8Array(Buffer.concat(parts))),
  }))
  for (const [title, layout] of Object.entries(layouts))
    it(`${title}: a value or a MalformedError`, () => {
      const take = (bytes: Uint8Array) => {
        try {
          readMessage(layout as typeof linkLayout, new Reader(bytes))
        } catch (error) {
          if (!(error instanceof MalformedError)) throw error
        }
      }
      fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), take), { numRuns: 1000 })
      const header = fc.uint8Array({ minLength: layout.header.size, maxLength: layout.header.size })
      fc.assert(
        fc.property(header, attributes, (head, tail) => take(new Uint8Array(Buffer.concat([head, tail])))),
        { numRuns: 2000 },
      )
    })
})
