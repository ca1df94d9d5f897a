/** Elements of sets and maps: added, deleted, and listed with their keys as people write them. */
import { MalformedError } from '../codec/reader.ts'
import type { Value } from '../codec/types.ts'
import { broadcast, formatCidr, network } from '../ip.ts'
import { dump, type Request } from '../request.ts'
import { ELEMENT_F, type element, elementListLayout } from './attributes.ts'
import { NFT_MSG } from './constants.ts'
import type { DataType } from './datatypes.ts'
import { familyHeader, type Operation, operation } from './operation.ts'
import { type NfSet, type SetOptions, type SetRef, setTypes } from './set.ts'
import { elementMessages } from './set-messages.ts'
import { encodeElements, type SetElement, type SetTypes } from './set-values.ts'
import { readComment } from './userdata.ts'

type Raw = Value<typeof element>
/** A set and its types: as it was added, or as it was listed. */
export type TypedSet = SetRef &
  (Pick<SetOptions, 'key' | 'value' | 'interval'> | { readonly types: SetTypes | undefined })

/** @internal The types of its keys and values. */
export const typesOf = (set: TypedSet): SetTypes => {
  if ('key' in set) return setTypes(set)
  if (!set.types)
    throw new RangeError(`the types of set ${set.family} ${set.table} ${set.set} are not known here`)
  return set.types
}

const change = (
  verb: 'add' | 'create' | 'delete',
  target: TypedSet,
  elements: readonly SetElement[],
): Operation => {
  const { family, table, set } = target
  const types = typesOf(target)
  const op = `${verb} ${elements.length} elements ${family} ${table} ${set}`
  // What is deleted is named by its key alone.
  const requests = elementMessages({
    op,
    verb,
    family,
    table,
    set,
    elements:
      verb === 'delete'
        ? encodeElements(
            { key: types.key, interval: types.interval },
            elements.map(({ key }) => ({ key })),
          )
        : encodeElements(types, elements),
  })
  return { op, messages: () => requests }
}

/**
 * `nft add element FAMILY TABLE SET { KEY [: VALUE], … }`, in as many messages as they need. Elements that are there
 * already stay; EEXIST for a map's key that is there with another value.
 */
export const addElements = (set: TypedSet, elements: readonly SetElement[]): Operation =>
  change('add', set, elements)

/** `nft create element …`: EEXIST where one is there. */
export const createElements = (set: TypedSet, elements: readonly SetElement[]): Operation =>
  change('create', set, elements)

/** `nft delete element FAMILY TABLE SET { KEY, … }`. ENOENT where one is not there. Values are not looked at. */
export const deleteElements = (set: TypedSet, elements: readonly Pick<SetElement, 'key'>[]): Operation =>
  change('delete', set, elements)

/** `nft flush set FAMILY TABLE SET`: deletes all elements. */
export const flushSet = ({ family, table, set }: SetRef): Operation =>
  operation(elementListLayout, {
    op: `flush set ${family} ${table} ${set}`,
    type: NFT_MSG.delSetElem,
    family,
    attributes: { set, table },
  })

/** An element as the kernel lists it: keys and values as text, one string a part. */
export interface ListedElement {
  /** A value, a prefix (`10.0.0.0/8`) or a range (`80-90`); several for a concatenation. */
  readonly key: readonly string[]
  /** Maps only. Verdicts read `jump CHAIN`. */
  readonly value: readonly string[] | undefined
  readonly comment: string | undefined
  /** Milliseconds. */
  readonly timeout: number | undefined
  /** Milliseconds that are left of it. */
  readonly expires: number | undefined
  readonly packets: bigint | undefined
  readonly bytes: bigint | undefined
}

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/** `10.0.0.0/8` where the range is one, otherwise `a-b`. */
const rangeText = (type: DataType, low: Uint8Array, high: Uint8Array): string => {
  if (same(low, high)) return type.decode(low)
  if (type.name === 'ipv4_addr' || type.name === 'ipv6_addr')
    for (let prefix = 0; prefix < low.length * 8; prefix++) {
      const cidr = { ip: low, prefix }
      if (same(network(cidr), low) && same(broadcast(cidr), high)) return formatCidr(cidr)
    }
  return `${type.decode(low)}-${type.decode(high)}`
}

