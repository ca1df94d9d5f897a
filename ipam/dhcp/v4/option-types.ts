/** The value types that the option table is made of. Its TypeScript type follows from these. */
import { formatIp, network, parseCidr, parseIp } from '../../../netlink/ip.ts'
import { decodeNames, domainName, encodeNames } from '../domain-names.ts'

/** How one kind of value is written into an option and read back. */
export interface OptionType<T> {
  /** @throws RangeError for a value that the option can't have */
  write(value: Readonly<T>): Uint8Array
  /** Undefined where the bytes are no such value; never throws. */
  read(bytes: Uint8Array): T | undefined
}

/** A route that a server gives. */
export interface Route {
  /** `network/prefix`, host bits cleared. */
  readonly dst: string
  /** Dotted quad; 0.0.0.0 means that the destination is on the link (RFC 3442). */
  readonly router: string
}

const QUAD = 4

const quad = (text: string): Uint8Array => {
  const bytes = parseIp(text)
  if (bytes?.length !== QUAD) throw new RangeError(`${JSON.stringify(text)} is not an IPv4 address`)
  return bytes
}

const quads = (bytes: Uint8Array): string[] | undefined => {
  if (bytes.length === 0 || bytes.length % QUAD !== 0) return undefined
  const all: string[] = []
  for (let at = 0; at < bytes.length; at += QUAD) all.push(formatIp(bytes.subarray(at, at + QUAD)))
  return all
}

export const ip: OptionType<string> = {
  write: quad,
  read: (bytes) => (bytes.length === QUAD ? formatIp(bytes) : undefined),
}

/** Addresses, the preferred one first. */
export const ips: OptionType<string[]> = {
  write: (value) => Uint8Array.from(value.flatMap((one) => [...quad(one)])),
  read: quads,
}

/** An integer in network order. What is outside the limits is malformed. */
export const number = (size: 1 | 2 | 4, min = 0, max = 2 ** (8 * size) - 1): OptionType<number> => ({
  write(value) {
    if (!Number.isInteger(value) || value < min || value > max)
      throw new RangeError(`${value} is not an integer from ${min} to ${max}`)
    return Uint8Array.from({ length: size }, (_, i) => value >>> (8 * (size - 1 - i)))
  },
  read(bytes) {
    if (bytes.length !== size) return undefined
    const value = bytes.reduce((sum, byte) => sum * 256 + byte, 0)
    return value >= min && value <= max ? value : undefined
  },
})

/** One byte with names; a number without one is malformed. */
export const choice = <const N extends Readonly<Record<string, number>>>(
  names: N,
): OptionType<keyof N & string> => {
  const byNumber = new Map(Object.entries(names).map(([name, value]) => [value, name as keyof N & string]))
  return {
    write(name: keyof N & string) {
      const value = Object.hasOwn(names, name) ? names[name] : undefined
      if (value === undefined)
        throw new RangeError(`${JSON.stringify(name)} is none of ${Object.keys(names).join(', ')}`)
      return Uint8Array.of(value)
    },
    read: (bytes) => (bytes.length === 1 ? byNumber.get(bytes[0]!) : undefined),
  }
}

/** Bytes that only the two ends understand; none is malformed. */
export const bytes: OptionType<Uint8Array> = {
  write: (value) => value,
  read: (value) => (value.length > 0 ? value : undefined),
}

