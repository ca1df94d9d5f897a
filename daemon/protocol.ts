/**
 * What launcher and daemon say to each other, version 1: bytes and their meaning, without a socket. Integers are u32 in
 * the machine's byte order; both ends are on one machine. docs/daemon.md is the specification.
 */
import type { Environment } from '../cni/environment.ts'
import { ByteQueue } from '../ipam/dhcp/rpc/byte-queue.ts'
import { littleEndian } from '../netlink/codec/writer.ts'

const MAGIC = Buffer.from('LNKWRGHT')

/** The version that is spoken here. */
export const VERSION = 1
/** Bytes of a greeting, and of what answers it. */
export const GREETING = 16
/** In the answer to a greeting: the daemon takes nothing new. */
export const NOT_NOW = 1
/** In an answer: the daemon waits for {@link ACKNOWLEDGE}, and undoes the ADD where none comes. */
export const ASKS_ACKNOWLEDGE = 1
/** One byte to the daemon: everything is printed. */
export const ACKNOWLEDGE = 0x41
/** One byte to the daemon: give up, undo, and answer. */
export const CANCEL = 0x43

/** Bytes of what a request holds, each at most. */
export const limits = { type: 32, environment: 256 << 10, stdin: 1 << 20 } as const
/** Kind, type, environment, standard input, which descriptors, errno; three of them with their length. */
const MAX_REQUEST = 4 + 12 + limits.type + limits.environment + limits.stdin + 8
/** Bytes of an answer at most. */
export const MAX_ANSWER = 16 << 20

const EXECUTE = 1
const STATUS = 2
const OWN_NETNS = 1
const CNI_NETNS = 2
/** Descriptors with a request at most. */
export const MAX_DESCRIPTORS = 2

/** The peer does not keep to the protocol. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
}

/** A plugin to be executed, as the launcher was. */
export interface ExecuteRequest {
  readonly kind: 'execute'
  /** The plugin's type: 1 to 32 of `a-z`, `0-9` and `-`. */
  readonly type: string
  readonly environment: Environment
  readonly stdin: string
  /** Whether the launcher's own network namespace comes along, as a descriptor. */
  readonly hasOwnNetns: boolean
  /** Whether CNI_NETNS comes along, as a descriptor after that one. */
  readonly hasCniNetns: boolean
  /** What opening CNI_NETNS gave, an errno; 0: it is open, or CNI_NETNS is empty. */
  readonly netnsErrno: number
}

export type DaemonRequest = ExecuteRequest | { readonly kind: 'status' }

/** What the launcher prints, and exits with. */
export interface Answer {
  readonly status: number
  /** Whether the daemon waits until it is printed. */
  readonly acknowledge: boolean
  readonly stdout: string
  readonly stderr: string
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const words = (...values: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(values.length * 4)
  const view = viewOf(bytes)
  for (const [i, value] of values.entries()) view.setUint32(i * 4, value, littleEndian)
  return bytes
}

const sized = (bytes: Uint8Array): readonly Uint8Array[] => [words(bytes.length), bytes]

const framed = (...parts: readonly Uint8Array[]): Buffer => {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  return Buffer.concat([words(length), ...parts])
}

/** Reads what has a length before it, and nothing beyond the end. */
class Body {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = viewOf(bytes)
  }

