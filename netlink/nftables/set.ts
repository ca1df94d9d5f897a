/** Named sets and maps. */
import { dump, get, type Request } from '../request.ts'
import { type NfMessage, SET_F, setLayout } from './attributes.ts'
import { type Family, familyName, NFT_MSG } from './constants.ts'
import { type DataType, type DataTypeName, dataTypes, typesOfId } from './datatypes.ts'
import { familyHeader, type Operation, operation, verbFlags } from './operation.ts'
import { decodeSetUserdata, setUserdata, typeAttributes, VERDICT_TYPE } from './set-messages.ts'
import { type SetTypes, sizeOf } from './set-values.ts'
import type { TableRef } from './table.ts'

/** What names a set or a map. */
export interface SetRef extends TableRef {
  readonly set: string
}

export interface SetOptions extends SetRef {
  /** nft's type of the keys; several for a concatenation: `['ipv4_addr', 'inet_service']`. */
  readonly key: DataTypeName | readonly DataTypeName[]
  /** Makes it a map: the type of its values, several for a concatenation, or `verdict`. */
  readonly value?: DataTypeName | readonly DataTypeName[] | 'verdict' | undefined
  /** `flags interval`: keys may be prefixes and ranges. Default false. */
  readonly interval?: boolean | undefined
  /** `auto-merge`: nft joins ranges that touch. The kernel refuses ranges that overlap either way. */
  readonly autoMerge?: boolean | undefined
  /** `flags timeout`: elements may have one. Default: true when `timeout` is given. */
  readonly timeouts?: boolean | undefined
  /** Milliseconds that elements live which do not say otherwise. */
  readonly timeout?: number | undefined
  /** `flags constant`: no changes after its transaction. */
  readonly constant?: boolean | undefined
  /** `flags dynamic`: rules add elements. */
  readonly dynamic?: boolean | undefined
  /** `size N`: at most so many elements. */
  readonly size?: number | undefined
  /** `counter`: every element counts. */
  readonly counter?: boolean | undefined
  /** At most 128 bytes. */
  readonly comment?: string | undefined
}

const typesFor = (names: DataTypeName | readonly DataTypeName[]): DataType[] =>
  (Array.isArray(names) ? (names as readonly DataTypeName[]) : [names as DataTypeName]).map((name) => {
    if (!Object.hasOwn(dataTypes, name)) throw new RangeError(`there is no type ${JSON.stringify(name)}`)
    return dataTypes[name]
  })

/** The types of a set from their names. @throws RangeError for a name that is none */
export const setTypes = ({
  key,
  value,
  interval,
}: Pick<SetOptions, 'key' | 'value' | 'interval'>): SetTypes => ({
  key: typesFor(key),
  ...(value !== undefined && { data: value === 'verdict' ? value : typesFor(value) }),
  interval: interval ?? false,
})

const kind = ({ value }: { value?: unknown }): string => (value === undefined ? 'set' : 'map')

const add = (verb: 'add' | 'create', options: SetOptions): Operation => {
  const { family, table, set, timeout, size, comment, autoMerge, counter } = options
  const types = setTypes(options)
  const flags =
    (options.constant ? SET_F.constant : 0) |
    ((options.timeouts ?? timeout !== undefined) ? SET_F.timeout : 0) |
    (options.dynamic ? SET_F.dynamic : 0)
  const op = `${verb} ${kind(options)} ${family} ${table} ${set}`
  const { description, ...fixed } = typeAttributes(types, flags, size)
  return {
    op,
    messages: (nextId) =>
      operation(setLayout, {
        op,
        type: NFT_MSG.newSet,
        flags: verbFlags[verb],
        family,
        attributes: {
          table,
          set,
          ...fixed,
          id: nextId(),
          ...(Object.keys(description).length > 0 && { description }),
          ...(timeout !== undefined && { timeout: BigInt(Math.round(timeout)) }),
          userdata: setUserdata(types, comment, autoMerge),
          ...(counter && { expr: { kind: 'counter', data: {} } as const }),
        },
      }).messages(nextId),
  }
}

