/** A daemon of make-believe, which says what its test tells it to, whether that makes sense or not. */
import { rmSync } from 'node:fs'
import { onTestFinished } from 'vitest'
import { decodeRequest, type ExecuteRequest, encodeWelcome } from '../../../daemon/protocol.ts'
import { binding, type Descriptor } from '../../../native/binding.ts'
import { isErrno } from '../../../netlink/error.ts'

const AF_UNIX = 1
const SOCK_STREAM = 1
const EPOLLIN = 1

const native = binding()

const pathAddress = (path: string): Uint8Array =>
  Buffer.concat([Buffer.from(Uint16Array.of(AF_UNIX).buffer), Buffer.from(`${path}\0`)])

/** Bytes of u32 in this machine's order. */
export const words = (...values: number[]): Buffer => Buffer.from(Uint32Array.from(values).buffer)

/** One launcher that has connected. */
export class Peer {
  readonly #socket: Descriptor
  /** What came with the bytes. Closed with the peer. */
  readonly descriptors: Descriptor[] = []
  #held: Buffer = Buffer.alloc(0)
  #ended = false
  readonly #greets: () => void

  /** @param greets called when it has greeted, or will not any more */
  constructor(socket: Descriptor, greets: () => void) {
    this.#socket = socket
    this.#greets = greets
    onTestFinished(() => this.close())
  }

  /** Until something has come, or the end. False at the end. */
  #more(): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const watch = native.watch(this.#socket, EPOLLIN, () => {
        watch.close()
        try {
          const received = native.receive(this.#socket, 1 << 16)
          if (received) {
            this.#held = Buffer.concat([this.#held, received.data])
            this.descriptors.push(...received.descriptors)
            this.#ended ||= received.data.length === 0
          }
          resolve(!this.#ended)
        } catch (error) {
          // It has closed, with something in its socket that it had not read.
          if (!isErrno(error, 'ECONNRESET')) reject(error)
          this.#ended = true
          resolve(false)
        }
      })
    })
  }

  /** The next `count` bytes; fewer where the launcher has closed before. */
  async bytes(count: number): Promise<Buffer> {
    while (this.#held.length < count && (await this.#more())) {
      // Until there is enough.
    }
    const taken = this.#held.subarray(0, count)
    this.#held = this.#held.subarray(count)
    return taken
  }

  /** The launcher's greeting, answered. */
  async greet(answer: Uint8Array = encodeWelcome(1)): Promise<Buffer> {
    const greeting = await this.bytes(16)
    this.send(answer)
    this.#greets()
    return greeting
  }

  /** The launcher's request. */
  async request(): Promise<ExecuteRequest> {
    this.#greets()
    const length = (await this.bytes(4)).readUInt32LE()
    const request = decodeRequest(await this.bytes(length))
    if (request.kind !== 'execute') throw new Error(`a request of kind ${request.kind}`)
    return request
  }

  send(data: Uint8Array): void {
    for (let rest = data; rest.length > 0; ) {
      const sent = native.send(this.#socket, rest)
      // A test that sends more than a socket holds has to be written in another way.
      if (sent < 0) throw new Error('the socket is full')
      rest = rest.subarray(sent)
    }
  }

  close(): void {
    this.#greets()
    this.#socket.close()
    for (const descriptor of this.descriptors.splice(0)) descriptor.close()
  }
}

export class FakeDaemon {
  readonly path: string
  readonly #socket: Descriptor
  /** How many have connected and were taken. */
  accepted = 0
  /** When the first that was taken is greeted, or will not be. */
  readonly answered: Promise<void>
  #answer: () => void = () => {}

  /** @param backlog how many may wait to be taken. Default 16 */
  constructor(path: string, backlog = 16) {
    const [socket] = native.openInNetns(null, [{ domain: AF_UNIX, type: SOCK_STREAM, protocol: 0 }])
    if (!socket || socket instanceof Error) throw socket
    this.#socket = socket
    this.path = path
    this.answered = new Promise((resolve) => {
      this.#answer = resolve
    })
    native.bind(socket, pathAddress(path))
    native.listen(socket, backlog)
    onTestFinished(() => this.close())
  }

  /** The next launcher that connects. */
  next(): Promise<Peer> {
    return new Promise((resolve, reject) => {
      const watch = native.watch(this.#socket, EPOLLIN, () => {
        try {
          const accepted = native.accept(this.#socket)
          if (!accepted) return
          watch.close()
          this.accepted++
          resolve(new Peer(accepted, this.#answer))
        } catch (error) {
          watch.close()
          reject(error)
        }
      })
    })
  }

  /** The next launcher, greeted. */
  async greeted(): Promise<Peer> {
    const peer = await this.next()
    await peer.greet()
    return peer
  }

  /** Safe to repeat. Whoever waits to be taken is refused. */
  close(): void {
    this.#socket.close()
    rmSync(this.path, { force: true })
  }
}
