/**
 * Numbers of Go's encoding/gob. An unsigned number below 128 is a byte; a larger one is the negated count of its bytes
 * and then these, most significant first. A signed number is an unsigned one whose lowest bit says to flip the rest.
 */
import type { Writer } from '../../../netlink/codec/writer.ts'

/** What a peer sent is no gob, or none that is taken here. */
export class GobError extends Error {
  override readonly name = 'GobError'
}

const SMALL = 0x7f
/** Bytes of the longest number. */
const MAX_BYTES = 8

/** @throws RangeError for what does not fit 64 bits */
export const putUint = (writer: Writer, value: bigint): void => {
  if (value < 0n || value >= 1n << 64n) throw new RangeError(`${value} is no unsigned number of 64 bits`)
  if (value <= SMALL) {
    writer.u8(Number(value))
    return
  }
  let count = 1
  while (value >> BigInt(8 * count) > 0n) count++
  writer.u8(256 - count)
  for (let i = count - 1; i >= 0; i--) writer.u8(Number((value >> BigInt(8 * i)) & 0xffn))
}

/** @throws RangeError for what does not fit 64 bits */
export const putInt = (writer: Writer, value: bigint): void =>
  putUint(writer, value < 0n ? (~value << 1n) | 1n : value << 1n)

/** Length and bytes: how strings and byte slices are sent. */
export const putBytes = (writer: Writer, bytes: Uint8Array): void => {
  putUint(writer, BigInt(bytes.length))
  writer.put(bytes)
}

/** How many bytes a number takes that begins with `first`. */
export const sizeOfUint = (first: number): number => {
  const count = first <= SMALL ? 0 : 256 - first
  if (count > MAX_BYTES) throw new GobError(`a number of ${count} bytes`)
  return 1 + count
}

/** Reads within given bytes; whatever would go beyond them is a {@link GobError}. */
export class GobBytes {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** How many are not read yet. */
  get left(): number {
    return this.#bytes.length - this.#at
  }

  take(length: number): Uint8Array {
    if (length > this.left) throw new GobError(`a message ends ${length - this.left} bytes too early`)
    const start = this.#at
    this.#at += length
    return this.#bytes.subarray(start, this.#at)
  }

  uint(): bigint {
    const first = this.take(1)[0]!
    if (first <= SMALL) return BigInt(first)
    let value = 0n
    for (const byte of this.take(sizeOfUint(first) - 1)) value = (value << 8n) | BigInt(byte)
    return value
  }

  int(): bigint {
    const value = this.uint()
    return value & 1n ? ~(value >> 1n) : value >> 1n
  }

  /** A number of things of which each takes at least a byte, so that no more can be announced than have come. */
  count(): number {
    const count = this.uint()
    if (count > BigInt(this.left)) throw new GobError(`${count} elements announced in ${this.left} bytes`)
    return Number(count)
  }

  bytes(): Uint8Array {
    return this.take(this.count())
  }
}