/** Option codes; a configuration may ask for any byte. */
export const codes: OptionType<number[]> = {
  write(value) {
    for (const code of value)
      if (!Number.isInteger(code) || code < 0 || code > 255)
        throw new RangeError(`${code} is not the code of an option`)
    return Uint8Array.from(value)
  },
  read: (value) => (value.length > 0 ? [...value] : undefined),
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** RFC 2132 section 2 wants texts without a NUL at the end, and clients that take them with one. */
const withoutNuls = (value: Uint8Array): Uint8Array => {
  let end = value.length
  while (end > 0 && value[end - 1] === 0) end--
  return value.subarray(0, end)
}

const write = (text: string): Uint8Array => {
  if (text === '') throw new RangeError('the text of an option can not be empty')
  return encoder.encode(text)
}

/** What could move the cursor, hide text or begin a new line where it is printed. */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** Text for people, fit for a log: what can't be printed is U+FFFD. */
export const text: OptionType<string> = {
  write,
  read: (value) => decoder.decode(withoutNuls(value)).replace(unprintable, '\ufffd') || undefined,
}

/** A host's or domain's name as text. */
export const name: OptionType<string> = {
  write(value) {
    if (domainName(value) === undefined)
      throw new RangeError(`${JSON.stringify(value)} is not a host or domain name`)
    return write(value)
  },
  read: (value) => domainName(decoder.decode(withoutNuls(value))),
}

/** Domain names in labels (RFC 3397). */
export const names: OptionType<string[]> = { write: encodeNames, read: decodeNames }

/** Prefix length that an address had before there were prefixes; undefined for those of no class. */
const classPrefix = (address: Uint8Array): number | undefined => {
  const first = address[0]!
  if (first === 0 || first >= 224) return undefined
  return first < 128 ? 8 : first < 192 ? 16 : 24
}

/** The network of a destination as text, host bits cleared. */
const destination = (address: Uint8Array, prefix: number): string =>
  `${formatIp(network({ ip: address, prefix }))}/${prefix}`

const parseRoute = ({ dst, router }: Route): { ip: Uint8Array; prefix: number; router: Uint8Array } => {
  const cidr = parseCidr(dst)
  if (cidr?.ip.length !== QUAD) throw new RangeError(`${JSON.stringify(dst)} is not an IPv4 prefix`)
  return { ip: network(cidr), prefix: cidr.prefix, router: quad(router) }
}

/**
 * Pairs of destination and router (RFC 2132 section 5.8); the prefix follows from the destination's class. Pairs whose
 * destination has none are left out: RFC 2132 forbids 0.0.0.0, the others are multicast and reserved addresses.
 */
export const classfulRoutes: OptionType<Route[]> = {
  write: (routes) =>
    Uint8Array.from(
      routes.flatMap((route) => {
        const { ip, prefix, router } = parseRoute(route)
        if (classPrefix(ip) !== prefix) throw new RangeError(`${route.dst} is not the network of a class`)
        return [...ip, ...router]
      }),
    ),
  read(value) {
    if (value.length === 0 || value.length % (2 * QUAD) !== 0) return undefined
    const routes: Route[] = []
    for (let at = 0; at < value.length; at += 2 * QUAD) {
      const address = value.subarray(at, at + QUAD)
      const prefix = classPrefix(address)
      if (prefix === undefined) continue
      routes.push({
        dst: destination(address, prefix),
        router: formatIp(value.subarray(at + QUAD, at + 2 * QUAD)),
      })
    }
    return routes.length > 0 ? routes : undefined
  },
}

/** Prefix length, as many bytes of the destination as that needs, router (RFC 3442). */
export const classlessRoutes: OptionType<Route[]> = {
  write: (routes) =>
    Uint8Array.from(
      routes.flatMap((route) => {
        const { ip, prefix, router } = parseRoute(route)
        return [prefix, ...ip.subarray(0, Math.ceil(prefix / 8)), ...router]
      }),
    ),
  read(value) {
    const routes: Route[] = []
    for (let at = 0; at < value.length; ) {
      const prefix = value[at]!
      const significant = Math.ceil(prefix / 8)
      const end = at + 1 + significant + QUAD
      if (prefix > 32 || end > value.length) return undefined
      const address = new Uint8Array(QUAD)
      address.set(value.subarray(at + 1, at + 1 + significant))
      routes.push({
        dst: destination(address, prefix),
        router: formatIp(value.subarray(end - QUAD, end)),
      })
      at = end
    }
    return routes.length > 0 ? routes : undefined
  },
}