/**
 * `nft add set FAMILY TABLE NAME { type TYPE; … }`, `nft add map …` with `value`. One that exists already stays; EEXIST
 * when it is there with other types or flags.
 */
export const addSet = (options: SetOptions): Operation => add('add', options)

/** `nft create set FAMILY TABLE NAME { … }`: EEXIST when it is there. */
export const createSet = (options: SetOptions): Operation => add('create', options)

/** `nft delete set FAMILY TABLE NAME`. ENOENT when it is not there, EBUSY while a rule uses it. */
export const deleteSet = ({ family, table, set }: SetRef): Operation =>
  operation(setLayout, {
    op: `delete set ${family} ${table} ${set}`,
    type: NFT_MSG.delSet,
    family,
    attributes: { table, set },
  })

/** A set or map as the kernel lists it. */
export interface NfSet extends SetRef {
  readonly handle: bigint
  /** Undefined where the number of its type is unknown here, or says something else than its length. */
  readonly types: SetTypes | undefined
  readonly anonymous: boolean
  readonly constant: boolean
  readonly interval: boolean
  readonly map: boolean
  readonly timeouts: boolean
  readonly dynamic: boolean
  /** Milliseconds. */
  readonly timeout: number | undefined
  readonly size: number | undefined
  readonly comment: string | undefined
}

const typesIn = ({
  keyType = 0,
  keyLen,
  dataType,
  dataLen,
  flags = 0,
}: NfMessage<typeof setLayout>['attributes']): SetTypes | undefined => {
  const interval = (flags & SET_F.interval) !== 0
  const key = typesOfId(keyType)
  if (!key || sizeOf(key) !== keyLen) return undefined
  if (!(flags & SET_F.map)) return { key, interval }
  if (dataType === VERDICT_TYPE) return { key, data: 'verdict', interval }
  const data = dataType === undefined ? undefined : typesOfId(dataType)
  return data && sizeOf(data) === dataLen ? { key, data, interval } : undefined
}

const toSet = ({ family, attributes }: NfMessage<typeof setLayout>): NfSet | undefined => {
  const name = familyName(family)
  const { table, set, flags = 0, timeout, description } = attributes
  if (name === undefined || table === undefined || set === undefined) return undefined
  const has = (bit: number): boolean => (flags & bit) !== 0
  return {
    family: name,
    table,
    set,
    handle: attributes.handle ?? 0n,
    types: typesIn(attributes),
    anonymous: has(SET_F.anonymous),
    constant: has(SET_F.constant),
    interval: has(SET_F.interval),
    map: has(SET_F.map),
    timeouts: has(SET_F.timeout),
    dynamic: has(SET_F.dynamic),
    timeout: timeout === undefined ? undefined : Number(timeout),
    size: description?.size,
    comment: decodeSetUserdata(attributes.userdata).comment,
  }
}

/** `nft list sets` and `nft list maps`, without the elements. ENOENT where the table is missing. */
export const listSets = (filter: { family?: Family; table?: string } = {}): Request<NfSet[]> =>
  dump(
    setLayout,
    {
      op: ['list sets', filter.family, filter.table].filter(Boolean).join(' '),
      type: NFT_MSG.getSet,
      header: familyHeader(filter.family),
      attributes: { table: filter.table },
    },
    toSet,
  )

/** One set, without its elements. ENOENT when it or its table is not there. */
export const getSet = ({ family, table, set }: SetRef): Request<NfSet> => {
  const op = `list set ${family} ${table} ${set}`
  return get(
    setLayout,
    { op, type: NFT_MSG.getSet, header: familyHeader(family), attributes: { table, set } },
    (message) => {
      const found = toSet(message)
      if (!found) throw new Error(`${op}: the kernel answered with another object`)
      return found
    },
  )
}
