/** Keys and values of sets as bytes: intervals, prefixes, concatenations, verdicts. */
import type { Value } from '../codec/types.ts'
import { littleEndian } from '../codec/writer.ts'
import { broadcast, network, parseCidr } from '../ip.ts'
import { ELEMENT_F, type element } from './attributes.ts'
import type { Verdict } from './constants.ts'
import type { DataType, Scalar } from './datatypes.ts'
import type { Data } from './expressions.ts'
import { commentEntry, encodeUserdata, type UserdataEntry } from './userdata.ts'

/** One part of a key: a value, a prefix (`10.0.0.0/8`), or a range. */
export type KeyPart = Scalar | { readonly from: Scalar; readonly to: Scalar }
/** A key: one part, or for concatenations a list of them. */
export type Key = KeyPart | readonly KeyPart[]
/** What a map holds for a key: a value, several for a concatenation, or a verdict. */
export type MapValue =
  | Scalar
  | readonly Scalar[]
  | { readonly verdict: Verdict; readonly chain?: string | undefined }

export interface SetElement {
  readonly key: Key
  /** Maps only. */
  readonly value?: MapValue | undefined
  /** Milliseconds until it vanishes; sets with timeouts only. */
  readonly timeout?: number | undefined
  /** At most 128 bytes. */
  readonly comment?: string | undefined
}

/** The types of a set's keys and of a map's values. */
export interface SetTypes {
  /** More than one: a concatenation, `ipv4_addr . inet_service`. At most five. */
  readonly key: readonly DataType[]
  /** Maps only: the types of the values, or verdicts. */
  readonly data?: readonly DataType[] | 'verdict' | undefined
  /** Keys may be prefixes and ranges. */
  readonly interval?: boolean | undefined
}
/** A set with its elements, as a rule with `{ … }` makes one. */
export interface SetContent extends SetTypes {
  readonly elements: readonly SetElement[]
}

/** One element as attributes. */
export type ElementAttributes = Value<typeof element>

/** Four bytes in the machine's order, as userdata holds numbers. */
export const nativeU32 = (number: number): Uint8Array => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, number, littleEndian)
  return bytes
}

/** `NFTNL_UDATA_SET_ELEM_FLAGS`: an interval that reaches to the end of its type. */
const UDATA_ELEMENT_FLAGS = 1

/** Bytes of a value or concatenation: the parts of one are padded to 4 bytes. */
export const sizeOf = (types: readonly DataType[]): number =>
  types.length === 1 ? types[0]!.size : types.reduce((sum, { size }) => sum + ((size + 3) & ~3), 0)

const join = (types: readonly DataType[], parts: readonly Uint8Array[]): Uint8Array => {
  if (types.length === 1) return parts[0]!
  const bytes = new Uint8Array(sizeOf(types))
  let at = 0
  for (const [i, part] of parts.entries()) {
    bytes.set(part, at)
    at += (types[i]!.size + 3) & ~3
  }
  return bytes
}

/** First and last value of a part. */
const boundsOf = (type: DataType, part: KeyPart): readonly [Uint8Array, Uint8Array] => {
  if (typeof part === 'object') {
    const bounds = [type.encode(part.from), type.encode(part.to)] as const
    if (type.order === 'host' && type.size > 1)
      throw new RangeError(`sets of type ${type.name} hold no ranges`)
    if (Buffer.compare(bounds[0], bounds[1]) > 0)
      throw new RangeError(`the range ${part.from}-${part.to} is empty`)
    return bounds
  }
  if (typeof part === 'string' && part.includes('/')) {
    const cidr = parseCidr(part)
    if (!cidr || cidr.ip.length !== type.size)
      throw new RangeError(`${JSON.stringify(part)} is no ${type.name}`)
    return [network(cidr), broadcast(cidr)]
  }
  const value = type.encode(part)
  return [value, value]
}

const isInterval = (part: KeyPart): boolean =>
  typeof part === 'object' || (typeof part === 'string' && part.includes('/'))

