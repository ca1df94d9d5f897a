/**
 * Which addresses an attachment holds, without reading every reservation: a file `<dataDir>/.linkwright/<network>`, a
 * header and a hash table of owners (owner-table.ts).
 *
 * It is only ever a hint. A Go plugin that works on the same network knows nothing of it, so it counts only as long as
 * nobody else has changed the network's directory: after each change of ours the directory is given a stamp (stamp.ts),
 * which is noted in the header. Whatever makes or removes a reservation takes the stamp away, and a process of ours that
 * is killed half way has not given one. A power loss may leave the directory and this file at different ages, so it
 * counts for one boot. Where it does not count, all reservations are read and it is written anew.
 */
import {
  closeSync,
  constants,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import type { Logger } from '../../cni/plugin.ts'
import { Breather, ioError, isGone } from '../files.ts'
import { isOwner, type Owner } from './names.ts'
import { addressBytes, hashOf, SLOT, Slots, WINDOW } from './owner-table.ts'
import { drawStamp, hasStamp, stamp } from './stamp.ts'

/** Reservations from which an index is made. Below, reading them all takes no longer than keeping it. */
const WORTHWHILE = 8
/** Reservations up to which one that does not count is removed rather than written anew. */
const NOT_WORTH_REPAIR = 4

/** Header: magic (4), capacity (4), stamp (4), nothing (4), boot (16), nothing (32). */
const HEADER = 64
const MAGIC = 0x3158_574c

/** Of the slots that a hash can name. WINDOW more follow, so that no search runs over the end. */
const sizeOf = (capacity: number): number => HEADER + (capacity + WINDOW) * SLOT

let boot: Buffer | undefined
/** Another one after each start of the kernel. */
const bootId = (): Buffer => {
  boot ??= Buffer.from(
    readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').replace(/[^0-9a-f]/g, ''),
    'hex',
  )
  return boot
}

export class OwnerIndex {
  readonly #network: string
  readonly #path: string
  readonly #log: Logger
  #file: number | undefined
  #capacity = 0
  #valid = false
  #changed = false

  /**
   * @param network the directory of the reservations, which must be there
   * @param path of the index, which need not
   * @param write false to look only
   */
  constructor(network: string, path: string, log: Logger, write: boolean) {
    this.#network = network
    this.#path = path
    this.#log = log
    try {
      // Most networks have none, and an exception takes longer than a look.
      if (!existsSync(path)) return
      this.#file = openSync(path, write ? constants.O_RDWR : constants.O_RDONLY)
      this.#valid = this.#readHeader()
    } catch (error) {
      if (!isGone(error)) this.#fail(error)
    }
  }

  /** Whether it counts. */
  get valid(): boolean {
    return this.#valid
  }

  /** It was wrong about something. */
  distrust(): void {
    this.#valid = false
  }

  /** Names of an owner's reservations, or of another one's with the same hash; null where it does not know. */
  get(owner: Owner): string[] | null {
    if (!this.#valid) return null
    const hash = hashOf(owner)
    const found = this.#window(hash.low)?.slots.find(hash, 0) ?? null
    if (!found) this.#valid = false
    return found
  }

  /** Takes in a reservation that was made. */
  add(owner: Owner, name: string): void {
    const hash = hashOf(owner)
    this.#write(hash.low, (slots) => {
      const address = addressBytes(name)
      const slot = address ? slots.findFree(0) : -1
      if (address && slot >= 0) slots.set(slot, hash, address)
      return slot
    })
  }

  /** Takes in a reservation that was removed. */
  remove(owner: Owner, name: string): void {
    const hash = hashOf(owner)
    this.#write(hash.low, (slots) => {
      const slot = slots.findSlot(hash, name, 0)
      if (slot >= 0) slots.clear(slot)
      return slot
    })
  }

  /** To be told before the directory is changed in a way that does not matter here. */
  touch(): void {
    this.#changed = true
  }

  /** Makes it count again after {@link add}, {@link remove} and {@link touch}. */
  commit(): void {
    if (!this.#valid || !this.#changed) return
    try {
      this.#stamp()
    } catch (error) {
      this.#fail(error)
    }
  }

  /**
   * Writes it anew, or takes it away where it is not worth its keep.
   * @param indexable false where these are not all
   */
  async rebuild(owners: ReadonlyMap<Owner, readonly string[]>, indexable: boolean): Promise<void> {
    this.#valid = false
    try {
      if (owners.size <= (this.#file === undefined ? WORTHWHILE : NOT_WORTH_REPAIR)) {
        if (this.#file !== undefined) rmSync(this.#path, { force: true })
        return
      }
      const table = indexable ? await fill(owners) : null
      if (!table) return
      if (this.#file === undefined) {
        mkdirSync(dirname(this.#path), { recursive: true, mode: 0o755 })
        this.#file = openSync(this.#path, constants.O_RDWR | constants.O_CREAT, 0o600)
      }
      this.#capacity = table.length / SLOT - WINDOW
      // The old header may still fit the directory: it must not vouch for half of a new table.
      writeSync(this.#file, Buffer.alloc(HEADER), 0, HEADER, 0)
      writeSync(this.#file, table, 0, table.length, HEADER)
      ftruncateSync(this.#file, sizeOf(this.#capacity))
      this.#stamp()
      this.#valid = true
    } catch (error) {
      this.#fail(error)
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
  }

  /** @throws SystemError */
  #readHeader(): boolean {
    const header = Buffer.alloc(HEADER)
    if (readSync(this.#file!, header, 0, HEADER, 0) < HEADER || header.readUInt32LE(0) !== MAGIC) return false
    this.#capacity = header.readUInt32LE(4)
    return (
      // A power of two, and so what a hash can be cut to.
      this.#capacity > 0 &&
      (this.#capacity & (this.#capacity - 1)) === 0 &&
      hasStamp(statSync(this.#network), header.readUInt32LE(8)) &&
      header.subarray(16, 32).equals(bootId())
    )
  }

  /** The header is written first: if this is where it ends, the directory does not have the new stamp, nor the old. */
  #stamp(): void {
    const seconds = drawStamp()
    const header = Buffer.alloc(HEADER)
    header.writeUInt32LE(MAGIC, 0)
    header.writeUInt32LE(this.#capacity, 4)
    header.writeUInt32LE(seconds, 8)
    header.set(bootId(), 16)
    writeSync(this.#file!, header, 0, HEADER, 0)
    stamp(this.#network, seconds)
    this.#changed = false
  }

  /** The slots that a hash can lead to; null where they can't be read. */
  #window(low: number): { readonly slots: Slots; readonly at: number } | null {
    const at = HEADER + (low & (this.#capacity - 1)) * SLOT
    const bytes = Buffer.allocUnsafe(WINDOW * SLOT)
    try {
      if (readSync(this.#file!, bytes, 0, bytes.length, at) === bytes.length)
        return { slots: new Slots(bytes), at }
      this.#valid = false
    } catch (error) {
      this.#fail(error)
    }
    return null
  }

  /** @param change says which slot it has changed; -1: it could not, and the index is no longer right */
  #write(low: number, change: (slots: Slots) => number): void {
    if (!this.#valid) return
    const window = this.#window(low)
    const slot = window ? change(window.slots) : -1
    if (!window || slot < 0) {
      this.#valid = false
      return
    }
    try {
      writeSync(this.#file!, window.slots.bytes(slot), 0, SLOT, window.at + slot * SLOT)
      this.#changed = true
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Nothing is lost: the next one reads all reservations, and tries again. */
  #fail(error: unknown): void {
    this.#valid = false
    this.#log.debug(`host-local: index not kept: ${ioError(error, this.#path).msg}`)
  }
}

/** The slots for all owners; null where one of their reservations has no place in it. */
const fill = async (owners: ReadonlyMap<Owner, readonly string[]>): Promise<Buffer | null> => {
  let count = 0
  for (const names of owners.values()) count += names.length
  const breather = new Breather()
  let capacity = WINDOW
  // At most a quarter full, so that searches stay short while reservations come and go.
  while (capacity < 4 * count) capacity *= 2
  const bytes = Buffer.alloc((capacity + WINDOW) * SLOT)
  const slots = new Slots(bytes)
  for (const [owner, names] of owners) {
    // What no attachment can be called is never looked for.
    if (!isOwner(owner)) continue
    const hash = hashOf(owner)
    for (const name of names) {
      const address = addressBytes(name)
      const slot = slots.findFree(hash.low & (capacity - 1))
      if (!address || slot < 0) return null
      slots.set(slot, hash, address)
    }
    if (breather.due) await breather.rest()
  }
  return bytes
}
