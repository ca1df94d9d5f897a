/** What the tests of bytes share: bytes as hex, and messages of every shape. */
import fc from 'fast-check'
import type { Message } from '../../../../ipam/dhcp/v4/message.ts'

/** The bytes of hex digits; blanks between them are for the reader. */
export const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/\s+/g, ''), 'hex'))

export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

export const ascii = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'latin1'))

/** Fails where a function reads past a view: the bytes around it are no part of the input. */
export const within = (bytes: Uint8Array, around = 0x5a): Uint8Array => {
  const all = new Uint8Array(bytes.length + 64).fill(around)
  all.set(bytes, 32)
  return all.subarray(32, 32 + bytes.length)
}

const u8 = fc.nat(0xff)
const u16 = fc.nat(0xffff)
const u32 = fc.nat(0xffff_ffff)
export const ipv4 = fc.tuple(u8, u8, u8, u8).map((quad) => quad.join('.'))

/** Codes that a message can carry. */
const code = fc.integer({ min: 1, max: 254 }).filter((one) => one !== 52)

/** Any message, with options of up to `maxLength` bytes. fast-check stops at ten elements where `size` is not given. */
export const message = (maxLength = 40, maxOptions = 8): fc.Arbitrary<Message> =>
  fc.record({
    op: fc.constantFrom('BOOTREQUEST' as const, 'BOOTREPLY' as const),
    htype: u8,
    hops: u8,
    xid: u32,
    secs: u16,
    broadcast: fc.boolean(),
    ciaddr: ipv4,
    yiaddr: ipv4,
    siaddr: ipv4,
    giaddr: ipv4,
    chaddr: fc.uint8Array({ maxLength: 16, size: 'max' }),
    options: fc
      .array(fc.tuple(code, fc.uint8Array({ maxLength, size: 'max' })), {
        maxLength: maxOptions,
        size: 'max',
      })
      .map((entries) => new Map(entries)),
  })

/** Bytes of which some are put in the place of others, and some cut off: what a bad network makes of `valid`. */
export const damaged = (valid: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> =>
  fc
    .tuple(
      valid,
      fc.array(fc.tuple(fc.nat(0xffff), u8), { maxLength: 6, size: 'max' }),
      fc.option(fc.nat(0xffff)),
    )
    .map(([bytes, changes, cut]) => {
      const result = bytes.slice()
      for (const [at, byte] of changes) result[at % Math.max(1, result.length)] = byte
      return cut === null ? result : result.subarray(0, cut % (result.length + 1))
    })
