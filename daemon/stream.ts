/** A connected unix stream socket on the addon's epoll thread: what comes, descriptors too, and what goes. */
import { type Binding, binding, type Descriptor, type Watch } from '../native/binding.ts'

const EPOLLIN = 1
const EPOLLOUT = 4
/** MSG_CTRUNC of `sys/socket.h`: descriptors were lost. */
const MSG_CTRUNC = 8
/** Of `sys/socket.h`. */
const SHUT_RD = 0

/** Bytes read at once. */
const CHUNK = 1 << 16
/** Chunks read before others have their turn. */
const MAX_AT_ONCE = 8
/** Milliseconds in which a peer has to take something of what is written to it. */
const STALLED = 30_000

/** What the addon does for a stream. */
export type StreamBinding = Pick<Binding, 'receive' | 'send' | 'shutdown' | 'watch'>

/** Told what comes. */
export interface StreamReader {
  /** Descriptors are the reader's to close. */
  data(bytes: Uint8Array, descriptors: readonly Descriptor[]): void
  /** Nothing comes after: the peer has closed, or the connection is broken, or what came can't be used. Once. */
  end(error: Error | null): void
}

export interface StreamOptions {
  /** Milliseconds in which a peer has to take something of what is written to it. Default 30 000. */
  readonly stalled?: number | undefined
  readonly native?: StreamBinding | undefined
}

/** What could not be written any more. */
interface Pending {
  rest: Uint8Array
  readonly done: () => void
  readonly fail: (error: Error) => void
}

export class Stream {
  readonly #socket: Descriptor
  readonly #reader: StreamReader
  readonly #native: StreamBinding
  readonly #stalled: number
  readonly #pending: Pending[] = []
  #watch: Watch | undefined
  /** What is watched for. */
  #events = 0
  #timer: NodeJS.Timeout | undefined
  #ended = false
  #closed = false

  /** Owns the socket from then on. */
  constructor(socket: Descriptor, reader: StreamReader, options: StreamOptions = {}) {
    this.#socket = socket
    this.#reader = reader
    this.#native = options.native ?? binding()
    this.#stalled = options.stalled ?? STALLED
  }

  /**
   * Begins to read: what has come already is told before this returns. For what comes later it is soon enough when that
   * has been seen to: mostly it is a request, and all there is.
   */
  start(): void {
    this.#read()
    setImmediate(() => this.#listen())
  }

  /** Watches for what is wanted now. A watch has its events for life. */
  #listen(): void {
    const events = this.#closed ? 0 : (this.#ended ? 0 : EPOLLIN) | (this.#pending.length > 0 ? EPOLLOUT : 0)
    if (events === this.#events) return
    this.#watch?.close()
    this.#watch = undefined
    this.#events = events
    if (events === 0) return
    try {
      this.#watch = this.#native.watch(this.#socket, events, (ready) => {
        // Errors and ends of a connection are told whatever was asked for; reading and writing find out what they are.
        if (ready & ~EPOLLOUT) this.#read()
        if (ready & ~EPOLLIN && this.#pending.length > 0) this.#flush()
      })
    } catch (error) {
      this.#end(error as Error)
    }
  }

  #read(): void {
    for (let chunk = 0; chunk < MAX_AT_ONCE && !this.#ended && !this.#closed; chunk++) {
      let received: ReturnType<StreamBinding['receive']>
      try {
        received = this.#native.receive(this.#socket, CHUNK)
      } catch (error) {
        this.#end(error as Error)
        return
      }
      if (received === null) return
      const { data, descriptors, flags } = received
      if (flags & MSG_CTRUNC) {
        for (const descriptor of descriptors) descriptor.close()
        this.#end(new Error('descriptors that came along were lost: too many are open'))
        return
      }
      if (data.length === 0) {
        this.#end(null)
        return
      }
      this.#reader.data(data, descriptors)
      // All there was, mostly: if not, the watch tells.
      if (data.length < CHUNK) return
    }
  }

  #end(error: Error | null): void {
    if (this.#ended || this.#closed) return
    this.#ended = true
    this.#listen()
    this.#reader.end(error)
  }

  /**
   * Writes all of it. Bytes of several calls go out in the order of the calls.
   * @throws SystemError where the connection is broken; Error where it is closed meanwhile, or the peer takes nothing
   */
  write(bytes: Uint8Array): Promise<void> {
    return new Promise((done, fail) => {
      if (this.#closed) {
        fail(new Error('the connection is closed'))
        return
      }
      this.#pending.push({ rest: bytes, done, fail })
      if (this.#pending.length === 1) this.#flush()
    })
  }

  #flush(): void {
    let progress = false
    for (let next = this.#pending[0]; next; next = this.#pending[0]) {
      let sent: number
      try {
        sent = this.#native.send(this.#socket, next.rest)
      } catch (error) {
        this.#fail(() => error as Error)
        return
      }
      if (sent < 0) break
      progress = true
      next.rest = next.rest.subarray(sent)
      if (next.rest.length > 0) continue
      this.#pending.shift()
      next.done()
    }
    if (this.#pending.length === 0) {
      clearTimeout(this.#timer)
      this.#timer = undefined
      this.#listen()
      return
    }
    this.#listen()
    if (this.#timer && !progress) return
    clearTimeout(this.#timer)
    const late = () => this.#fail(() => new Error(`the peer took nothing for ${this.#stalled} ms`))
    this.#timer = setTimeout(late, this.#stalled)
  }

  /** @param reason asked only where something waits: an error takes longer than all else that is done here */
  #fail(reason: () => Error): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#pending.length > 0) {
      const error = reason()
      for (const { fail } of this.#pending.splice(0)) fail(error)
    }
    this.#listen()
  }

  /** Takes nothing more from the peer, who gets EPIPE for it. What it has sent before is told before this returns. */
  hearOut(): void {
    if (this.#closed || this.#ended) return
    try {
      this.#native.shutdown(this.#socket, SHUT_RD)
    } catch {
      // It is gone: then nothing comes, either.
    }
    this.#read()
  }

  /** Safe to repeat. What is not written yet is lost; the reader is told nothing more. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#fail(() => new Error('the connection is closed'))
    this.#socket.close()
  }
}
