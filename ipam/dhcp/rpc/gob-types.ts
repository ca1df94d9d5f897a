/**
 * Go types as this side describes them: one description writes a value, reads one that a peer's types gave, and tells
 * the peer what its definition is. Field names are Go's, and matter; names of types do not.
 */
import type { Writer } from '../../../netlink/codec/writer.ts'
import { GobError, putBytes, putInt, putUint } from './gob-bytes.ts'

/** A decoded struct: fields by name, without those that were not sent because they are zero. */
export class GobStruct {
  readonly fields: ReadonlyMap<string, GobValue>

  constructor(fields: ReadonlyMap<string, GobValue>) {
    this.fields = fields
  }
}

/** A decoded value: whole numbers as bigint, floating-point ones as number, maps as Map. */
export type GobValue =
  | boolean
  | bigint
  | number
  | string
  | Uint8Array
  | readonly GobValue[]
  | ReadonlyMap<GobValue, GobValue>
  | GobStruct

/** What a type is made of; types are named by number. */
export type GobShape =
  | { readonly kind: 'bool' | 'int' | 'uint' | 'float' | 'bytes' | 'string' | 'complex' | 'interface' }
  | { readonly kind: 'array'; readonly name: string; readonly element: number; readonly length: number }
  | { readonly kind: 'slice'; readonly name: string; readonly element: number }
  | { readonly kind: 'map'; readonly name: string; readonly key: number; readonly element: number }
  | {
      readonly kind: 'struct'
      readonly name: string
      readonly fields: readonly { readonly name: string; readonly type: number }[]
    }

/** Types that need no definition, by Go's numbers. */
export const builtIn = {
  bool: 1,
  int: 2,
  uint: 3,
  float: 4,
  bytes: 5,
  string: 6,
  complex: 7,
  interface: 8,
} as const

export interface GobType<T> {
  /** Below 64 built in, above it defined by `shape`. */
  readonly id: number
  readonly shape: GobShape
  /** Types of what is inside, to be defined after this one. */
  readonly inner: readonly GobType<unknown>[]
  /** What a field has that is not sent. */
  readonly zero: T
  /** Whether a field with this value is left out. */
  isZero(value: T): boolean
  /** @throws RangeError for what the type can't hold */
  put(writer: Writer, value: T): void
  /** @throws GobError where the value is of another type */
  from(value: GobValue): T
}

/** What a {@link GobType} describes. */
export type Gob<G> = G extends GobType<infer T> ? T : never

const mismatch = (value: GobValue, expected: string): never => {
  const got =
    value instanceof GobStruct
      ? 'struct'
      : value instanceof Uint8Array
        ? 'bytes'
        : Array.isArray(value)
          ? 'slice'
          : typeof value === 'object'
            ? 'map'
            : typeof value
  throw new GobError(`type mismatch: expected ${expected}, got ${got}`)
}

const plain = <T>(
  kind: keyof typeof builtIn,
  type: Pick<GobType<T>, 'zero' | 'isZero' | 'put' | 'from'>,
): GobType<T> => ({ ...type, id: builtIn[kind], shape: { kind }, inner: [] })

/** Of a lone surrogate becomes U+FFFD, of an invalid sequence too. */
export const text: GobType<string> = plain('string', {
  zero: '',
  isZero: (value) => value === '',
  put: (writer, value) => putBytes(writer, new TextEncoder().encode(value)),
  from: (value) => (typeof value === 'string' ? value : mismatch(value, 'string')),
})

export const bytes: GobType<Uint8Array> = plain<Uint8Array>('bytes', {
  zero: new Uint8Array(0),
  isZero: (value) => value.length === 0,
  put: putBytes,
  from: (value) => (value instanceof Uint8Array ? value : mismatch(value, 'bytes')),
})

/** An int as far as JavaScript counts exactly. */
export const int: GobType<number> = plain<number>('int', {
  zero: 0,
  isZero: (value) => value === 0,
  put: (writer, value) => putInt(writer, BigInt(value)),
  from: (value) => {
    if (typeof value !== 'bigint') return mismatch(value, 'int')
    const number = Number(value)
    if (!Number.isSafeInteger(number)) throw new GobError(`${value} is too large`)
    return number
  },
})

/** All 64 bits. */
export const uint: GobType<bigint> = plain<bigint>('uint', {
  zero: 0n,
  isZero: (value) => value === 0n,
  put: putUint,
  from: (value) => (typeof value === 'bigint' && value >= 0n ? value : mismatch(value, 'uint')),
})

/** Go's pointer in a field: nil is absent, and so, on the way, is a pointer to a zero value. */
export const pointer = <T>(to: GobType<T>): GobType<T | undefined> => ({
  ...to,
  zero: undefined,
  isZero: (value) => value === undefined || to.isZero(value),
  put: (writer, value) => to.put(writer, value ?? to.zero),
  from: (value) => to.from(value),
})

export const slice = <T>(id: number, name: string, element: GobType<T>): GobType<readonly T[]> => ({
  id,
  shape: { kind: 'slice', name, element: element.id },
  inner: [element],
  zero: [],
  isZero: ({ length }) => length === 0,
  put: (writer, value) => {
    putUint(writer, BigInt(value.length))
    for (const item of value) element.put(writer, item)
  },
  from: (value) =>
    Array.isArray(value) ? value.map((item: GobValue) => element.from(item)) : mismatch(value, 'slice'),
})

type Fields = Readonly<Record<string, GobType<unknown>>>
type StructOf<F extends Fields> = { readonly [K in keyof F]: Gob<F[K]> }

/** Sent even where all of its fields are zero, and read without minding fields that only one side knows. */
export const struct = <const F extends Fields>(id: number, name: string, fields: F): GobType<StructOf<F>> => {
  const entries = Object.entries(fields)
  const make = (of: (name: string, type: GobType<unknown>) => unknown): StructOf<F> =>
    Object.fromEntries(entries.map(([name, type]) => [name, of(name, type)])) as StructOf<F>
  return {
    id,
    shape: { kind: 'struct', name, fields: entries.map(([name, type]) => ({ name, type: type.id })) },
    inner: entries.map(([, type]) => type),
    zero: make((_, type) => type.zero),
    isZero: () => false,
    put: (writer, value) => {
      let last = -1
      entries.forEach(([name, type], i) => {
        const field = value[name]
        if (type.isZero(field)) return
        putUint(writer, BigInt(i - last))
        type.put(writer, field)
        last = i
      })
      putUint(writer, 0n)
    },
    from: (value) => {
      if (!(value instanceof GobStruct)) return mismatch(value, `struct ${name}`)
      return make((name, type) => {
        const field = value.fields.get(name)
        return field === undefined ? type.zero : type.from(field)
      })
    },
  }
}
