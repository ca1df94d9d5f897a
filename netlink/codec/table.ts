/**
 * Attribute tables: one row an attribute, `name: [number, codec]`. The table is the encoder, the decoder and the
 * TypeScript type at once, so that a new attribute is one row and a wrong value does not compile.
 */
import type { Reader } from './reader.ts'
import type { Codec, Value } from './types.ts'
import { bytes, flag } from './types.ts'
import { littleEndian as isLittle, type Writer } from './writer.ts'

const NLA_F_NESTED = 0x8000

/** `[attribute number, codec]`, with `'multi'` where the kernel repeats the attribute, once an element. */
export type Row = readonly [number, Codec<unknown>] | readonly [number, Codec<unknown>, 'multi']
export type Rows = Readonly<Record<string, Row>>

/** An attribute that the table has no row for, kept as it came. */
export interface UnknownAttribute {
  readonly type: number
  readonly payload: Uint8Array
}

type RowValue<R> = R extends readonly [number, infer C, 'multi']
  ? readonly Value<C>[]
  : R extends readonly [number, infer C]
    ? Value<C>
    : never

/** The values of a table: every attribute optional, unknown ones kept. */
export type Attributes<T extends Rows> = { -readonly [K in keyof T]?: RowValue<T[K]> | undefined } & {
  unknown?: readonly UnknownAttribute[] | undefined
}

/** A table of attributes, usable as a codec for a nested attribute. */
export interface Table<T extends Rows> extends Codec<Attributes<T>> {
  readonly rows: T
  /** Reads the attributes that follow a fixed header of `start` bytes. */
  readFrom(message: Reader, start: number): Attributes<T>
}

const writeOne = (
  writer: Writer,
  type: number,
  name: string,
  codec: Codec<unknown>,
  value: unknown,
): void => {
  const start = writer.open(name)
  try {
    codec.write(writer, value)
  } catch (error) {
    throw error instanceof RangeError ? new RangeError(`${name}: ${error.message}`) : error
  }
  writer.close(start, codec.nested ? type | NLA_F_NESTED : type, name)
}

const append = (values: Record<string, unknown>, name: string, value: unknown): void => {
  const list = values[name] as unknown[] | undefined
  if (list) list.push(value)
  else values[name] = [value]
}

export interface TableOptions {
  /**
   * A message has most of the attributes. Then what it has not is undefined instead of missing, so that all messages
   * give objects of one shape: adding dozens of names one by one takes V8 ten times as long. Default false.
   */
  readonly dense?: boolean | undefined
  /** Attributes without a row are of no interest, and are not kept. Default false. */
  readonly only?: boolean | undefined
}

/** Makes a table. */
export const table = <const T extends Rows>(
  rows: T,
  { dense = false, only = false }: TableOptions = {},
): Table<T> => {
  const entries = Object.entries(rows)
  const empty = Object.fromEntries(dense ? entries.map(([name]) => [name, undefined]) : [])
  /** By number. */
  const byType: { readonly name: string; readonly codec: Codec<unknown>; readonly multi: boolean }[] = []
  for (const [name, row] of entries) byType[row[0]] = { name, codec: row[1], multi: row[2] === 'multi' }
  const byName = new Map(entries)
  return {
    rows,
    nested: true,
    write(writer, values) {
      // In the order of the caller's keys: a few attributes (nf_tables lists) depend on it.
      for (const name in values) {
        const value = (values as Record<string, unknown>)[name]
        if (value === undefined) continue
        if (name === 'unknown') {
          for (const { type, payload } of value as readonly UnknownAttribute[])
            writeOne(writer, type, `#${type}`, bytes, payload)
          continue
        }
        const row = byName.get(name)
        if (!row) throw new RangeError(`no attribute is called ${JSON.stringify(name)}`)
        const [type, codec, multi] = row
        if (multi)
          for (const element of value as readonly unknown[]) writeOne(writer, type, name, codec, element)
        else if (codec !== flag || value === true) writeOne(writer, type, name, codec, value)
      }
    },
    read(payload) {
      return this.readFrom(payload, 0)
    },
    readFrom(message, start) {
      const values: Record<string, unknown> = { ...empty }
      for (const at = message.attributes(start); at.next(); ) {
        const row = byType[at.type]
        if (!row) {
          if (!only) append(values, 'unknown', { type: at.type, payload: at.payload.bytes.slice() })
        } else if (row.multi) append(values, row.name, row.codec.read(at.payload))
        else values[row.name] = row.codec.read(at.payload)
      }
      return values as Attributes<T>
    },
  }
}

/** A list whose elements are attributes of one type number (`NFTA_LIST_ELEM`, 1, unless told otherwise). */
export const list = <T>(codec: Codec<T>, type = 1): Codec<readonly T[]> => ({
  nested: true,
  write(writer, values) {
    for (const value of values) {
      const start = writer.open('element')
      codec.write(writer, value)
      writer.close(start, codec.nested ? type | NLA_F_NESTED : type, 'element')
    }
  },
  read(payload) {
    const values: T[] = []
    for (const at = payload.attributes(); at.next(); ) values.push(codec.read(at.payload))
    return values
  },
})

