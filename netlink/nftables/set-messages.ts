/** How sets and their elements are put into messages: keys, intervals, concatenations, pieces below 64 KiB. */
import type { Value } from '../codec/types.ts'
import { littleEndian } from '../codec/writer.ts'
import { broadcast, network, parseCidr } from '../ip.ts'
import type { Request } from '../request.ts'
import { ELEMENT_F, type element, elementListLayout, SET_F, setLayout } from './attributes.ts'
import { type Family, NFT_MSG, type Verdict } from './constants.ts'
import { concatId, type DataType, type Scalar } from './datatypes.ts'
import type { Data } from './expressions.ts'
import { message, verbFlags } from './operation.ts'
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

/** Milliseconds, bytes and flags of one element, as attributes. */
type ElementAttributes = Value<typeof element>

/** Type of verdicts in NFTA_SET_DATA_TYPE. */
const NFT_DATA_VERDICT = 0xffff_ff00

const nativeU32 = (number: number): Uint8Array => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, number, littleEndian)
  return bytes
}

/** `NFTNL_UDATA_SET_*` */
const UDATA_KEY_BYTEORDER = 0
const UDATA_DATA_BYTEORDER = 1
const UDATA_MERGE_ELEMENTS = 2
export const UDATA_SET_COMMENT = 7
/** `NFTNL_UDATA_SET_ELEM_FLAGS`: an interval that reaches to the end of its type. */
const UDATA_ELEMENT_FLAGS = 1

/** Byte order as nft stores it: 0 for what has none, 1 for the machine's, 2 for the network's. */
const byteorderOf = (types: readonly DataType[]): number => {
  const [type] = types
  if (!type || types.length > 1 || type.size === 1)
    return type?.name === 'icmp_type' || type?.name === 'icmpv6_type' || type?.name === 'tcp_flag'
      ? 2
      : type?.name === 'pkt_type'
        ? 1
        : 0
  return type.order === 'big' ? 2 : 1
}

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

/** `NFTA_SET_*` that follow from a set's types. */
export const typeAttributes = (types: SetTypes, flags: number, size: number | undefined) => {
  const { key, data, interval = false } = types
  if (key.length === 0 || key.length > 5) throw new RangeError('a set has one to five types of keys')
  const concat = key.length > 1
  return {
    flags:
      flags |
      (interval ? SET_F.interval : 0) |
      (interval && concat ? SET_F.concat : 0) |
      (data === undefined ? 0 : SET_F.map),
    keyType: concatId(key),
    keyLen: sizeOf(key),
    ...(data !== undefined && {
      dataType: data === 'verdict' ? NFT_DATA_VERDICT : concatId(data),
      dataLen: data === 'verdict' ? 0 : sizeOf(data),
    }),
    description: {
      ...(size !== undefined && { size }),
      ...(interval && concat && { concat: key.map(({ size: len }) => ({ len })) }),
    },
  }
}

/** What nft remembers of a set, so that it can print it. */
export const setUserdata = (types: SetTypes, comment?: string, merge = false): Uint8Array => {
  const { key, data } = types
  return encodeUserdata([
    { type: UDATA_KEY_BYTEORDER, value: nativeU32(byteorderOf(key)) },
    ...(data === undefined
      ? []
      : [{ type: UDATA_DATA_BYTEORDER, value: nativeU32(data === 'verdict' ? 1 : byteorderOf(data)) }]),
    ...(merge ? [{ type: UDATA_MERGE_ELEMENTS, value: nativeU32(1) }] : []),
    ...(comment === undefined ? [] : [commentEntry(comment, UDATA_SET_COMMENT)]),
  ])
}

/** Elements of one message: the limit of an attribute is 64 KiB less its header. */
const LIST_MAX = 0xffff - 4

/** An upper bound of the bytes one element takes. */
const lengthOf = (element: ElementAttributes): number => {
  let length = 4
  for (const data of [element.key, element.keyEnd, element.data])
    if (data)
      length += data.value
        ? 8 + ((data.value.length + 3) & ~3)
        : 24 + ((data.verdict?.chain?.length ?? 0) * 3 + 8)
  if (element.userdata) length += 4 + ((element.userdata.length + 3) & ~3)
  return length + (element.flags === undefined ? 0 : 8) + (element.timeout === undefined ? 0 : 12)
}

/** Messages that add or delete elements, in as many pieces as they need; an interval's end stays with its start. */
export const elementMessages = (options: {
  readonly op: string
  readonly verb: 'add' | 'create' | 'delete'
  readonly family: Family
  readonly table: string
  readonly set: string
  readonly setId?: number
  readonly elements: readonly ElementAttributes[]
}): Request<void>[] => {
  const { op, verb, family, table, set, setId, elements } = options
  const pieces: ElementAttributes[][] = []
  let size = LIST_MAX
  for (const element of elements) {
    const length = lengthOf(element)
    const isEnd = element.flags === ELEMENT_F.intervalEnd
    // The end of an interval counts with its start.
    if (size + (isEnd ? length : 2 * length + 8) > LIST_MAX && !(isEnd && size < LIST_MAX)) {
      pieces.push([])
      size = 0
    }
    pieces.at(-1)!.push(element)
    size += length
  }
  return pieces.map((piece) =>
    message(elementListLayout, {
      op,
      type: verb === 'delete' ? NFT_MSG.delSetElem : NFT_MSG.newSetElem,
      flags: verb === 'delete' ? 0 : verbFlags[verb],
      family,
      attributes: { table, set, ...(setId !== undefined && { setId }), elements: piece },
    }),
  )
}

/** The messages that make an anonymous set. */
export const setMessages = (options: {
  readonly op: string
  readonly family: Family
  readonly table: string
  readonly set: SetContent
  readonly id: number
}): Request<void>[] => {
  const { op, family, table, set, id } = options
  const name = set.data === undefined ? '__set%d' : '__map%d'
  const elements = encodeElements(set, set.elements)
  const first = elements[0]?.key?.value
  if (set.interval && set.key.length === 1 && first?.some((byte) => byte !== 0))
    elements.unshift({ flags: ELEMENT_F.intervalEnd, key: { value: new Uint8Array(first.length) } })
  const { description, ...types } = typeAttributes(set, SET_F.anonymous | SET_F.constant, elements.length)
  return [
    message(setLayout, {
      op,
      type: NFT_MSG.newSet,
      flags: verbFlags.add,
      family,
      attributes: {
        table,
        set: name,
        ...types,
        id,
        description,
        userdata: setUserdata(set, undefined, set.interval && set.key.length === 1),
      },
    }),
    ...elementMessages({ op, verb: 'add', family, table, set: name, setId: id, elements }),
  ]
}
