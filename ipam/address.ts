/**
 * Addresses as numbers, for arithmetic without an object per address. Text forms are Go's (netlink/ip.ts): they are
 * names of files that Go programs share with us.
 */
import { asIpv4, formatIp, parseCidr, parseIp } from '../netlink/ip.ts'

export type Family = 4 | 6

/** An address: its family, and its bits as a number. */
export interface Address {
  readonly family: Family
  readonly value: bigint
}

/** 32 or 128. */
export const bitsOf = (family: Family): number => (family === 4 ? 32 : 128)

/** Of 4 or 16 bytes in network order. */
export const toAddress = (bytes: Uint8Array): Address => {
  let value = 0n
  // Groups of four: a bigint operation costs the same for 8 bits as for 32.
  for (let i = 0; i < bytes.length; i += 4)
    value =
      (value << 32n) |
      BigInt(((bytes[i]! << 24) | (bytes[i + 1]! << 16) | (bytes[i + 2]! << 8) | bytes[i + 3]!) >>> 0)
  return { family: bytes.length === 4 ? 4 : 6, value }
}

/** Prints an address as Go does, which is its reservation's file name. */
export const formatAddress = (family: Family, value: bigint): string => {
  if (family === 4) {
    const number = Number(value)
    return `${number >>> 24}.${(number >>> 16) & 0xff}.${(number >>> 8) & 0xff}.${number & 0xff}`
  }
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, value >> 64n)
  view.setBigUint64(8, value & 0xffff_ffff_ffff_ffffn)
  return formatIp(bytes)
}

/** Reads an address; null where it is none. IPv4-mapped IPv6 is IPv4, as Go has it. */
export const parseAddress = (text: string): Address | null => {
  const bytes = parseIp(text)
  return bytes && toAddress(bytes)
}

/** Reads `address` or `address/prefix` and forgets the prefix; null where it is neither. */
export const parseRequested = (text: string): Address | null => {
  if (!text.includes('/')) return parseAddress(text)
  const cidr = parseCidr(text)
  return cidr && toAddress(asIpv4(cidr).ip)
}

/** An address in Go's spelling; null where it is none. */
export const canonicalIp = (text: string): string | null => {
  const bytes = parseIp(text)
  return bytes && formatIp(bytes)
}
