/**
 * The part of Go's encoding/gob (documentation of the package, "Encoding Details") that net/rpc with structs needs. A
 * stream is a row of messages, each its length and then either a type's definition (negative number) or a value headed
 * by its type's number. The decoder honours whatever definitions the peer sends; interfaces and complex numbers are
 * refused.
 */
import { Writer } from '../../../netlink/codec/writer.ts'
import type { ByteQueue } from './byte-queue.ts'
import { GobBytes, GobError, putInt, putUint, sizeOfUint } from './gob-bytes.ts'
import { definitionOf, FIRST_DEFINED, shapeOf, wireType } from './gob-definitions.ts'
import { builtIn, type GobShape, GobStruct, type GobType, type GobValue } from './gob-types.ts'

export { GobError } from './gob-bytes.ts'
export * from './gob-types.ts'

/** Bytes of a message with a value: room for the largest configuration (1 MiB) and what goes with it. */
export const MAX_MESSAGE = 5 << 18
/** Bytes of a message that defines a type; Go's own of the DHCP messages have less than 200. */
const MAX_DEFINITION = 1 << 12
const MAX_TYPES = 64
const MAX_DEPTH = 32
/** Values in a message, all that are inside of others included. */
const MAX_VALUES = 1 << 16

const known = (type: GobType<unknown>, shapes: Map<number, GobShape>): Map<number, GobShape> => {
  shapes.set(type.id, type.shape)
  for (const inner of type.inner) if (!shapes.has(inner.id)) known(inner, shapes)
  return shapes
}

/** Types that need no definition. */
const predefined = (): Map<number, GobShape> => {
  const shapes = new Map<number, GobShape>()
  for (const [kind, id] of Object.entries(builtIn)) shapes.set(id, { kind: kind as keyof typeof builtIn })
  return known(wireType, shapes)
}

/** Reads what one peer sends; it remembers the peer's types. After a {@link GobError} of the framing it is of no use. */
export class GobDecoder {
  readonly #shapes = predefined()
  readonly #most = this.#shapes.size + MAX_TYPES
  #values = 0

  /**
   * Takes the next value off the queue.
   * @returns undefined where it has not come completely
   * @throws GobError
   */
  take(queue: ByteQueue): GobValue | undefined {
    for (;;) {
      const message = takeMessage(queue)
      if (!message) return undefined
      const value = this.message(message)
      if (value !== undefined) return value
    }
  }

  /** Reads one message without its length. @returns undefined for a definition @throws GobError */
  message(message: Uint8Array): GobValue | undefined {
    const bytes = new GobBytes(message)
    const id = bytes.int()
    this.#values = MAX_VALUES
    const value = id < 0n ? this.#define(bytes, -id) : this.#top(bytes, number(id))
    if (bytes.left > 0) throw new GobError(`${bytes.left} bytes too many in a message`)
    return value
  }

