/** How sets and their elements are put into messages: types, what nft remembers, pieces below 64 KiB. */
import type { Request } from '../request.ts'
import { ELEMENT_F, elementListLayout, SET_F, setLayout } from './attributes.ts'
import { type Family, NFT_MSG } from './constants.ts'
import { concatId, type DataType } from './datatypes.ts'
import { message, verbFlags } from './operation.ts'
import {
  type ElementAttributes,
  encodeElements,
  nativeU32,
  type SetContent,
  type SetTypes,
  sizeOf,
} from './set-values.ts'
import { commentEntry, encodeUserdata, readComment } from './userdata.ts'

/** Type of verdicts in NFTA_SET_DATA_TYPE. */
export const VERDICT_TYPE = 0xffff_ff00

/** `NFTNL_UDATA_SET_*` */
const UDATA_KEY_BYTEORDER = 0
const UDATA_DATA_BYTEORDER = 1
const UDATA_MERGE_ELEMENTS = 2
const UDATA_DATA_INTERVAL = 6
const UDATA_SET_COMMENT = 7

/** Byte order as nft stores it; a concatenation has none. */
const byteorders = { none: 0, host: 1, big: 2 } as const
const byteorderOf = (types: readonly DataType[]): number =>
  types.length > 1 ? byteorders.none : byteorders[types[0]!.order]

/** `NFTA_SET_*` that follow from a set's types. */
export const typeAttributes = (types: SetTypes, flags: number, size: number | undefined) => {
  const { key, data, interval = false } = types
  if (key.length === 0 || key.length > 5) throw new RangeError('a set has one to five types of keys')
  const concat = key.length > 1
  // The kernel compares bytes; nft turns such keys round on their way, which is not done here.
  if (interval && !concat && key[0]!.order === 'host' && key[0]!.size > 1)
    throw new RangeError(`sets of type ${key[0]!.name} hold no ranges`)
  return {
    flags:
      flags |
      (interval ? SET_F.interval : 0) |
      (interval && concat ? SET_F.concat : 0) |
      (data === undefined ? 0 : SET_F.map),
    keyType: concatId(key),
    keyLen: sizeOf(key),
    ...(data !== undefined && {
      dataType: data === 'verdict' ? VERDICT_TYPE : concatId(data),
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
      : [
          {
            type: UDATA_DATA_BYTEORDER,
            value: nativeU32(data === 'verdict' ? byteorders.none : byteorderOf(data)),
          },
        ]),
    ...(merge ? [{ type: UDATA_MERGE_ELEMENTS, value: nativeU32(1) }] : []),
    ...(data === undefined ? [] : [{ type: UDATA_DATA_INTERVAL, value: nativeU32(0) }]),
    ...(comment === undefined ? [] : [commentEntry(comment, UDATA_SET_COMMENT)]),
  ])
}

/** What nft remembers, read. */
export const decodeSetUserdata = (userdata: Uint8Array | undefined): { comment: string | undefined } => ({
  comment: readComment(userdata, UDATA_SET_COMMENT),
})

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
