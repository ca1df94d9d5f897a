/** u32: a filter that compares words of a packet. */
import { MalformedError } from '../codec/reader.ts'
import { struct, table } from '../codec/table.ts'
import { bytes, type Codec, u32 as number, string } from '../codec/types.ts'
import { packed } from '../codec/values.ts'
import { toPrefix } from '../family.ts'
import { actions } from './action.ts'
import { handle } from './handle.ts'

/** `TC_U32_TERMINAL`: a packet that matches goes no further. */
const TERMINAL = 1

/** `struct tc_u32_sel` and `struct tc_u32_key`, linux/pkt_cls.h. */
export const selectorHeader = struct({
  flags: 'u8',
  offshift: 'u8',
  nkeys: 'u8',
  pad: [1],
  offmask: 'be16',
  off: 'u16',
  offoff: 'u16',
  hoff: 'u16',
  hmask: 'be32',
})
export const selectorKey = struct({ mask: 'be32', val: 'be32', off: 's32', offmask: 's32' })

/** A word of the packet and what it has to be. */
export interface U32Key {
  readonly value: number
  /** Which bits count. */
  readonly mask: number
  /** Bytes from the beginning of the network header. */
  readonly offset: number
}

/** All have to match. `match u32 0 0`, which everything does, is the key of zeros. */
const selector: Codec<readonly U32Key[]> = {
  write(writer, keys) {
    selectorHeader.write(writer, { flags: TERMINAL, nkeys: keys.length })
    for (const { value, mask, offset } of keys)
      selectorKey.write(writer, { val: value, mask, off: offset, offmask: 0 })
  },
  read(payload) {
    const { nkeys } = selectorHeader.read(payload)
    if (payload.length < selectorHeader.size + nkeys * selectorKey.size)
      throw new MalformedError(`a selector of ${nkeys} keys in ${payload.length} bytes`)
    return Array.from({ length: nkeys }, (_, i) => {
      const { val, mask, off } = selectorKey.read(payload, selectorHeader.size + i * selectorKey.size)
      return { value: val, mask, offset: off }
    })
  },
}

/** `TCA_U32_*`. `tc filter add … u32 match … [flowid CLASS] [action …]` */
export const u32 = table({
  classid: [1, handle],
  hash: [2, number],
  link: [3, number],
  divisor: [4, number],
  sel: [5, selector],
  police: [6, bytes],
  act: [7, actions],
  indev: [8, string],
  pcnt: [9, bytes],
  mark: [10, packed({ val: 'u32', mask: 'u32', success: 'u32' })],
  flags: [11, number],
})

/** Matches every packet. `match u32 0 0` */
export const matchAll: readonly U32Key[] = [{ value: 0, mask: 0, offset: 0 }]

/** Where the addresses are in the headers of IPv4 and IPv6. */
const offsets = { 4: { src: 12, dst: 16 }, 6: { src: 8, dst: 24 } } as const

/**
 * Matches addresses of a subnet. `match ip dst 10.1.0.0/16`, `match ip6 src 2001:db8::/32`
 * @returns the keys for packets of the subnet's family
 * @throws RangeError for what is no prefix
 */
export const matchSubnet = (side: 'src' | 'dst', subnet: string): readonly U32Key[] => {
  const { family, length, cidr } = toPrefix(subnet)
  const { ip } = cidr
  const view = new DataView(ip.buffer, ip.byteOffset, ip.byteLength)
  const keys: U32Key[] = []
  for (let word = 0; word * 32 < length; word++) {
    const bits = Math.min(32, length - word * 32)
    const mask = (0xffff_ffff << (32 - bits)) >>> 0
    const value = (view.getUint32(word * 4) & mask) >>> 0
    keys.push({ value, mask, offset: offsets[family][side] + word * 4 })
  }
  return keys.length === 0 ? matchAll : keys
}
