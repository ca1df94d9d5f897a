/**
 * Tables of DHCPv6 options (RFC 8415 section 21.1): one row an option. A table is the encoder, the decoder and the
 * TypeScript type at once, and the type of an option that holds options.
 *
 *   code 2 │ length 2 │ value, not padded
 */
import type { OptionType } from '../v4/option-types.ts'

/** The code, what the value is, and `'multi'` where a message may have several. */
export type Row = readonly [code: number, type: OptionType<unknown>, times?: 'multi']
export type Rows = Readonly<Record<string, Row>>

/** An option as it came: without a row in the table, malformed, or there once more though it may be there once only. */
export interface OtherOption {
  readonly code: number
  readonly value: Uint8Array
}

type Read<O> = O extends OptionType<infer T> ? Readonly<T> : never
type RowValue<R> = R extends readonly [number, infer O, 'multi']
  ? readonly Read<O>[]
  : R extends readonly [number, infer O]
    ? Read<O>
    : never

/** The values of a table by name, and what else there was. */
export type OptionValues<T extends Rows> = { readonly [N in keyof T]?: RowValue<T[N]> | undefined } & {
  readonly others?: readonly OtherOption[] | undefined
}

const HEADER = 4
const MAX_CODE = 0xffff
const MAX_LENGTH = 0xffff

const concat = (parts: readonly Uint8Array[]): Uint8Array => {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

const encodeOption = (code: number, value: Uint8Array): Uint8Array => {
  if (!Number.isInteger(code) || code < 0 || code > MAX_CODE)
    throw new RangeError(`${code} is not an option code`)
  if (value.length > MAX_LENGTH)
    throw new RangeError(`option ${code} is ${value.length} bytes long, the limit is ${MAX_LENGTH}`)
  const header = Uint8Array.of(code >> 8, code & 0xff, value.length >> 8, value.length & 0xff)
  return concat([header, value])
}

/** Splits a field into its options, in their order; undefined where one reaches past the field. Values are copies. */
const split = (bytes: Uint8Array): OtherOption[] | undefined => {
  const options: OtherOption[] = []
  for (let at = 0; at < bytes.length; ) {
    if (at + HEADER > bytes.length) return undefined
    const code = (bytes[at]! << 8) | bytes[at + 1]!
    const start = at + HEADER
    const end = start + ((bytes[at + 2]! << 8) | bytes[at + 3]!)
    if (end > bytes.length) return undefined
    options.push({ code, value: bytes.slice(start, end) })
    at = end
  }
  return options
}

/** A table; as an option's type it is a field of options. */
export interface OptionTable<T extends Rows> extends OptionType<OptionValues<T>> {
  /** By name: for an Option Request option. */
  readonly codes: { readonly [N in keyof T]: T[N][0] }
}

/**
 * Makes a table. It writes options in the order of the object's keys, and throws RangeError for a value that an option
 * can't have. Reading is undefined only where the field can't be split. A malformed value is among `others`, as if the
 * table had no row for it: one bad list of names is no reason to go without an address.
 */
export const optionTable = <const T extends Rows>(rows: T): OptionTable<T> => {
  const byCode = new Map(
    Object.entries(rows).map(([name, [code, type, times]]) => [code, { name, type, times }]),
  )
  return {
    codes: Object.fromEntries(Object.entries(rows).map(([name, [code]]) => [name, code])) as {
      readonly [N in keyof T]: T[N][0]
    },
    write(values) {
      const parts: Uint8Array[] = []
      for (const [name, value] of Object.entries(values)) {
        if (value === undefined) continue
        if (name === 'others') {
          for (const other of value as readonly OtherOption[])
            parts.push(encodeOption(other.code, other.value))
          continue
        }
        const row = Object.hasOwn(rows, name) ? rows[name] : undefined
        if (!row) throw new RangeError(`no option is called ${JSON.stringify(name)}`)
        const [code, type, times] = row
        const elements = times === 'multi' ? (value as readonly unknown[]) : [value]
        for (const element of elements) parts.push(encodeOption(code, type.write(element as object)))
      }
      return concat(parts)
    },
    read(bytes) {
      const values: Record<string, unknown> = {}
      const others: OtherOption[] = []
      const options = split(bytes)
      if (!options) return undefined
      for (const option of options) {
        const row = byCode.get(option.code)
        const value = row?.type.read(option.value)
        if (!row || value === undefined) others.push(option)
        else if (row.times === 'multi') {
          const before = (values[row.name] as unknown[] | undefined) ?? []
          before.push(value)
          values[row.name] = before
        } else if (values[row.name] === undefined) values[row.name] = value
        else others.push(option)
      }
      if (others.length > 0) values.others = others
      return values as OptionValues<T>
    },
  }
}

/** Fields of a fixed size in bytes, in their order. */
type Fields = Readonly<Record<string, readonly [size: number, type: OptionType<unknown>]>>
type FieldValues<F extends Fields> = { readonly [N in keyof F]: Read<F[N][1]> }

/** An option of fixed fields that options follow. */
export const container = <const F extends Fields, const T extends Rows>(
  fields: F,
  options: OptionTable<T>,
): OptionType<FieldValues<F> & OptionValues<T>> => {
  const layout = Object.entries(fields)
  return {
    write(values) {
      const { ...rest } = values as Record<string, unknown>
      const parts = layout.map(([name, [, type]]) => {
        const part = type.write(rest[name] as object)
        delete rest[name]
        return part
      })
      return concat([...parts, options.write(rest as OptionValues<T>)])
    },
    read(bytes) {
      const values: Record<string, unknown> = {}
      let at = 0
      for (const [name, [size, type]] of layout) {
        values[name] = type.read(bytes.subarray(at, at + size))
        if (values[name] === undefined) return undefined
        at += size
      }
      const rest = options.read(bytes.subarray(at))
      return rest && ({ ...values, ...rest } as FieldValues<F> & OptionValues<T>)
    },
  }
}
