import { align, littleEndian } from './writer.ts'

/** A message or an attribute that can't be what it claims to be: too short, or reaching past its container. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError'
}

/**
 * A window on received bytes. Nothing is read outside it. Windows within a window share its bytes and its view: a link
 * message has hundreds of attributes, and each is a window.
 */
export class Reader {
  readonly length: number
  readonly #source: Uint8Array
  readonly #view: DataView
  /** Where the window begins in the source. */
  readonly #start: number

  constructor(bytes: Uint8Array)
  /** @internal */
  constructor(source: Uint8Array, view: DataView, start: number, length: number)
  constructor(source: Uint8Array, view?: DataView, start = 0, length = source.length) {
    this.#source = source
    this.#view = view ?? new DataView(source.buffer, source.byteOffset, source.byteLength)
    this.#start = start
    this.length = length
  }

  /** The window's bytes; not a copy. */
  get bytes(): Uint8Array {
    return this.#source.subarray(this.#start, this.#start + this.length)
  }

  /** The part from `start` (inclusive) to `end` (exclusive). */
  slice(start: number, end: number = this.length): Reader {
    if (start > end || end > this.length)
      throw new MalformedError(`bytes ${start} to ${end} asked of ${this.length}`)
    return new Reader(this.#source, this.#view, this.#start + start, end - start)
  }

  /** Where `count` bytes at `offset` begin in the source. */
  #at(offset: number, count: number): number {
    if (offset + count > this.length)
      throw new MalformedError(`${count} bytes needed at offset ${offset} of ${this.length}`)
    return this.#start + offset
  }

  u8(offset = 0): number {
    return this.#view.getUint8(this.#at(offset, 1))
  }
  u16(offset = 0): number {
    return this.#view.getUint16(this.#at(offset, 2), littleEndian)
  }
  u32(offset = 0): number {
    return this.#view.getUint32(this.#at(offset, 4), littleEndian)
  }
  s32(offset = 0): number {
    return this.#view.getInt32(this.#at(offset, 4), littleEndian)
  }
  u64(offset = 0): bigint {
    return this.#view.getBigUint64(this.#at(offset, 8), littleEndian)
  }
  be16(offset = 0): number {
    return this.#view.getUint16(this.#at(offset, 2), false)
  }
  be32(offset = 0): number {
    return this.#view.getUint32(this.#at(offset, 4), false)
  }
  be64(offset = 0): bigint {
    return this.#view.getBigUint64(this.#at(offset, 8), false)
  }

  /** A walk over the attributes from `start` on. */
  attributes(start = 0): AttributeWalk {
    return new AttributeWalk(this, start)
  }
}

/** Goes from one attribute to the next: `for (const at = reader.attributes(); at.next(); ) use(at.type, at.payload)`. */
export class AttributeWalk {
  /** Without its flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER). */
  type = 0
  readonly #reader: Reader
  #offset: number
  #length = 0

  constructor(reader: Reader, start: number) {
    this.#reader = reader
    this.#offset = start
  }

  /** False where there is none left. @throws MalformedError for one that reaches out of its container */
  next(): boolean {
    const reader = this.#reader
    const offset = this.#offset + align(this.#length)
    if (offset + 4 > reader.length) return false
    const length = reader.u16(offset)
    if (length < 4 || offset + length > reader.length)
      throw new MalformedError(`attribute of length ${length} at offset ${offset} of ${reader.length}`)
    this.#offset = offset
    this.#length = length
    this.type = reader.u16(offset + 2) & 0x3fff
    return true
  }

  get payload(): Reader {
    return this.#reader.slice(this.#offset + 4, this.#offset + this.#length)
  }
}
