/** The slots of the hash table in owner-index.ts: of 32 bytes, open addressing, one slot a reservation. */
import { formatIp, parseIp } from '../../netlink/ip.ts'
import type { Owner } from './names.ts'

/** Bytes of a slot: hash (8), kind (1), nothing (7), address (16). */
export const SLOT = 32
/** Slots in which an owner may be, from the one that its hash names; as many as are read at once. */
export const WINDOW = 128

/** What a slot holds: nothing, nothing any more (and others may follow), or an address of the family. */
const EMPTY = 0
const GONE = 1
type Kind = typeof EMPTY | typeof GONE | 4 | 6

/** 64 bits of an owner, as two numbers. */
export interface Hash {
  readonly high: number
  readonly low: number
}

/** Equal ones are told apart by the content of the reservations. */
export const hashOf = (owner: Owner): Hash => {
  let high = 0x811c9dc5
  let low = 0x9747b28c
  for (let i = 0; i < owner.length; i++) {
    const char = owner.charCodeAt(i)
    high = Math.imul(high ^ char, 0x01000193)
    low = Math.imul(low ^ char, 0x5bd1e995)
    low ^= low >>> 15
  }
  high = Math.imul(high ^ (high >>> 16), 0x85ebca6b)
  return { high: (high ^ (high >>> 13)) >>> 0, low: low >>> 0 }
}

/** Some slots of the table in a row. */
export class Slots {
  readonly #bytes: Buffer

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /**
   * Addresses under a hash, from slot `from` on.
   * @returns null where no empty slot ends the search: the table is too full
   */
  find(hash: Hash, from: number): string[] | null {
    const found: string[] = []
    for (let slot = from; slot < from + WINDOW; slot++) {
      const kind = this.#kind(slot)
      if (kind === EMPTY) return found
      if (kind !== GONE && this.#isOf(slot, hash)) found.push(formatIp(this.#address(slot)))
    }
    return null
  }

  /** The first slot from `from` on that can take an address; -1 where there is none. */
  findFree(from: number): number {
    for (let slot = from; slot < from + WINDOW; slot++) if (this.#kind(slot) <= GONE) return slot
    return -1
  }

  /** The slot that holds this address under a hash; -1 where there is none. */
  findSlot(hash: Hash, address: string, from: number): number {
    for (let slot = from; slot < from + WINDOW; slot++) {
      const kind = this.#kind(slot)
      if (kind === EMPTY) return -1
      if (kind !== GONE && this.#isOf(slot, hash) && formatIp(this.#address(slot)) === address) return slot
    }
    return -1
  }

  set(slot: number, hash: Hash, address: Uint8Array): void {
    const at = slot * SLOT
    this.#bytes.fill(0, at, at + SLOT)
    this.#bytes.writeUInt32LE(hash.high, at)
    this.#bytes.writeUInt32LE(hash.low, at + 4)
    this.#bytes[at + 8] = address.length === 4 ? 4 : 6
    this.#bytes.set(address, at + 16)
  }

  /** Empties a slot; where the next one is not empty, a search has to go on behind it. */
  clear(slot: number): void {
    const at = slot * SLOT
    const last = at + SLOT >= this.#bytes.length
    this.#bytes.fill(0, at, at + SLOT)
    this.#bytes[at + 8] = !last && this.#kind(slot + 1) === EMPTY ? EMPTY : GONE
  }

  /** The bytes of one slot. */
  bytes(slot: number): Buffer {
    return this.#bytes.subarray(slot * SLOT, (slot + 1) * SLOT)
  }

  #kind(slot: number): Kind {
    return this.#bytes[slot * SLOT + 8] as Kind
  }

  #isOf(slot: number, { high, low }: Hash): boolean {
    return this.#bytes.readUInt32LE(slot * SLOT) === high && this.#bytes.readUInt32LE(slot * SLOT + 4) === low
  }

  #address(slot: number): Uint8Array {
    const at = slot * SLOT + 16
    return this.#bytes.subarray(at, at + (this.#kind(slot) === 4 ? 4 : 16))
  }
}

/** An address in the form of a slot; null for a name that is none, or not in the form that {@link Slots} gives back. */
export const addressBytes = (name: string): Uint8Array | null => {
  const bytes = parseIp(name)
  return bytes && formatIp(bytes) === name ? bytes : null
}
