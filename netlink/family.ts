/** Address families and the prefixes of requests. */
import { type Cidr, formatIp, parseCidr, parseIp } from './ip.ts'

export const AF_UNSPEC = 0
export const AF_INET = 2
export const AF_BRIDGE = 7
export const AF_INET6 = 10

/** IPv4 or IPv6. */
export type Family = 4 | 6

/** AF_* of a family; AF_UNSPEC, all of them, of none. */
export const toAf = (family: Family | undefined): number =>
  family === undefined ? AF_UNSPEC : family === 4 ? AF_INET : AF_INET6

/** The family of an AF_*, undefined for any but IPv4 and IPv6. */
export const fromAf = (af: number): Family | undefined =>
  af === AF_INET ? 4 : af === AF_INET6 ? 6 : undefined

/** Bits of an address. */
export const bitsOf = (family: Family): number => (family === 4 ? 32 : 128)

/** A prefix as the kernel wants it. */
export interface Prefix {
  readonly family: Family
  /** The address in text, without its length; host bits kept. */
  readonly address: string
  /** Bits. */
  readonly length: number
  readonly cidr: Cidr
}

/**
 * Reads `address/length`, or an address alone as one of full length.
 * @throws RangeError for anything else, IPv4-mapped IPv6 included
 */
export const toPrefix = (text: string): Prefix => {
  const cidr = text.includes('/') ? parseCidr(text) : wholeAddress(text)
  const family = cidr?.ip.length === 4 ? 4 : 6
  // ::ffff:a.b.c.d prints as IPv4 and would be sent as that.
  if (!cidr || (family === 6 && parseIp(formatIp(cidr.ip))?.length === 4))
    throw new RangeError(
      `${JSON.stringify(text)} is not an address with a prefix length, such as 10.1.2.3/24`,
    )
  return { family, address: formatIp(cidr.ip), length: cidr.prefix, cidr }
}

const wholeAddress = (text: string): Cidr | null => {
  const ip = parseIp(text)
  return ip && { ip, prefix: ip.length * 8 }
}

/** The unspecified address of a family: what a default route's destination prints as. */
export const anyAddress = (family: Family): string => (family === 4 ? '0.0.0.0' : '::')
