/** As much of gRPC and protocol buffers as asking a container runtime takes: unary calls, strings, numbers, messages. */
import { connect as connectHttp2, constants } from 'node:http2'
import { connect } from 'node:net'

/** A message by its field numbers. */
export type Message = { readonly [field: number]: string | number | Message | readonly (string | Message)[] }

const LENGTH_DELIMITED = 2

const varint = (value: number): number[] =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)]

const delimited = (field: number, content: Uint8Array): Uint8Array =>
  Buffer.concat([
    Buffer.from([...varint((field << 3) | LENGTH_DELIMITED), ...varint(content.length)]),
    content,
  ])

/** Encodes a message. */
export const encode = (message: Message): Uint8Array =>
  Buffer.concat(
    Object.entries(message).flatMap(([key, value]) => {
      const field = Number(key)
      if (typeof value === 'number') return [Buffer.from([...varint(field << 3), ...varint(value)])]
      const all = Array.isArray(value)
        ? (value as readonly (string | Message)[])
        : [value as string | Message]
      return all.map((one) => delimited(field, typeof one === 'string' ? Buffer.from(one) : encode(one)))
    }),
  )

/** The contents of a message: for each field number, what it has there; numbers as numbers, all else as bytes. */
export const decode = (bytes: Uint8Array): Map<number, (number | Buffer)[]> => {
  const found = new Map<number, (number | Buffer)[]>()
  let at = 0
  const next = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 0x80) {
      const byte = bytes[at++]
      if (byte === undefined) throw new Error('a message ends in the middle of a field')
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
  }
  while (at < bytes.length) {
    const key = next()
    const [field, type] = [Math.floor(key / 8), key % 8]
    let value: number | Buffer
    if (type === 0) value = next()
    else if (type === LENGTH_DELIMITED) {
      const length = next()
      value = Buffer.from(bytes.subarray(at, at + length))
      at += length
    } else throw new Error(`field ${field} has wire type ${type}`)
    found.set(field, [...(found.get(field) ?? []), value])
  }
  return found
}

/** A field that is text; empty where it is absent. */
export const textOf = (message: Map<number, (number | Buffer)[]>, field: number): string =>
  message.get(field)?.at(-1)?.toString() ?? ''

/**
 * Calls a method over a unix socket, e.g. `/runtime.v1.RuntimeService/RunPodSandbox`.
 * @throws Error with the server's own message
 */
export const call = (
  socket: string,
  method: string,
  message: Message,
  timeout = 60_000,
): Promise<Map<number, (number | Buffer)[]>> =>
  new Promise((resolve, reject) => {
    const session = connectHttp2('http://localhost', { createConnection: () => connect(socket) })
    const end = (error: Error | null, bytes?: Buffer): void => {
      clearTimeout(timer)
      session.destroy()
      if (error) reject(error)
      else
        try {
          resolve(decode(bytes!))
        } catch (failure) {
          reject(failure)
        }
    }
    const timer = setTimeout(() => end(new Error(`${method}: no answer in ${timeout} ms`)), timeout)
    session.on('error', end)
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: method,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
      [constants.HTTP2_HEADER_TE]: 'trailers',
    })
    let state: Record<string, unknown> = {}
    const chunks: Buffer[] = []
    // An error without a body comes in the headers themselves.
    stream.on('response', (headers) => {
      state = { ...headers }
    })
    stream.on('trailers', (trailers) => {
      state = { ...state, ...trailers }
    })
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('error', end)
    stream.on('end', () => {
      if (state['grpc-status'] === '0') end(null, Buffer.concat(chunks).subarray(5))
      else end(new Error(`${method}: ${decodeURIComponent(String(state['grpc-message'] ?? 'no status'))}`))
    })
    const body = encode(message)
    // One byte: not compressed. Four bytes: the length.
    const head = Buffer.alloc(5)
    head.writeUInt32BE(body.length, 1)
    stream.end(Buffer.concat([head, body]))
  })
