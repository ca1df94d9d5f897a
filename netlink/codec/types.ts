/** The value types that attribute tables are made of. A table's TypeScript type follows from these. */
import { formatIp, parseIp } from '../ip.ts'
import { formatMac, parseMac } from '../mac.ts'
import { MalformedError, type Reader } from './reader.ts'
import { littleEndian, type Writer } from './writer.ts'

/** How one kind of value is written into an attribute's payload and read back. */
export interface Codec<T> {
  write(writer: Writer, value: T): void
  read(payload: Reader): T
  /** NLA_F_NESTED is set on what holds attributes, as the kernel's strict parsing wants it. */
  readonly nested?: boolean
}

/** The TypeScript type of a codec's values. */
export type Value<C> = C extends Codec<infer T> ? T : never

const integer = (
  min: number,
  max: number,
  size: number,
  set: (view: DataView, offset: number, value: number) => void,
  read: (payload: Reader) => number,
): Codec<number> => ({
  write(writer, value) {
    if (!Number.isInteger(value) || value < min || value > max)
      throw new RangeError(`${value} is not an integer from ${min} to ${max}`)
    const offset = writer.reserve(size)
    set(writer.view, offset, value)
  },
  read,
})

const big = (little: boolean, read: (payload: Reader) => bigint): Codec<bigint> => ({
  write(writer, value) {
    if (value < 0n || value > 0xffff_ffff_ffff_ffffn)
      throw new RangeError(`${value} does not fit into 64 bits`)
    const offset = writer.reserve(8)
    writer.view.setBigUint64(offset, value, little)
  },
  read,
})

export const u8 = integer(
  0,
  0xff,
  1,
  (view, at, value) => view.setUint8(at, value),
  (p) => p.u8(),
)
export const u16 = integer(
  0,
  0xffff,
  2,
  (view, at, value) => view.setUint16(at, value, littleEndian),
  (p) => p.u16(),
)
export const u32 = integer(
  0,
  0xffff_ffff,
  4,
  (view, at, value) => view.setUint32(at, value, littleEndian),
  (p) => p.u32(),
)
export const s32 = integer(
  -0x8000_0000,
  0x7fff_ffff,
  4,
  (view, at, value) => view.setInt32(at, value, littleEndian),
  (p) => p.s32(),
)
export const u64 = big(littleEndian, (p) => p.u64())
/** Network byte order: VLAN protocols, ports, and everything in nf_tables. */
export const be16 = integer(
  0,
  0xffff,
  2,
  (view, at, value) => view.setUint16(at, value, false),
  (p) => p.be16(),
)
export const be32 = integer(
  0,
  0xffff_ffff,
  4,
  (view, at, value) => view.setUint32(at, value, false),
  (p) => p.be32(),
)
export const be64 = big(false, (p) => p.be64())

/** A u8 that is 0 or 1. */
export const bool: Codec<boolean> = {
  write: (writer, value) => writer.u8(value ? 1 : 0),
  read: (payload) => payload.u8() !== 0,
}

/** An attribute without a payload: present or absent (NLA_FLAG). `false` writes it not at all. */
export const flag: Codec<boolean> = { write: () => {}, read: () => true }

export const bytes: Codec<Uint8Array> = {
  write: (writer, value) => writer.put(value),
  read: (payload) => payload.bytes.slice(),
}

const text = new TextDecoder()
const encoder = new TextEncoder()

/** Names are short and ASCII: going through them is quicker than the general way, which is for the rest. */
const readAscii = (payload: Reader): string | undefined => {
  let value = ''
  for (let i = 0; i < payload.length; i++) {
    const code = payload.u8(i)
    if (code === 0) break
    if (code > 0x7f) return undefined
    value += String.fromCharCode(code)
  }
  return value
}

const isAscii = (value: string): boolean => {
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) > 0x7f) return false
  return true
}

/** A NUL-terminated string (NLA_NUL_STRING). */
export const string: Codec<string> = {
  write(writer, value) {
    if (value.includes('\0')) throw new RangeError('a string for the kernel can not hold a NUL')
    if (isAscii(value)) for (let i = 0; i < value.length; i++) writer.u8(value.charCodeAt(i))
    else writer.put(encoder.encode(value))
    writer.u8(0)
  },
  read(payload) {
    const ascii = readAscii(payload)
    if (ascii !== undefined) return ascii
    const end = payload.bytes.indexOf(0)
    return text.decode(end < 0 ? payload.bytes : payload.bytes.subarray(0, end))
  },
}

/** An IP address in its text form; the family follows from the length. */
export const ip: Codec<string> = {
  write(writer, value) {
    const parsed = parseIp(value)
    if (!parsed) throw new RangeError(`${JSON.stringify(value)} is not an IP address`)
    writer.put(parsed)
  },
  read(payload) {
    if (payload.length !== 4 && payload.length !== 16)
      throw new MalformedError(`an IP address of ${payload.length} bytes`)
    return formatIp(payload.bytes)
  },
}

/** A link-layer address in its text form, of any length the kernel sends. */
export const mac: Codec<string> = {
  write(writer, value) {
    const parsed = parseMac(value)
    if (!parsed) throw new RangeError(`${JSON.stringify(value)} is not a MAC address`)
    writer.put(parsed)
  },
  read: (payload) => formatMac(payload.bytes),
}