/** A kind's name: up to its NUL, one character a byte. */
const latin1 = (payload: Reader): string => {
  let text = ''
  for (let i = 0; i < payload.length; i++) {
    const code = payload.u8(i)
    if (code === 0) break
    text += String.fromCharCode(code)
  }
  return text
}

/** A value whose kind is not registered: its payload as it came. */
export interface UnknownKind {
  readonly kind: string
  readonly data?: undefined
  readonly raw?: Uint8Array | undefined
}
/** A value of a registered kind. */
export type KnownKind<K extends Readonly<Record<string, Codec<unknown>>>> = {
  [N in keyof K & string]: { readonly kind: N; readonly data?: Value<K[N]> | undefined }
}[keyof K & string]
export type Selected<K extends Readonly<Record<string, Codec<unknown>>>> = KnownKind<K> | UnknownKind

/**
 * A pair of attributes of which the first names the layout of the second: IFLA_INFO_KIND and IFLA_INFO_DATA,
 * NFTA_EXPR_NAME and NFTA_EXPR_DATA. Kinds without a codec keep their bytes in `raw`, unless these are of no interest
 * (`only`).
 */
export const selected = <const K extends Readonly<Record<string, Codec<unknown>>>>(
  kindType: number,
  dataType: number,
  kinds: K,
  { only = false }: Pick<TableOptions, 'only'> = {},
): Codec<Selected<K>> => ({
  nested: true,
  write(writer, value) {
    const start = writer.open('kind')
    for (let i = 0; i < value.kind.length; i++) writer.u8(value.kind.charCodeAt(i))
    writer.u8(0)
    writer.close(start, kindType, 'kind')
    const codec = Object.hasOwn(kinds, value.kind) ? kinds[value.kind] : undefined
    const { data } = value
    const raw = 'raw' in value ? value.raw : undefined
    if (!raw && (!codec || data === undefined)) return
    const nest = writer.open('data')
    if (codec && data !== undefined) codec.write(writer, data)
    else if (raw) writer.put(raw)
    writer.close(nest, dataType | NLA_F_NESTED, 'data')
  },
  read(payload) {
    let kind = ''
    let data: Reader | undefined
    for (const at = payload.attributes(); at.next(); )
      if (at.type === kindType) kind = latin1(at.payload)
      else if (at.type === dataType) data = at.payload
    const codec = Object.hasOwn(kinds, kind) ? kinds[kind] : undefined
    if (!data || (only && !codec)) return { kind }
    return (codec ? { kind, data: codec.read(data) } : { kind, raw: data.bytes.slice() }) as Selected<K>
  },
})

export type Field = 'u8' | 'u16' | 'u32' | 's32' | 'be16' | 'be32' | readonly [pad: number]
/** Sizes, ranges and how each is written: DataView itself would cut a number that is too large. */
const integers = {
  u8: { size: 1, min: 0, max: 0xff, set: (view: DataView, at: number, n: number) => view.setUint8(at, n) },
  u16: {
    size: 2,
    min: 0,
    max: 0xffff,
    set: (view: DataView, at: number, n: number) => view.setUint16(at, n, isLittle),
  },
  u32: {
    size: 4,
    min: 0,
    max: 0xffff_ffff,
    set: (view: DataView, at: number, n: number) => view.setUint32(at, n, isLittle),
  },
  s32: {
    size: 4,
    min: -0x8000_0000,
    max: 0x7fff_ffff,
    set: (view: DataView, at: number, n: number) => view.setInt32(at, n, isLittle),
  },
  be16: {
    size: 2,
    min: 0,
    max: 0xffff,
    set: (view: DataView, at: number, n: number) => view.setUint16(at, n, false),
  },
  be32: {
    size: 4,
    min: 0,
    max: 0xffff_ffff,
    set: (view: DataView, at: number, n: number) => view.setUint32(at, n, false),
  },
} as const
export type StructValue<F> = {
  -readonly [K in keyof F as F[K] extends string ? K : never]?: number | undefined
}

/** A fixed C struct: its fields in order, `[n]` for n bytes of padding. Absent values are written as 0. */
export interface Struct<F> {
  readonly size: number
  write(writer: Writer, value: StructValue<F>): void
  read(reader: Reader, start?: number): Required<{ [K in keyof StructValue<F>]: number }>
}

export const struct = <const F extends Readonly<Record<string, Field>>>(fields: F): Struct<F> => {
  let size = 0
  const layout = Object.entries(fields).flatMap(([name, field]) => {
    const at = size
    size += typeof field === 'string' ? integers[field].size : field[0]
    return typeof field === 'string' ? [{ name, field, at, integer: integers[field] }] : []
  })
  return {
    size,
    write(writer, value) {
      const start = writer.reserve(size)
      for (const { name, at, integer } of layout) {
        const number = (value as Record<string, number | undefined>)[name]
        if (number === undefined) continue
        const { min, max } = integer
        if (!Number.isInteger(number) || number < min || number > max)
          throw new RangeError(`${name}: ${number} is not an integer from ${min} to ${max}`)
        integer.set(writer.view, start + at, number)
      }
    },
    read(reader, start = 0) {
      const value: Record<string, number> = {}
      for (const { name, field, at } of layout) value[name] = reader[field](start + at)
      return value as Required<{ [K in keyof StructValue<F>]: number }>
    },
  }
}
