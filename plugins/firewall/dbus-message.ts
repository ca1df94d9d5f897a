/**
 * D-Bus messages as far as plain calls need them: arguments and answers of basic types. What is not understood is
 * refused. (D-Bus Specification, "Message Protocol".)
 */

/** Bytes of the longest message that is read. The bus allows 128 MiB; no answer to what is asked here is near this. */
export const MAX_MESSAGE = 1 << 20

/** Bytes before a message's header fields: order, type, flags, version, body length, serial, length of the fields. */
const FIXED = 16

/** Message types. */
export const messageTypes = { call: 1, reply: 2, error: 3, signal: 4 } as const

/** Header fields, and the one type that each may have. */
const fields = {
  path: { code: 1, type: 'o' },
  interface: { code: 2, type: 's' },
  member: { code: 3, type: 's' },
  errorName: { code: 4, type: 's' },
  replySerial: { code: 5, type: 'u' },
  destination: { code: 6, type: 's' },
  signature: { code: 8, type: 'g' },
} as const

/** A method call whose arguments are strings. */
export interface MethodCall {
  readonly destination: string
  readonly path: string
  readonly interface: string
  readonly member: string
  readonly args?: readonly string[] | undefined
}

/** A basic value of an answer: of type `y`, `b`, `n`, `q`, `i`, `u`, `s`, `o` or `g`. */
export type BasicValue = string | number | boolean

/** A message that has arrived. */
export interface Message {
  /** One of {@link messageTypes}, or one that is not known. */
  readonly type: number
  /** Of the call that it answers; 0 where it answers none. */
  readonly replySerial: number
  /** Of an error, e.g. `org.freedesktop.DBus.Error.ServiceUnknown`; otherwise empty. */
  readonly errorName: string
  readonly signature: string
  readonly body: Body
}

/** What a message carries; read when somebody wants it. */
export interface Body {
  readonly bytes: Buffer
  readonly littleEndian: boolean
}

const padded = (length: number, alignment: number): number => Math.ceil(length / alignment) * alignment

const lengthPrefixed = (text: string, type: 's' | 'o' | 'g'): Buffer => {
  const bytes = Buffer.from(text)
  const prefix = Buffer.alloc(type === 'g' ? 1 : 4)
  if (type === 'g') prefix.writeUInt8(bytes.length)
  else prefix.writeUInt32LE(bytes.length)
  return Buffer.concat([prefix, bytes, Buffer.alloc(1)])
}

/** Joins parts, each at a multiple of `alignment`. */
const aligned = (parts: readonly Buffer[], alignment: number): Buffer =>
  Buffer.concat(
    parts.flatMap((part, i) =>
      i === parts.length - 1 ? [part] : [part, Buffer.alloc(padded(part.length, alignment) - part.length)],
    ),
  )

const field = (name: keyof typeof fields, value: string): Buffer => {
  const { code, type } = fields[name]
  if (type === 'u') throw new Error(`header field ${name} is not a string`)
  // The code, then a variant: its signature with length and final zero, then the value.
  return Buffer.concat([Buffer.from([code, 1, type.charCodeAt(0), 0]), lengthPrefixed(value, type)])
}

/**
 * A method call in bytes. It never starts a service (flag NO_AUTO_START).
 * @param serial what the answer will name; not 0
 * @throws Error for a string that D-Bus cannot carry
 */
export const encodeCall = (call: MethodCall, serial: number): Buffer => {
  const { args = [] } = call
  const strings = [call.destination, call.path, call.interface, call.member, ...args]
  if (strings.some((text) => text.includes('\0'))) throw new Error('a D-Bus string holds no NUL')
  const body = aligned(
    args.map((text) => lengthPrefixed(text, 's')),
    4,
  )
  const header = aligned(
    [
      field('path', call.path),
      field('interface', call.interface),
      field('member', call.member),
      field('destination', call.destination),
      ...(args.length > 0 ? [field('signature', 's'.repeat(args.length))] : []),
    ],
    8,
  )
  const fixed = Buffer.from(['l'.charCodeAt(0), messageTypes.call, 0x2, 1, ...new Array<number>(12).fill(0)])
  fixed.writeUInt32LE(body.length, 4)
  fixed.writeUInt32LE(serial, 8)
  fixed.writeUInt32LE(header.length, 12)
  return aligned([Buffer.concat([fixed, header]), body], 8)
}

