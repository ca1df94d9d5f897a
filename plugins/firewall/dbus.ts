/** A connection to a D-Bus message bus, for plain method calls. (D-Bus Specification, "Authentication Protocol".) */
import { createConnection, type Socket } from 'node:net'
import {
  type BasicValue,
  decodeMessage,
  encodeCall,
  MAX_MESSAGE,
  type Message,
  type MethodCall,
  messageLength,
  messageTypes,
  readBody,
} from './dbus-message.ts'

/** Where every system's bus listens. */
export const SYSTEM_BUS = '/run/dbus/system_bus_socket'

/** Bytes of a line of authentication. */
const MAX_LINE = 4096

/** A call that was answered by an error. */
export class DBusError extends Error {
  override readonly name = 'DBusError'
  /** E.g. `org.freedesktop.DBus.Error.ServiceUnknown`. */
  readonly errorName: string

  constructor(errorName: string, message: string) {
    super(message)
    this.errorName = errorName
  }
}

/** No answer in time. The call may take effect all the same. */
export class DBusTimeout extends Error {
  override readonly name = 'DBusTimeout'
}

export interface CallOptions {
  /** Milliseconds until the answer has to be there. */
  readonly deadline: number
  /** Ends the waiting; what was sent is carried out all the same, before whatever is sent later. */
  readonly signal?: AbortSignal | undefined
}

interface Waiting {
  readonly resolve: (message: Message) => void
  readonly reject: (error: Error) => void
}

export class DBus {
  readonly #socket: Socket
  readonly #waiting = new Map<number, Waiting>()
  #serial = 0
  #authenticated = false
  #received: Buffer = Buffer.alloc(0)
  #ended: Error | undefined

  private constructor(path: string) {
    this.#socket = createConnection({ path })
    // A connection that nobody waits on keeps no process alive.
    this.#socket.unref()
    this.#socket.on('data', (bytes) => this.#read(bytes))
    this.#socket.on('error', (error) => this.#end(error))
    this.#socket.on('close', () => this.#end(new Error('the bus has closed the connection')))
    // EXTERNAL without a name: the bus asks the kernel who this is. Nothing that follows depends on its answers, so all
    // goes out at once.
    this.#socket.write('\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n')
  }

  /**
   * Connects and says Hello.
   * @param path of the bus's socket
   * @throws Error with the code of connect(2) where nobody listens; DBusTimeout; the reason of `signal`
   */
  static async connect(path: string, options: CallOptions): Promise<DBus> {
    options.signal?.throwIfAborted()
    const bus = new DBus(path)
    try {
      await bus.callBus('Hello', [], options)
      return bus
    } catch (error) {
      bus.close()
      throw error
    }
  }

  /** Ends the connection, and every call on it. Safe to repeat. */
  close(): void {
    this.#end(new Error('the connection is closed'))
  }

  /** Calls a method of the bus itself. */
  callBus(member: string, args: readonly string[], options: CallOptions): Promise<BasicValue[]> {
    const name = 'org.freedesktop.DBus'
    return this.call(
      { destination: name, path: '/org/freedesktop/DBus', interface: name, member, args },
      options,
    )
  }

  /**
   * Calls a method and waits for its answer.
   * @throws DBusError the answer, where it is one; DBusTimeout; the reason of `signal`; Error where the connection ends
   */
  async call(call: MethodCall, { deadline, signal }: CallOptions): Promise<BasicValue[]> {
    signal?.throwIfAborted()
    if (this.#ended) throw this.#ended
    this.#serial++
    const serial = this.#serial
    const bytes = encodeCall(call, serial)
    const { promise, resolve, reject } = withResolvers<Message>()
    const abort = (): void => reject(signal?.reason)
    const timer = setTimeout(
      () => reject(new DBusTimeout(`${call.destination} has not answered ${call.member} in ${deadline} ms`)),
      deadline,
    )
    this.#waiting.set(serial, { resolve, reject })
    this.#socket.ref()
    signal?.addEventListener('abort', abort)
    this.#socket.write(bytes)
    try {
      const answer = await promise
      if (answer.type !== messageTypes.error) return readBody(answer)
      throw new DBusError(answer.errorName, messageOf(answer))
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      this.#waiting.delete(serial)
      if (this.#waiting.size === 0) this.#socket.unref()
    }
  }

  #end(error: Error): void {
    if (this.#ended) return
    this.#ended = error
    this.#socket.destroy()
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#received = Buffer.alloc(0)
  }

  #read(bytes: Buffer): void {
    // A peer's nonsense ends the connection, not the process.
    try {
      this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes])
      while (!this.#ended && (this.#authenticated ? this.#readMessage() : this.#readLine()));
    } catch (cause) {
      this.#end(new Error(`the bus cannot be understood: ${(cause as Error).message}`, { cause }))
    }
  }

  /** One line of the authentication. @returns whether there was one */
  #readLine(): boolean {
    const end = this.#received.indexOf('\r\n')
    if ((end < 0 ? this.#received.length : end) > MAX_LINE) throw new Error('a line without an end')
    if (end < 0) return false
    const line = this.#received.toString('latin1', 0, end)
    this.#received = this.#received.subarray(end + 2)
    if (line.startsWith('OK ')) this.#authenticated = true
    // What EXTERNAL asks for when it is given no name.
    else if (!/^DATA *$/.test(line)) this.#end(new Error(`the bus refuses this process: ${printable(line)}`))
    return true
  }

  /** One message. @returns whether there was a whole one */
  #readMessage(): boolean {
    const length = messageLength(this.#received)
    if (length === null || length > this.#received.length) return false
    const message = decodeMessage(this.#received.subarray(0, length))
    this.#received = this.#received.subarray(length)
    // Signals, and answers that nobody waits for any more.
    if (message.type === messageTypes.reply || message.type === messageTypes.error)
      this.#waiting.get(message.replySerial)?.resolve(message)
    return true
  }
}

const printable = (text: string): string => JSON.stringify(text.slice(0, 200))

/** An error's words: its first argument, where that is a string. */
const messageOf = (answer: Message): string => {
  if (!answer.signature.startsWith('s')) return answer.errorName
  const [text] = readBody({ signature: 's', body: answer.body })
  return String(text).slice(0, MAX_MESSAGE >> 8)
}

/** Promise.withResolvers, which Node has from version 22 on. */
const withResolvers = <T>() => {
  let resolve!: (value: T) => void
  let reject!: (error: Error) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
