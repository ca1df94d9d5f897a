/** One plugin's connection, from its greeting to its end. */
import type { Socket } from 'node:net'
import { CniError, codes } from '../../../cni/error.ts'
import type { Logger } from '../../../cni/plugin.ts'
import { Calls } from './calls.ts'
import { type GoHandler, serveGoRpc } from './go-rpc.ts'
import { GobError } from './gob.ts'
import { go, own, statusLine } from './greeting.ts'
import { Incoming, ProtocolError } from './incoming.ts'
import { type OwnHandler, serveOwnRpc } from './own-rpc.ts'

/** Bytes of replies that a peer may leave unread. */
const MAX_UNREAD = 8 << 20
/** Milliseconds that the last reply may take to be read. */
const LINGER = 5000

export interface ConnectionOptions {
  readonly ownMethods: ReadonlyMap<string, OwnHandler>
  readonly goMethods: ReadonlyMap<string, GoHandler>
  /** Milliseconds. */
  readonly greetingTimeout: number
  /** Milliseconds. */
  readonly idleTimeout: number
  readonly log?: Logger | undefined
}

const gone = (): CniError => new CniError({ code: codes.internal, msg: 'the caller has gone' })

export class Connection {
  readonly incoming: Incoming
  readonly calls = new Calls(() => this.#timer?.refresh())
  /** Resolves when the socket is closed. */
  readonly closed: Promise<void>
  readonly #socket: Socket
  readonly #options: ConnectionOptions
  #timer: NodeJS.Timeout | undefined
  #open = true

  constructor(socket: Socket, options: ConnectionOptions) {
    this.#socket = socket
    this.#options = options
    this.incoming = new Incoming(socket)
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        clearTimeout(this.#timer)
        if (this.calls.size > 0) this.calls.abort(gone())
        resolve()
      })
    })
  }

  /** False once no more calls are taken. */
  get open(): boolean {
    return this.#open && !this.#socket.destroyed
  }

  /** Sends a reply, if there is still somebody to read it. */
  send(bytes: Uint8Array | string): void {
    if (!this.#socket.writable) return
    this.#socket.write(bytes)
    // Memory is not for those who ask and do not listen.
    if (this.#socket.writableLength > MAX_UNREAD) this.#socket.destroy()
  }

  /** Serves it until it ends. Never rejects. */
  async run(): Promise<void> {
    try {
      await this.#greet()
    } catch (error) {
      const isPeers = error instanceof ProtocolError || error instanceof GobError
      const message = isPeers ? 'a peer broke the protocol' : 'a connection was lost'
      this.#options.log?.debug(message, { error: (error as Error).message })
    } finally {
      // After `finish` the peer may be waiting for calls that are still under way.
      if (this.#open) this.#end()
    }
  }

  /** Takes no more calls, and closes as soon as those that are under way have been answered. */
  async finish(): Promise<void> {
    this.#open = false
    await this.calls.idle()
    this.#end()
  }

  /** Makes calls that are under way give up. */
  abort(reason: CniError): void {
    this.calls.abort(reason)
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** Closes it once the peer has read what it was sent, or has had the time to. */
  #end(): void {
    clearTimeout(this.#timer)
    if (this.calls.size > 0) this.calls.abort(gone())
    this.#socket.destroySoon()
    if (!this.#socket.destroyed) this.#timer = setTimeout(() => this.#socket.destroy(), LINGER).unref()
  }

  /** Closes the connection after a time without calls, so that bytes that come slowly do not keep it. */
  #limit(milliseconds: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      if (this.calls.size === 0) this.#socket.destroy()
    }, milliseconds).unref()
  }

  async #greet(): Promise<void> {
    const { greetingTimeout, idleTimeout, ownMethods, goMethods } = this.#options
    this.#limit(greetingTimeout)
    const line = await this.incoming.head()
    if (line === undefined) return
    const [, method, path] = /^([A-Z]+) (\S+) HTTP\/1\.[01]$/.exec(line) ?? []
    if (method !== 'CONNECT') {
      this.send(statusLine(method ? '405 must CONNECT' : '400 Bad Request'))
      return
    }
    const greeting = [own, go].find((known) => known.path === path)
    this.send(statusLine(greeting?.status ?? '404 Not Found'))
    if (!greeting) return
    this.#limit(idleTimeout)
    await (greeting === own ? serveOwnRpc(this, ownMethods) : serveGoRpc(this, goMethods))
  }
}