/** The parts of a concatenation. */
const split = (types: readonly DataType[], bytes: Uint8Array): Uint8Array[] => {
  if (types.length === 1) return [bytes]
  let at = 0
  return types.map(({ size }) => {
    if (at + size > bytes.length) throw new MalformedError(`a concatenation of ${bytes.length} bytes`)
    const part = bytes.subarray(at, at + size)
    at += (size + 3) & ~3
    return part
  })
}

const valueText = ({ data: types }: SetTypes, { data }: Raw): string[] | undefined => {
  if (!data) return undefined
  if (data.verdict)
    return [[data.verdict.code, data.verdict.chain].filter((word) => word !== undefined).join(' ')]
  if (!data.value || !types || types === 'verdict') return undefined
  return split(types, data.value).map((part, i) => types[i]!.decode(part))
}

const toElement = (types: SetTypes, raw: Raw, high: Uint8Array): ListedElement => {
  const low = split(types.key, raw.key!.value!)
  const counter = [raw.expr, ...(raw.expressions ?? [])].find((expression) => expression?.kind === 'counter')
  const counted = counter?.kind === 'counter' ? counter.data : undefined
  return {
    key: split(types.key, high).map((part, i) => rangeText(types.key[i]!, low[i]!, part)),
    value: valueText(types, raw),
    comment: readComment(raw.userdata),
    timeout: raw.timeout === undefined ? undefined : Number(raw.timeout),
    expires: raw.expiration === undefined ? undefined : Number(raw.expiration),
    packets: counted && 'packets' in counted ? counted.packets : undefined,
    bytes: counted && 'bytes' in counted ? counted.bytes : undefined,
  }
}

const predecessor = (bytes: Uint8Array): Uint8Array => {
  const before = bytes.slice()
  for (let i = before.length - 1; i >= 0; i--) {
    if (before[i] !== 0) {
      before[i]! -= 1
      return before
    }
    before[i] = 0xff
  }
  return before
}

/** Puts the starts and ends of intervals together again. The kernel lists them in no order that one could rely on. */
const pairUp = (types: SetTypes, all: readonly Raw[]): ListedElement[] => {
  const isEnd = ({ flags = 0 }: Raw): boolean => (flags & ELEMENT_F.intervalEnd) !== 0
  const sorted = all
    .filter(({ key }) => key?.value)
    .sort(
      // At one place the end of the interval before comes first.
      (a, b) => Buffer.compare(a.key!.value!, b.key!.value!) || Number(isEnd(b)) - Number(isEnd(a)),
    )
  return sorted.flatMap((raw, i) => {
    if (isEnd(raw)) return []
    const next = sorted[i + 1]
    const low = raw.key!.value!
    return toElement(types, raw, next ? predecessor(next.key!.value!) : new Uint8Array(low.length).fill(0xff))
  })
}

/**
 * `nft list set FAMILY TABLE SET`: its elements. ENOENT when it is not there. Catch-all elements (`*`) are left out.
 * @throws RangeError for a set whose types are not known here
 */
export const listElements = (target: NfSet | TypedSet): Request<ListedElement[]> => {
  const { family, table, set } = target
  const types = typesOf(target)
  const all = dump(
    elementListLayout,
    {
      op: `list elements ${family} ${table} ${set}`,
      type: NFT_MSG.getSetElem,
      header: familyHeader(family),
      attributes: { table, set },
    },
    ({ attributes }) => attributes.elements,
  )
  return {
    ...all,
    read: (messages) => {
      const raw = all.read(messages).flat()
      if (types.interval && types.key.length === 1) return pairUp(types, raw)
      return raw.flatMap((one) =>
        one.key?.value ? toElement(types, one, one.keyEnd?.value ?? one.key.value) : [],
      )
    },
  }
}
