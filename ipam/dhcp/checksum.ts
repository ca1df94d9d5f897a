/** The Internet checksum, RFC 1071. */

/** Sum of 16-bit words, an odd byte padded with zero; not yet folded. */
export const sum = (bytes: Uint8Array, start = 0, end = bytes.length): number => {
  let total = 0
  for (let at = start; at < end; at += 2) total += (bytes[at]! << 8) | (at + 1 < end ? bytes[at + 1]! : 0)
  return total
}

/** Carries added in, and the complement. At most 32 Ki words, so 32 bits hold the sum. */
export const checksum = (total: number): number => {
  let folded = total
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16)
  return ~folded & 0xffff
}