  word(): number {
    if (this.#at + 4 > this.#bytes.length) throw new ProtocolError('a message ends within a number')
    const value = this.#view.getUint32(this.#at, littleEndian)
    this.#at += 4
    return value
  }

  bytes(what: string, limit: number): Buffer {
    const length = this.word()
    if (length > limit) throw new ProtocolError(`${what} has ${length} bytes, more than ${limit}`)
    if (this.#at + length > this.#bytes.length) throw new ProtocolError(`a message ends within ${what}`)
    const { buffer, byteOffset } = this.#bytes
    const taken = Buffer.from(buffer, byteOffset + this.#at, length)
    this.#at += length
    return taken
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw new ProtocolError('a message goes on after its end')
  }
}

/** NUL-terminated strings; the first of a name is the one that getenv(3) finds. */
const parseBlock = (block: Buffer): Environment => {
  const environment: Record<string, string> = Object.create(null)
  if (block.length === 0) return environment
  if (block.at(-1) !== 0) throw new ProtocolError('the environment does not end with a zero')
  for (const entry of block.toString('utf8', 0, block.length - 1).split('\0')) {
    const equals = entry.indexOf('=')
    if (equals <= 0) continue
    const name = entry.slice(0, equals)
    environment[name] ??= entry.slice(equals + 1)
  }
  return environment
}

const printBlock = (environment: Environment): Buffer => {
  const entries = Object.entries(environment).filter(([, value]) => value !== undefined)
  return Buffer.from(entries.map(([name, value]) => `${name}=${value}\0`).join(''))
}

/** The launcher's first words: the versions it speaks. */
export const encodeGreeting = (lowest = VERSION, highest = VERSION): Buffer =>
  Buffer.concat([MAGIC, words(lowest, highest)])

const readMagic = (bytes: Uint8Array): DataView => {
  if (bytes.length !== GREETING || MAGIC.compare(bytes, 0, MAGIC.length) !== 0)
    throw new ProtocolError('a greeting of somebody who speaks something else')
  return viewOf(bytes)
}

/** @returns the version to be spoken; 0 where there is none in common. @throws ProtocolError */
export const decodeGreeting = (bytes: Uint8Array): number => {
  const view = readMagic(bytes)
  const lowest = view.getUint32(8, littleEndian)
  const highest = view.getUint32(12, littleEndian)
  return lowest <= VERSION && VERSION <= highest ? VERSION : 0
}

/** What answers a greeting. Version 0: none in common. */
export const encodeWelcome = (version: number, flags = 0): Buffer =>
  Buffer.concat([MAGIC, words(version, flags)])

/** @throws ProtocolError */
export const decodeWelcome = (bytes: Uint8Array): { readonly version: number; readonly flags: number } => {
  const view = readMagic(bytes)
  return { version: view.getUint32(8, littleEndian), flags: view.getUint32(12, littleEndian) }
}

/** A request with its length. What goes along as descriptors is the sender's to say. */
export const encodeRequest = (request: DaemonRequest): Buffer => {
  if (request.kind === 'status') return framed(words(STATUS))
  const { type, environment, stdin, hasOwnNetns, hasCniNetns, netnsErrno } = request
  return framed(
    words(EXECUTE),
    ...sized(Buffer.from(type)),
    ...sized(printBlock(environment)),
    ...sized(Buffer.from(stdin)),
    words((hasOwnNetns ? OWN_NETNS : 0) | (hasCniNetns ? CNI_NETNS : 0), netnsErrno),
  )
}

const MAX_ERRNO = 4095

const decodeExecute = (body: Body): ExecuteRequest => {
  const type = body.bytes("the plugin's type", limits.type).toString('latin1')
  if (!/^[a-z0-9-]+$/.test(type)) throw new ProtocolError(`${JSON.stringify(type)} is no type of a plugin`)
  const environment = parseBlock(body.bytes('the environment', limits.environment))
  const stdin = body.bytes('standard input', limits.stdin).toString()
  const which = body.word()
  if (which > (OWN_NETNS | CNI_NETNS)) throw new ProtocolError('a descriptor that nobody knows comes along')
  const netnsErrno = body.word()
  if (netnsErrno > MAX_ERRNO) throw new ProtocolError(`${netnsErrno} is no errno`)
  const hasCniNetns = (which & CNI_NETNS) !== 0
  if (hasCniNetns && netnsErrno !== 0) throw new ProtocolError('CNI_NETNS is open, and could not be opened')
  return {
    kind: 'execute',
    type,
    environment,
    stdin,
    hasOwnNetns: (which & OWN_NETNS) !== 0,
    hasCniNetns,
    netnsErrno,
  }
}

/** A request's body. @throws ProtocolError */
export const decodeRequest = (bytes: Uint8Array): DaemonRequest => {
  const body = new Body(bytes)
  const kind = body.word()
  if (kind !== EXECUTE && kind !== STATUS) throw new ProtocolError(`there is no request of kind ${kind}`)
  const request = kind === STATUS ? ({ kind: 'status' } as const) : decodeExecute(body)
  body.end()
  return request
}

/** An answer with its length. */
export const encodeAnswer = ({ status, acknowledge, stdout, stderr }: Answer): Buffer =>
  framed(
    words(status, acknowledge ? ASKS_ACKNOWLEDGE : 0),
    ...sized(Buffer.from(stdout)),
    ...sized(Buffer.from(stderr)),
  )

/** An answer's body. @throws ProtocolError */
export const decodeAnswer = (bytes: Uint8Array): Answer => {
  const body = new Body(bytes)
  const status = body.word()
  const flags = body.word()
  const stdout = body.bytes('standard output', MAX_ANSWER).toString()
  const stderr = body.bytes('standard error', MAX_ANSWER).toString()
  body.end()
  return { status, acknowledge: (flags & ASKS_ACKNOWLEDGE) !== 0, stdout, stderr }
}

/** Puts together what comes in pieces. Holds no more than a message may have. */
export class Assembly {
  readonly #queue = new ByteQueue()

  /** Bytes that are there. */
  get length(): number {
    return this.#queue.length
  }

  push(chunk: Uint8Array): void {
    this.#queue.push(chunk)
  }

  /** `length` bytes; null where they are not there yet. */
  take(length: number): Uint8Array | null {
    return this.#queue.length < length ? null : this.#queue.take(length)
  }

  /**
   * The body of a message that begins with its length; null where it is not there yet.
   * @throws ProtocolError where it is longer than `limit`, before any of it is waited for
   */
  frame(limit = MAX_REQUEST): Uint8Array | null {
    if (this.#queue.length < 4) return null
    const length = viewOf(this.#queue.peek()).getUint32(0, littleEndian)
    if (length > limit) throw new ProtocolError(`a message of ${length} bytes, more than ${limit}`)
    if (this.#queue.length < 4 + length) return null
    return this.#queue.take(4 + length).subarray(4)
  }
}
