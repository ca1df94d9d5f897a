/**
 * Domain names as DHCP carries them: in the labels of RFC 1035 section 3.1, or as text. A name goes into results,
 * resolv.conf and logs, so only what looks like one is taken.
 */

/** Characters of a name in text form, without the final dot. */
const MAX_NAME = 253
/** Bytes of a name in labels, the root's included. */
const MAX_WIRE = 255
const MAX_LABEL = 63
/** More names than a resolver would search. Pointers make 250 bytes out of two, so there has to be a limit. */
const MAX_NAMES = 256

/** The two high bits of a length byte that begins a pointer (section 4.1.4). */
const POINTER = 0xc0

/** Underscores are no letters of a host name, but there are domains with them. */
const label = /^[A-Za-z0-9_][A-Za-z0-9_-]*$/

const isLabel = (text: string): boolean => text.length <= MAX_LABEL && label.test(text)

/** A name in text form, its final dot cut off; undefined where it does not look like a name. */
export const domainName = (text: string): string | undefined => {
  const name = text.endsWith('.') ? text.slice(0, -1) : text
  return name.length <= MAX_NAME && name.split('.').every(isLabel) ? name : undefined
}

/**
 * The bytes of names one after the other, none compressed: RFC 8415 section 10 forbids it for DHCPv6, and RFC 3397
 * leaves it open.
 * @throws RangeError for what is no name
 */
export const encodeNames = (names: readonly string[]): Uint8Array => {
  const bytes: number[] = []
  for (const text of names) {
    const name = domainName(text)
    if (name === undefined) throw new RangeError(`${JSON.stringify(text)} is not a domain name`)
    for (const part of name.split('.')) {
      bytes.push(part.length)
      for (let i = 0; i < part.length; i++) bytes.push(part.charCodeAt(i))
    }
    bytes.push(0)
  }
  return Uint8Array.from(bytes)
}

interface Decoded {
  readonly name: string
  /** Where the next name begins. */
  readonly end: number
}

const decodeName = (bytes: Uint8Array, start: number, compression: boolean): Decoded | undefined => {
  const labels: string[] = []
  let wire = 1
  let end = -1
  let at = start
  // A pointer leads to something before all that was read so far. So no chain of them can go on for ever.
  let before = start
  for (;;) {
    const length = bytes[at]
    if (length === undefined) return undefined
    if (length === 0) break
    if ((length & POINTER) === POINTER) {
      const low = bytes[at + 1]
      const target = ((length & ~POINTER) << 8) | (low ?? 0)
      if (!compression || low === undefined || target >= before) return undefined
      if (end < 0) end = at + 2
      at = before = target
      continue
    }
    wire += 1 + length
    if (length > MAX_LABEL || wire > MAX_WIRE || at + 1 + length > bytes.length) return undefined
    const text = String.fromCharCode(...bytes.subarray(at + 1, at + 1 + length))
    if (!isLabel(text)) return undefined
    labels.push(text)
    at += 1 + length
  }
  return { name: labels.join('.'), end: end < 0 ? at + 1 : end }
}

export interface DecodeNamesOptions {
  /** Whether pointers are followed; they count from the first byte. Default true. DHCPv6 has none. */
  readonly compression?: boolean | undefined
}

/**
 * Reads names one after the other. Undefined where one is malformed, where there is none, and for more than 256. The
 * root, a lone zero byte, counts as one but is left out: it is padding.
 */
export const decodeNames = (bytes: Uint8Array, options: DecodeNamesOptions = {}): string[] | undefined => {
  const { compression = true } = options
  const names: string[] = []
  for (let at = 0, count = 0; at < bytes.length; count++) {
    const decoded = count < MAX_NAMES ? decodeName(bytes, at, compression) : undefined
    if (!decoded) return undefined
    if (decoded.name !== '') names.push(decoded.name)
    at = decoded.end
  }
  return names.length > 0 ? names : undefined
}
