/** Codecs that give numbers of the kernel a name: enumerations, sets of flags, small structs. */
import { MalformedError } from './reader.ts'
import { type Field, type StructValue, struct } from './table.ts'
import type { Codec } from './types.ts'

/** Names and their numbers. */
export type Names = Readonly<Record<string, number>>

/** A name, or the number itself where it has no name here. */
export type Choice<N extends Names> = (keyof N & string) | number

/** Names to numbers and back. Numbers without a name stay numbers in both directions. */
export interface Chooser<N extends Names> {
  readonly names: N
  /** @throws RangeError for a name that is none */
  toNumber(value: Choice<N>): number
  fromNumber(value: number): Choice<N>
}

/** Where two names have one number, the first is the one that is printed. */
export const chooser = <const N extends Names>(names: N): Chooser<N> => {
  const byNumber = new Map<number, keyof N & string>()
  for (const [name, number] of Object.entries(names)) if (!byNumber.has(number)) byNumber.set(number, name)
  return {
    names,
    toNumber(value) {
      if (typeof value === 'number') return value
      const number = Object.hasOwn(names, value) ? names[value] : undefined
      if (number === undefined)
        throw new RangeError(`${JSON.stringify(value)} is none of ${Object.keys(names).join(', ')}`)
      return number
    },
    fromNumber: (value) => byNumber.get(value) ?? value,
  }
}

/** An enumeration on top of an integer. */
export const choice = <const N extends Names>(number: Codec<number>, names: N): Codec<Choice<N>> => {
  const { toNumber, fromNumber } = chooser(names)
  return {
    write: (writer, value) => number.write(writer, toNumber(value)),
    read: (payload) => fromNumber(number.read(payload)),
  }
}

/** A set of flags: those that are set are `true`. */
export type Flags<N extends Names> = { -readonly [K in keyof N]?: boolean | undefined }

/** The number a set of flags makes. @throws RangeError for an unknown flag */
export const packFlags = <N extends Names>(names: N, flags: Flags<N>): number => {
  let value = 0
  for (const name in flags) {
    const bit = Object.hasOwn(names, name) ? names[name] : undefined
    if (bit === undefined)
      throw new RangeError(`${JSON.stringify(name)} is none of ${Object.keys(names).join(', ')}`)
    if (flags[name]) value |= bit
  }
  return value >>> 0
}

/** Every flag of `names`, true or false. */
export const unpackFlags = <N extends Names>(
  names: N,
  value: number,
): { -readonly [K in keyof N]: boolean } => {
  // All names at once: one by one it takes V8 several times as long.
  const flags: Record<string, number | boolean> = { ...names }
  for (const name in names) flags[name] = (value & names[name]!) !== 0
  return flags as { -readonly [K in keyof N]: boolean }
}

/** A set of flags on top of an integer. Bits without a name are not kept. */
export const bits = <const N extends Names>(number: Codec<number>, names: N): Codec<Flags<N>> => ({
  write: (writer, value) => number.write(writer, packFlags(names, value)),
  read: (payload) => unpackFlags(names, number.read(payload)),
})

/** The u32 pair {value, mask} with which a few attributes change single flags: those not named stay as they are. */
export const maskedBits = <const N extends Names>(names: N): Codec<Flags<N>> => ({
  write(writer, value) {
    const mask: Record<string, boolean> = {}
    for (const name in value) if (value[name] !== undefined) mask[name] = true
    writer.u32(packFlags(names, value))
    writer.u32(packFlags<Names>(names, mask))
  },
  read(payload) {
    const value = payload.u32(0)
    const mask = payload.u32(4)
    const flags: Record<string, boolean> = {}
    for (const name in names) if (mask & names[name]!) flags[name] = (value & names[name]!) !== 0
    return flags as Flags<N>
  },
})

/** The fields of a packed struct. */
export type Packed<F> = { -readonly [K in keyof StructValue<F>]-?: number }

/** A C struct as an attribute's payload. */
export const packed = <const F extends Readonly<Record<string, Field>>>(fields: F): Codec<Packed<F>> => {
  const layout = struct(fields)
  return {
    write: (writer, value) => layout.write(writer, value as unknown as StructValue<F>),
    read: (payload) => layout.read(payload) as Packed<F>,
  }
}

/** `struct ifla_bridge_id`: priority and MAC address, in the form of sysfs: `8000.001122334455`. */
export const bridgeId: Codec<string> = {
  write(writer, value) {
    const match = /^([0-9a-f]{4})\.([0-9a-f]{12})$/i.exec(value)
    if (!match) throw new RangeError(`${JSON.stringify(value)} is not a bridge id such as 8000.001122334455`)
    writer.put(Buffer.from(match[1]! + match[2]!, 'hex'))
  },
  read(payload) {
    if (payload.length < 8) throw new MalformedError(`a bridge id of ${payload.length} bytes`)
    const hex = Buffer.from(payload.bytes.subarray(0, 8)).toString('hex')
    return `${hex.slice(0, 4)}.${hex.slice(4)}`
  },
}
