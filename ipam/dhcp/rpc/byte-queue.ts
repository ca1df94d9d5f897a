/** Bytes that have come and are not used up yet. However small the pieces are that they come in, each is copied once. */
export class ByteQueue {
  #bytes: Uint8Array = new Uint8Array(0)
  #start = 0
  #end = 0

  get length(): number {
    return this.#end - this.#start
  }

  /** The queue owns `chunk` from then on. */
  push(chunk: Uint8Array): void {
    if (this.length === 0) {
      this.#bytes = chunk
      this.#start = 0
      this.#end = chunk.length
      return
    }
    const length = this.length + chunk.length
    if (this.#end + chunk.length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(512, length * 2))
      grown.set(this.peek())
      this.#bytes = grown
      this.#end -= this.#start
      this.#start = 0
    }
    this.#bytes.set(chunk, this.#end)
    this.#end += chunk.length
  }

  /** What is there, without taking it; good until the next push. */
  peek(): Uint8Array {
    return this.#bytes.subarray(this.#start, this.#end)
  }

  /** The first `length` bytes, the caller's own. @throws RangeError where there are fewer */
  take(length: number): Uint8Array {
    if (length > this.length) throw new RangeError(`${length} bytes of ${this.length}`)
    // Not `slice`, which gives a Buffer's own memory away.
    const taken = new Uint8Array(this.#bytes.subarray(this.#start, this.#start + length))
    this.#start += length
    return taken
  }
}
