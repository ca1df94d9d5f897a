/**
 * IP addresses and prefixes in the text forms of Go's `net` package, which CNI results, configurations and the names
 * of reservation files use: RFC 5952 for IPv6, IPv4-mapped IPv6 printed as dotted quad, no leading zeros, no zones.
 */

/** An address with the length of its prefix; host bits are kept. */
export interface Cidr {
  /** 4 or 16 bytes. */
  readonly ip: Uint8Array
  /** Prefix length in bits. */
  readonly prefix: number
}

const DOT = 0x2e

/** Three digits at most, and no leading zero: those would be octal to some. */
const parseIpv4 = (text: string): Uint8Array | null => {
  const result = new Uint8Array(4)
  let octet = 0
  let value = -1
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : DOT
    if (code === DOT) {
      if (value < 0 || octet === 4) return null
      result[octet++] = value
      value = -1
    } else {
      const digit = code - 0x30
      if (digit < 0 || digit > 9 || value === 0) return null
      value = value < 0 ? digit : value * 10 + digit
      if (value > 255) return null
    }
  }
  return octet === 4 ? result : null
}

const parseIpv6 = (text: string): Uint8Array | null => {
  const halves = text.split('::')
  if (halves.length > 2) return null
  const groups = (half: string): number[] | null => {
    if (half === '') return []
    const values: number[] = []
    const parts = half.split(':')
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i]!
      if (part.includes('.')) {
        const quad = i === parts.length - 1 ? parseIpv4(part) : null
        if (!quad) return null
        values.push((quad[0]! << 8) | quad[1]!, (quad[2]! << 8) | quad[3]!)
      } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) values.push(Number.parseInt(part, 16))
      else return null
    }
    return values
  }
  const head = groups(halves[0]!)
  const tail = halves.length === 2 ? groups(halves[1]!) : []
  if (!head || !tail) return null
  // A dotted quad may only end the address.
  if (halves.length === 2 && halves[0]!.includes('.')) return null
  const count = head.length + tail.length
  if (halves.length === 2 ? count > 7 : count !== 8) return null
  const result = new Uint8Array(16)
  head.forEach((value, i) => {
    result[i * 2] = value >> 8
    result[i * 2 + 1] = value & 0xff
  })
  tail.forEach((value, i) => {
    const at = 16 - (tail.length - i) * 2
    result[at] = value >> 8
    result[at + 1] = value & 0xff
  })
  return result
}

const isMapped = (bytes: Uint8Array): boolean => {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false
  return bytes[10] === 0xff && bytes[11] === 0xff
}

/**
 * Reads an address: 4 bytes for IPv4 (an IPv4-mapped IPv6 address too, as Go has it), 16 for IPv6, null for anything
 * else.
 */
export const parseIp = (text: string): Uint8Array | null => {
  if (!text.includes(':')) return parseIpv4(text)
  const bytes = parseIpv6(text)
  return bytes && isMapped(bytes) ? bytes.subarray(12) : bytes
}

/** Prints 4 or 16 bytes in Go's form. Throws RangeError for any other number of bytes. */
export const formatIp = (bytes: Uint8Array): string => {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`
  if (bytes.length !== 16) throw new RangeError(`an IP address has 4 or 16 bytes, not ${bytes.length}`)
  if (isMapped(bytes)) return formatIp(bytes.subarray(12))
  const groups: number[] = []
  for (let i = 0; i < 16; i += 2) groups.push((bytes[i]! << 8) | bytes[i + 1]!)
  // RFC 5952 section 4.2: the longest run of two or more zero groups, the first of equals.
  let best = -1
  let bestLength = 1
  for (let i = 0; i < 8; i++) {
    let j = i
    while (j < 8 && groups[j] === 0) j++
    if (j - i > bestLength) {
      best = i
      bestLength = j - i
    }
    if (j > i) i = j
  }
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(':')
  return best < 0 ? hex(groups) : `${hex(groups.slice(0, best))}::${hex(groups.slice(best + bestLength))}`
}

/** Reads `address/prefix`, keeping host bits; null where it is none. A mapped IPv4 address keeps its 16 bytes. */
export const parseCidr = (text: string): Cidr | null => {
  const slash = text.indexOf('/')
  if (slash < 0) return null
  const address = text.slice(0, slash)
  const ip = address.includes(':') ? parseIpv6(address) : parseIpv4(address)
  const length = text.slice(slash + 1)
  // Go's ParseCIDR takes leading zeros here ("/024"), unlike in octets.
  if (!ip || !/^[0-9]+$/.test(length)) return null
  const prefix = Number(length)
  return prefix > ip.length * 8 ? null : { ip, prefix }
}

/** A prefix whose address is IPv4-mapped, as the IPv4 prefix that Go prints for it; others as they are. */
export const asIpv4 = (cidr: Cidr): Cidr =>
  cidr.ip.length === 16 && isMapped(cidr.ip)
    ? { ip: cidr.ip.subarray(12), prefix: Math.max(0, cidr.prefix - 96) }
    : cidr

/** Prints `address/prefix`, an IPv4-mapped one as IPv4. */
export const formatCidr = (cidr: Cidr): string => {
  const { ip, prefix } = asIpv4(cidr)
  return `${formatIp(ip)}/${prefix}`
}

/** A prefix in Go's spelling, host bits kept: `2001:DB8::0:1/64` → `2001:db8::1/64`. Null where it is none. */
export const canonicalCidr = (text: string): string | null => {
  const cidr = parseCidr(text)
  return cidr && formatCidr(cidr)
}

/** The network address: host bits cleared. */
export const network = ({ ip, prefix }: Cidr): Uint8Array =>
  ip.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, prefix - i * 8))) & 0xff)

/** The broadcast address of an IPv4 prefix: host bits set. */
export const broadcast = ({ ip, prefix }: Cidr): Uint8Array =>
  ip.map((byte, i) => byte | (0xff >> Math.min(8, Math.max(0, prefix - i * 8))))

/** Whether `address` lies in the prefix. Families differ: false. */
export const contains = (cidr: Cidr, address: Uint8Array): boolean =>
  address.length === cidr.ip.length &&
  formatIp(network({ ip: address, prefix: cidr.prefix })) === formatIp(network(cidr))

/** 4 or 6, of a text form that is known to be an address or a prefix. */
export const familyOf = (text: string): 4 | 6 => {
  const slash = text.indexOf('/')
  const ip = parseIp(slash < 0 ? text : text.slice(0, slash))
  if (!ip) throw new RangeError(`${JSON.stringify(text)} is not an IP address`)
  return ip.length === 4 ? 4 : 6
}