const partsOf = ({ key: types }: SetTypes, key: Key): readonly KeyPart[] => {
  const parts = Array.isArray(key) ? (key as readonly KeyPart[]) : [key as KeyPart]
  if (parts.length !== types.length)
    throw new RangeError(
      `a key of ${parts.length} parts for a set of ${types.map(({ name }) => name).join(' . ')}`,
    )
  return parts
}

const encodeValue = ({ data }: SetTypes, value: MapValue): Data => {
  if (data === undefined) throw new RangeError('a set holds no values')
  if (typeof value === 'object' && 'verdict' in value) {
    if (data !== 'verdict') throw new RangeError('this map holds no verdicts')
    const { verdict, chain } = value
    return { verdict: { code: verdict, ...(chain !== undefined && { chain }) } }
  }
  if (data === 'verdict') throw new RangeError('this map holds verdicts only')
  const parts = (Array.isArray(value) ? value : [value]) as readonly Scalar[]
  if (parts.length !== data.length)
    throw new RangeError(
      `a value of ${parts.length} parts for a map to ${data.map(({ name }) => name).join(' . ')}`,
    )
  return {
    value: join(
      data,
      data.map((type, i) => type.encode(parts[i]!)),
    ),
  }
}

/** The value that follows, or undefined behind the last one. */
const successor = (bytes: Uint8Array): Uint8Array | undefined => {
  const next = bytes.slice()
  for (let i = next.length - 1; i >= 0; i--) {
    if (next[i] !== 0xff) {
      next[i]! += 1
      return next
    }
    next[i] = 0
  }
  return undefined
}

const detailsOf = (types: SetTypes, { value, timeout, comment }: SetElement, extra: UserdataEntry[] = []) => {
  if ((types.data === undefined) !== (value === undefined))
    throw new RangeError(
      types.data === undefined ? 'a set holds no values' : 'a map needs a value for each key',
    )
  const userdata = [...(comment === undefined ? [] : [commentEntry(comment)]), ...extra]
  return {
    ...(value !== undefined && { data: encodeValue(types, value) }),
    ...(userdata.length > 0 && { userdata: encodeUserdata(userdata) }),
    ...(timeout !== undefined && { timeout: BigInt(Math.round(timeout)) }),
  }
}

/** One element as the kernel wants it: an interval without concatenation is a start and the end behind it. */
const encodeElement = (types: SetTypes, element: SetElement): ElementAttributes[] => {
  const parts = partsOf(types, element.key)
  const bounds = types.key.map((type, i) => boundsOf(type, parts[i]!))
  const low = join(
    types.key,
    bounds.map(([first]) => first),
  )
  if (!types.interval) {
    if (parts.some(isInterval)) throw new RangeError('a range or prefix in a set that is not of intervals')
    return [{ key: { value: low }, ...detailsOf(types, element) }]
  }
  const high = join(
    types.key,
    bounds.map(([, last]) => last),
  )
  if (types.key.length > 1)
    return [{ key: { value: low }, ...detailsOf(types, element), keyEnd: { value: high } }]
  // Names sort as bytes, and so do ranges of them; nothing else may end at a host-order boundary.
  const end = successor(high)
  if (end === undefined)
    return [
      {
        key: { value: low },
        ...detailsOf(types, element, [{ type: UDATA_ELEMENT_FLAGS, value: nativeU32(1) }]),
      },
    ]
  return [
    { key: { value: low }, ...detailsOf(types, element) },
    { flags: ELEMENT_F.intervalEnd, key: { value: end } },
  ]
}

/** All elements, in the order that the kernel wants for intervals: ascending. */
export const encodeElements = (types: SetTypes, elements: readonly SetElement[]): ElementAttributes[] => {
  const encoded = elements.map((element) => encodeElement(types, element))
  if (types.interval && types.key.length === 1)
    encoded.sort(([a], [b]) => Buffer.compare(a!.key!.value!, b!.key!.value!))
  return encoded.flat()
}

/** The content with `interval` set where a key needs it. */
export const intervalsOf = (content: SetContent): SetContent => ({
  ...content,
  interval:
    content.interval ??
    content.elements.some(({ key }) => (Array.isArray(key) ? key : [key]).some(isInterval)),
})
