/**
 * Elements as the kernel keeps them, bytes and all: to ask for a few by their keys instead of listing thousands, to
 * find those with a mark among thousands, and to put one back as it was.
 */
import { dump, get, type Request } from '../request.ts'
import { elementListLayout, type NfMessage } from './attributes.ts'
import { NFT_MSG } from './constants.ts'
import { type TypedSet, typesOf } from './element.ts'
import { familyHeader, type Operation } from './operation.ts'
import type { SetRef } from './set.ts'
import { elementMessages } from './set-messages.ts'
import { type ElementAttributes, encodeElements, type SetElement } from './set-values.ts'
import { readComment } from './userdata.ts'

/** An element of a set or map without intervals: `key.value`, `data` and `userdata` as bytes. */
export type RawElement = ElementAttributes

/**
 * The bytes that the kernel would keep.
 * @throws RangeError for what the set's types do not hold
 */
export const rawElements = (set: TypedSet, elements: readonly SetElement[]): RawElement[] =>
  encodeElements(typesOf(set), elements)

/** Its comment. */
export const rawComment = ({ userdata }: RawElement): string | undefined => readComment(userdata)

const equal = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0

/** Whether key, value and comment are the same. */
export const sameElement = (a: RawElement, b: RawElement): boolean =>
  equal(a.key?.value, b.key?.value) && equal(a.data?.value, b.data?.value) && equal(a.userdata, b.userdata)

const change = (
  verb: 'add' | 'create' | 'delete',
  { family, table, set }: SetRef,
  elements: readonly RawElement[],
): Operation => {
  const op = `${verb} ${elements.length} elements ${family} ${table} ${set}`
  const requests = elementMessages({
    op,
    verb,
    family,
    table,
    set,
    elements: verb === 'delete' ? elements.map(({ key }) => ({ key })) : elements,
  })
  return { op, messages: () => requests }
}

/** `nft add element FAMILY TABLE SET { … }` */
export const addRawElements = (set: SetRef, elements: readonly RawElement[]): Operation =>
  change('add', set, elements)

/** `nft create element FAMILY TABLE SET { … }`. EEXIST where one is there, even the same. */
export const createRawElements = (set: SetRef, elements: readonly RawElement[]): Operation =>
  change('create', set, elements)

/** `nft delete element FAMILY TABLE SET { … }`, by their keys. ENOENT where one is not there. */
export const deleteRawElements = (set: SetRef, elements: readonly RawElement[]): Operation =>
  change('delete', set, elements)

/** `nft get element FAMILY TABLE SET { KEY }`. ENOENT when it, its set or its table is not there. */
export const getElement = ({ family, table, set }: SetRef, { key }: RawElement): Request<RawElement> => {
  const op = `get element ${family} ${table} ${set}`
  return get(
    elementListLayout,
    {
      op,
      type: NFT_MSG.getSetElem,
      header: familyHeader(family),
      attributes: { table, set, elements: [{ key }] },
    },
    ({ attributes }) => {
      const found = attributes.elements?.[0]
      if (!found) throw new Error(`${op}: the kernel answered with another object`)
      return found
    },
  )
}

type Elements = NfMessage<typeof elementListLayout>['attributes']['elements']

/**
 * `nft list set FAMILY TABLE SET`, as bytes. ENOENT when it is not there.
 * @param mark only elements whose comment begins with it: a piece of an answer without these bytes is not decoded
 */
export const listRawElements = ({ family, table, set }: SetRef, mark?: string): Request<RawElement[]> => {
  const all = dump(
    elementListLayout,
    {
      op: `list elements ${family} ${table} ${set}`,
      type: NFT_MSG.getSetElem,
      header: familyHeader(family),
      attributes: { table, set },
    },
    ({ attributes }): Elements => attributes.elements,
  )
  if (mark === undefined) return { ...all, read: (messages) => all.read(messages).flat() }
  const bytes = Buffer.from(mark)
  return {
    ...all,
    read: (messages) =>
      all
        .read(
          messages.filter(({ payload }) => {
            const { buffer, byteOffset, length } = payload.bytes
            return Buffer.from(buffer, byteOffset, length).includes(bytes)
          }),
        )
        .flat()
        .filter((element) => rawComment(element)?.startsWith(mark)),
  }
}
