import { endianness } from 'node:os'

/** Netlink speaks the machine's byte order, except where an attribute says otherwise. */
export const littleEndian = endianness() === 'LE'

/** NLMSG_ALIGN and NLA_ALIGN are the same: 4 bytes. */
export const align = (length: number): number => (length + 3) & ~3

/** What writers begin with is cut from a larger piece, each part for one of them: an allocation costs more than it. */
const SLAB = 64 << 10
let slab = new ArrayBuffer(0)
let taken = 0

const renew = (least: number): number => {
  slab = new ArrayBuffer(Math.max(SLAB, least))
  return 0
}

/** A growing buffer that netlink messages are written into, one after the other. */
export class Writer {
  bytes: Uint8Array
  view: DataView
  /** Bytes written so far; always aligned between attributes. */
  length = 0
  /** Where tracing is on: the path of each attribute by its offset. Errors of the kernel point at offsets. */
  readonly trace: { readonly offset: number; readonly path: string }[] | undefined
  readonly #path: string[] = []

  /** @param size bytes to begin with: most requests have a few hundred */
  constructor(size = 1024, trace = false) {
    const offset = size <= slab.byteLength - taken ? taken : renew(size)
    taken = offset + size
    this.bytes = new Uint8Array(slab, offset, size)
    this.view = new DataView(slab, offset, size)
    this.trace = trace ? [] : undefined
  }

  /** Makes room for `count` bytes and returns the offset where they start. They are zero. */
  reserve(count: number): number {
    const start = this.length
    const end = start + count
    if (end > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.bytes.length * 2, end + 4096))
      grown.set(this.bytes.subarray(0, start))
      this.bytes = grown
      this.view = new DataView(grown.buffer)
    }
    this.length = end
    return start
  }

  // Room first, view after: reserve() may put a new buffer in place of the old one.
  u8(value: number): void {
    const offset = this.reserve(1)
    this.view.setUint8(offset, value)
  }
  u16(value: number): void {
    const offset = this.reserve(2)
    this.view.setUint16(offset, value, littleEndian)
  }
  u32(value: number): void {
    const offset = this.reserve(4)
    this.view.setUint32(offset, value, littleEndian)
  }
  put(bytes: Uint8Array): void {
    const offset = this.reserve(bytes.length)
    this.bytes.set(bytes, offset)
  }
  pad(): void {
    this.reserve(align(this.length) - this.length)
  }

  /**
   * Begins an attribute (`struct nlattr`): what is written next is its payload. `name` is for errors.
   * @returns what {@link close} is to be told
   */
  open(name: string): number {
    const start = this.reserve(4)
    if (this.trace) {
      this.#path.push(name)
      this.trace.push({ offset: start, path: this.#path.join('.') })
    }
    return start
  }

  /** Ends the attribute that was opened last. @throws RangeError for one that is too long for its header */
  close(start: number, type: number, name: string): void {
    const length = this.length - start
    if (length > 0xffff) throw new RangeError(`attribute ${name} is ${length} bytes long, the limit is 65535`)
    this.view.setUint16(start, length, littleEndian)
    this.view.setUint16(start + 2, type, littleEndian)
    this.pad()
    if (this.trace) this.#path.pop()
  }

  /** What has been written. A view: valid until the next write. */
  finish(): Uint8Array {
    return this.bytes.subarray(0, this.length)
  }
}
