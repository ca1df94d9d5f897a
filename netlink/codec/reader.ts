import { align, littleEndian } from './writer.ts'

/** A message or an attribute that can't be what it claims to be: too short, or reaching past its container. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError'
}

/** A window on received bytes. Nothing is read outside it. */
export class Reader {
  readonly bytes: Uint8Array
  readonly view: DataView

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get length(): number {
    return this.bytes.length
  }

  /** The part from `start` (inclusive) to `end` (exclusive). */
  slice(start: number, end: number = this.length): Reader {
    if (start > end || end > this.length)
      throw new MalformedError(`bytes ${start} to ${end} asked of ${this.length}`)
    return new Reader(this.bytes.subarray(start, end))
  }

  #need(offset: number, count: number): void {
    if (offset + count > this.length)
      throw new MalformedError(`${count} bytes needed at offset ${offset} of ${this.length}`)
  }

  u8(offset = 0): number {
    this.#need(offset, 1)
    return this.view.getUint8(offset)
  }
  u16(offset = 0): number {
    this.#need(offset, 2)
    return this.view.getUint16(offset, littleEndian)
  }
  u32(offset = 0): number {
    this.#need(offset, 4)
    return this.view.getUint32(offset, littleEndian)
  }
  s32(offset = 0): number {
    this.#need(offset, 4)
    return this.view.getInt32(offset, littleEndian)
  }
  u64(offset = 0): bigint {
    this.#need(offset, 8)
    return this.view.getBigUint64(offset, littleEndian)
  }
  be16(offset = 0): number {
    this.#need(offset, 2)
    return this.view.getUint16(offset, false)
  }
  be32(offset = 0): number {
    this.#need(offset, 4)
    return this.view.getUint32(offset, false)
  }
  be64(offset = 0): bigint {
    this.#need(offset, 8)
    return this.view.getBigUint64(offset, false)
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
