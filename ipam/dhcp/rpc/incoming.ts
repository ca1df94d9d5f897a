import type { Duplex } from 'node:stream'
import { ByteQueue } from './byte-queue.ts'

/** The peer broke the rules of what it said it speaks. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
}

/** The connection ended where more was to come. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost'

  constructor(cause?: unknown) {
    super('connection lost', cause === undefined ? undefined : { cause })
  }
}

/** Bytes of a greeting with all its headers. */
const MAX_HEAD = 4096
const LF = 0x0a
const CR = 0x0d

/** Where a head ends: behind its empty line; -1 where that has not come. */
const endOfHead = (bytes: Uint8Array): number => {
  for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) {
    const next = bytes[at + 1] === CR ? at + 2 : at + 1
    if (bytes[next] === LF) return next + 1
  }
  return -1
}

/** What a stream brings, read by whoever needs more of it: nothing is read ahead of need. */
export class Incoming {
  readonly queue = new ByteQueue()
  readonly #chunks: AsyncIterator<Uint8Array>

  constructor(stream: Duplex) {
    // An error is thrown by `more`; one that comes while nobody reads must not end the process.
    stream.on('error', () => {})
    this.#chunks = stream.iterator({ destroyOnReturn: false }) as AsyncIterator<Uint8Array>
  }

  /** Waits for more bytes. @returns false at the end of the stream @throws ConnectionLost where it broke */
  async more(): Promise<boolean> {
    try {
      const { done, value } = await this.#chunks.next()
      if (!done) this.queue.push(value)
      return !done
    } catch (error) {
      throw new ConnectionLost(error)
    }
  }

  /**
   * The first line of an HTTP head and nothing of what follows, up to its empty line.
   * @returns undefined where the stream ends before
   * @throws ProtocolError for a head that is too long, ConnectionLost
   */
  async head(): Promise<string | undefined> {
    for (;;) {
      const bytes = this.queue.peek()
      const end = endOfHead(bytes.subarray(0, MAX_HEAD))
      if (end >= 0) return new TextDecoder('latin1').decode(this.queue.take(end)).split(/\r?\n/, 1)[0]!
      if (bytes.length >= MAX_HEAD) throw new ProtocolError(`a greeting has at most ${MAX_HEAD} bytes`)
      if (!(await this.more())) return undefined
    }
  }
}
