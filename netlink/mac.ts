/** Link-layer addresses in Go's text forms, which CNI results and configurations use. */

const separators = /[:-]/

/**
 * Reads a MAC address: 6, 8 or 20 bytes as pairs of hex digits between `:` or `-`, or as groups of four between
 * dots. Null where it is none. Go's `net.ParseMAC` accepts the same.
 */
export const parseMac = (text: string): Uint8Array | null => {
  const groups = text.includes('.') ? text.split('.') : text.split(text.match(separators)?.[0] ?? ':')
  const width = text.includes('.') ? 4 : 2
  const count = (groups.length * width) / 2
  if (count !== 6 && count !== 8 && count !== 20) return null
  const result = new Uint8Array(count)
  let at = 0
  for (const group of groups) {
    if (group.length !== width || !/^[0-9a-fA-F]+$/.test(group)) return null
    for (let i = 0; i < width; i += 2) result[at++] = Number.parseInt(group.slice(i, i + 2), 16)
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
