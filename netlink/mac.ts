/** Link-layer addresses in Go's text forms, which CNI results and configurations use. */

/** The value of a hex digit; -1 for any other character, and where there is none. */
const hexDigit = (code: number): number => {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const letter = code | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}

const COLON = 0x3a
const DASH = 0x2d
const DOT = 0x2e

/**
 * Reads a MAC address: 6, 8 or 20 bytes as pairs of hex digits between `:` or `-`, or as groups of four between
 * dots. Null where it is none. Go's `net.ParseMAC` accepts the same.
 */
export const parseMac = (text: string): Uint8Array | null => {
  const pair = text.charCodeAt(2)
  const isPairs = pair === COLON || pair === DASH
  const separator = isPairs ? pair : DOT
  const width = isPairs ? 2 : 4
  // Each group is followed by a separator, but for the last.
  const count = ((text.length + 1) / (width + 1)) * (width / 2)
  if (count !== 6 && count !== 8 && count !== 20) return null
  const result = new Uint8Array(count)
  let at = 0
  for (let i = 0; i < text.length; i += 2) {
    if (i > 0 && at % (width / 2) === 0 && text.charCodeAt(i++) !== separator) return null
    const high = hexDigit(text.charCodeAt(i))
    const low = hexDigit(text.charCodeAt(i + 1))
    if (high < 0 || low < 0) return null
    result[at++] = (high << 4) | low
  }
  return result
}

/** Prints one: lower case, colons. No bytes: the empty string. */
export const formatMac = (bytes: Uint8Array): string => {
  let text = ''
  for (const byte of bytes) text += (text ? ':' : '') + (byte < 16 ? '0' : '') + byte.toString(16)
  return text
}

/** The usual way to compare two: by bytes, whatever their notation. */
export const sameMac = (a: string, b: string): boolean => {
  const left = parseMac(a)
  const right = parseMac(b)
  return left !== null && right !== null && formatMac(left) === formatMac(right)
}
