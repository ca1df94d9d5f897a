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

  /** Calls `each` for every attribute from `start` on; type flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER) stripped. */
  eachAttribute(start: number, each: (type: number, payload: Reader) => void): void {
    let offset = start
    while (offset + 4 <= this.length) {
      const length = this.u16(offset)
      if (length < 4 || offset + length > this.length)
        throw new MalformedError(`attribute of length ${length} at offset ${offset} of ${this.length}`)
      each(this.u16(offset + 2) & 0x3fff, this.slice(offset + 4, offset + length))
      offset += align(length)
    }
  }
}