  #define(bytes: GobBytes, id: bigint): undefined {
    if (bytes.left > MAX_DEFINITION) throw new GobError('the definition of a type is too long')
    const type = number(id)
    if (type < FIRST_DEFINED || this.#shapes.has(type)) throw new GobError(`type ${type} is defined twice`)
    if (this.#shapes.size >= this.#most) throw new GobError(`more than ${MAX_TYPES} types`)
    this.#shapes.set(type, shapeOf(wireType.from(this.#value(bytes, wireType.id, 0))))
  }

  #top(bytes: GobBytes, type: number): GobValue {
    // What is no struct is sent as the only field of one, without the end.
    if (this.#shapes.get(type)?.kind !== 'struct' && bytes.uint() !== 0n)
      throw new GobError('a value that is no struct begins with a zero')
    return this.#value(bytes, type, 0)
  }

  #value(bytes: GobBytes, type: number, depth: number): GobValue {
    const shape = this.#shapes.get(type)
    if (!shape) throw new GobError(`type ${type} is not defined`)
    if (depth > MAX_DEPTH) throw new GobError(`values more than ${MAX_DEPTH} deep`)
    if (--this.#values < 0) throw new GobError(`more than ${MAX_VALUES} values in a message`)
    const inner = (of: number): GobValue => this.#value(bytes, of, depth + 1)
    switch (shape.kind) {
      case 'bool':
        return bytes.uint() !== 0n
      case 'int':
        return bytes.int()
      case 'uint':
        return bytes.uint()
      case 'float':
        return float(bytes.uint())
      case 'bytes':
        return bytes.bytes()
      case 'string':
        return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.bytes())
      case 'slice':
      case 'array': {
        const count = bytes.count()
        if (shape.kind === 'array' && count !== shape.length)
          throw new GobError(`${count} elements of an array of ${shape.length}`)
        const items: GobValue[] = []
        for (let i = 0; i < count; i++) items.push(inner(shape.element))
        return items
      }
      case 'map': {
        const entries = new Map<GobValue, GobValue>()
        for (let left = bytes.count(); left > 0; left--) entries.set(inner(shape.key), inner(shape.element))
        return entries
      }
      case 'struct': {
        const fields = new Map<string, GobValue>()
        let last = -1
        for (let delta = bytes.uint(); delta !== 0n; delta = bytes.uint()) {
          last += number(delta)
          const field = shape.fields[last]
          if (!field) throw new GobError(`field ${last} of a struct of ${shape.fields.length}`)
          fields.set(field.name, inner(field.type))
        }
        return new GobStruct(fields)
      }
      default:
        throw new GobError(`a value of type ${shape.kind} is not taken here`)
    }
  }
}

const number = (value: bigint): number => {
  if (value > Number.MAX_SAFE_INTEGER) throw new GobError(`${value} is too large`)
  return Number(value)
}

/** The bits of a float64 are sent with their bytes in reverse, because mantissas tend to end in zeros. */
const float = (bits: bigint): number => {
  const view = new DataView(new ArrayBuffer(8))
  view.setBigUint64(0, bits, true)
  return view.getFloat64(0)
}

/** The next message without its length. */
const takeMessage = (queue: ByteQueue): Uint8Array | undefined => {
  const bytes = queue.peek()
  if (bytes.length === 0) return undefined
  const size = sizeOfUint(bytes[0]!)
  if (bytes.length < size) return undefined
  const length = new GobBytes(bytes.subarray(0, size)).uint()
  if (length === 0n || length > MAX_MESSAGE) throw new GobError(`a message of ${length} bytes`)
  if (bytes.length < size + Number(length)) return undefined
  queue.take(size)
  return queue.take(Number(length))
}

/** A value and the type that it is sent as. */
export interface GobItem {
  readonly type: GobType<unknown>
  readonly value: unknown
}

export const item = <T>(type: GobType<T>, value: T): GobItem => ({ type, value })

/** Writes what one peer is to read; it remembers which types it has defined. */
export class GobEncoder {
  readonly #defined = new Set<number>()

  /**
   * Messages of structs, each after definitions of the types in it that the peer does not know yet.
   * @throws RangeError for a value that its type can't hold; the encoder is then as it was
   */
  encode(...items: readonly GobItem[]): Uint8Array {
    // All that may fail comes before anything that is remembered.
    const bodies = items.map(({ type, value }) => {
      const body = new Writer(256)
      putInt(body, BigInt(type.id))
      type.put(body, value)
      return body
    })
    const out = new Writer(512)
    items.forEach(({ type }, i) => {
      this.#define(type, out)
      putMessage(out, bodies[i]!)
    })
    return out.bytes.subarray(0, out.length)
  }

  #define(type: GobType<unknown>, out: Writer): void {
    if (type.id < FIRST_DEFINED || this.#defined.has(type.id)) return
    this.#defined.add(type.id)
    const body = new Writer(256)
    putInt(body, BigInt(-type.id))
    wireType.put(body, definitionOf(type))
    putMessage(out, body)
    for (const inner of type.inner) this.#define(inner, out)
  }
}

const putMessage = (out: Writer, body: Writer): void => {
  putUint(out, BigInt(body.length))
  out.put(body.bytes.subarray(0, body.length))
}