/** Reads values one after another; every read is within the bytes. */
class Reader {
  readonly #bytes: Buffer
  readonly #littleEndian: boolean
  #at = 0

  constructor({ bytes, littleEndian }: Body) {
    this.#bytes = bytes
    this.#littleEndian = littleEndian
  }

  get ended(): boolean {
    return this.#at >= this.#bytes.length
  }

  #take(length: number, alignment: number): Buffer {
    const start = padded(this.#at, alignment)
    if (start + length > this.#bytes.length) throw new Error('a value reaches beyond its message')
    this.#at = start + length
    return this.#bytes.subarray(start, this.#at)
  }
  /** To the next structure. */
  align(): void {
    this.#at = padded(this.#at, 8)
  }
  byte(): number {
    return this.#take(1, 1).readUInt8()
  }
  #number(size: 2 | 4, signed: boolean): number {
    const bytes = this.#take(size, size)
    if (signed) return this.#littleEndian ? bytes.readIntLE(0, size) : bytes.readIntBE(0, size)
    return this.#littleEndian ? bytes.readUIntLE(0, size) : bytes.readUIntBE(0, size)
  }
  #text(length: number): string {
    const text = this.#take(length, 1).toString('utf8')
    if (this.byte() !== 0) throw new Error('a string does not end with NUL')
    return text
  }
  value(type: string): BasicValue {
    switch (type) {
      case 'y':
        return this.byte()
      case 'n':
        return this.#number(2, true)
      case 'q':
        return this.#number(2, false)
      case 'i':
        return this.#number(4, true)
      case 'u':
        return this.#number(4, false)
      case 'b':
        return this.#number(4, false) !== 0
      case 's':
      case 'o':
        return this.#text(this.#number(4, false))
      case 'g':
        return this.#text(this.byte())
      default:
        throw new Error(`a value of type "${type}" is not understood`)
    }
  }
}

/** Whether the sender's numbers are little-endian. @throws Error for no message at all */
const isLittleEndian = (bytes: Buffer): boolean => {
  const [order, , , version] = bytes
  if (version !== 1 || (order !== 0x6c && order !== 0x42)) throw new Error('this is no D-Bus message')
  return order === 0x6c
}

/**
 * The length of the message that `bytes` begin with; null where too few are there to tell.
 * @throws Error for no message, and one of more than {@link MAX_MESSAGE}
 */
export const messageLength = (bytes: Buffer): number | null => {
  if (bytes.length < FIXED) return null
  const littleEndian = isLittleEndian(bytes)
  const number = (at: number): number => (littleEndian ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at))
  const length = padded(FIXED + number(12), 8) + number(4)
  if (length > MAX_MESSAGE) throw new Error(`a message of ${length} bytes`)
  return length
}

/** Reads one whole message. @throws Error for one that is malformed */
export const decodeMessage = (bytes: Buffer): Message => {
  const littleEndian = isLittleEndian(bytes)
  const end = FIXED + (littleEndian ? bytes.readUInt32LE(12) : bytes.readUInt32BE(12))
  // Structures begin at multiples of 8 of the message; so does what is cut off here.
  const header = new Reader({ bytes: bytes.subarray(FIXED, end), littleEndian })
  const values = new Map<number, BasicValue>()
  while (!header.ended) {
    header.align()
    const code = header.byte()
    const type = String(header.value('g'))
    const known = Object.values(fields).find((one) => one.code === code)
    if (known && known.type !== type) throw new Error(`header field ${code} is of type "${type}"`)
    values.set(code, header.value(type))
  }
  return {
    type: bytes.readUInt8(1),
    replySerial: Number(values.get(fields.replySerial.code) ?? 0),
    errorName: String(values.get(fields.errorName.code) ?? ''),
    signature: String(values.get(fields.signature.code) ?? ''),
    body: { bytes: bytes.subarray(padded(end, 8)), littleEndian },
  }
}

/** What a message carries. @throws Error where it is malformed, or of types that are not basic */
export const readBody = ({ signature, body }: Pick<Message, 'signature' | 'body'>): BasicValue[] => {
  const reader = new Reader(body)
  return [...signature].map((type) => reader.value(type))
}
