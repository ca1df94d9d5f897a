/** Our own protocol on a connection that is greeted already: see lines.ts for what is said. */
import type { Duplex } from 'node:stream'
import { CniError, codes } from '../../../cni/error.ts'
import { isObject } from '../../../cni/fold.ts'
import type { Json, JsonObject } from '../../../cni/types.ts'
import type { Calls } from './calls.ts'
import { readError } from './fields.ts'
import { ConnectionLost, type Incoming, ProtocolError } from './incoming.ts'
import { errorOf, Lines, lineOf, MAX_LINE } from './lines.ts'

/** Characters of the elements in a piece of a list. */
const PIECE = MAX_LINE >> 2

const tooLong = (what: string): CniError =>
  new CniError({ code: codes.io, msg: `${what} is too long for the DHCP daemon's protocol` })

/** What a call needs of its connection. */
export interface OwnClient {
  readonly stream: Duplex
  readonly incoming: Incoming
}

/**
 * Makes the first and only call of a connection.
 * @throws CniError what the keeper threw; code 5 where the parameters are too long
 * @throws ProtocolError for a reply that is none
 * @throws ConnectionLost where the connection ended before the reply had come
 */
export const ownCall = async (
  { stream, incoming }: OwnClient,
  method: string,
  params: JsonObject,
): Promise<Json> => {
  const id = 1
  const line = lineOf({ id, method, params })
  if (!line) throw tooLong('a request')
  stream.write(line)
  const lines = new Lines(incoming)
  const parts: Json[] = []
  for (;;) {
    const reply = await lines.next()
    if (reply === undefined) throw new ConnectionLost()
    if (!isObject(reply) || (reply.id !== id && reply.id !== null))
      throw new ProtocolError('a reply to a call that was not made')
    if (reply.error !== undefined) throw readError(reply.error)
    if (Array.isArray(reply.part)) for (const item of reply.part as Json[]) parts.push(item)
    else {
      const result = (reply.result ?? null) as Json
      return parts.length > 0 && Array.isArray(result) ? [...parts, ...(result as Json[])] : result
    }
  }
}

/** What a method does with its parameters. Its result goes through JSON. */
export type OwnHandler = (params: Json, signal: AbortSignal) => Promise<unknown>

/** What serving needs of its connection. */
export interface OwnServerConnection {
  readonly incoming: Incoming
  readonly calls: Calls
  /** Whether more calls are wanted. */
  readonly open: boolean
  send(bytes: Uint8Array): void
}

/** An array's elements in arrays that are not too long for a line; at least one. */
const pieces = (items: readonly Json[]): readonly (readonly Json[])[] => {
  const result: Json[][] = [[]]
  let size = 0
  for (const item of items) {
    size += JSON.stringify(item).length
    if (size > PIECE) {
      result.push([])
      size = 0
    }
    result.at(-1)!.push(item)
  }
  return result
}

/**
 * Answers calls until the stream ends.
 * @throws ProtocolError where the peer does not keep to the protocol; it has been told
 * @throws ConnectionLost where it breaks
 */
export const serveOwnRpc = async (
  connection: OwnServerConnection,
  methods: ReadonlyMap<string, OwnHandler>,
): Promise<void> => {
  const { incoming, calls } = connection
  const lines = new Lines(incoming)
  const send = (message: JsonObject): boolean => {
    const line = lineOf(message)
    if (line) connection.send(line)
    return line !== null
  }
  const refuse = (id: number | null, error: unknown): void => {
    const known = CniError.from(error)
    if (!send({ id, error: errorOf(known) })) send({ id, error: errorOf(tooLong('an error')) })
  }
  const answer = (id: number, result: Json): void => {
    const parts = Array.isArray(result) ? pieces(result as Json[]) : [result]
    for (const part of parts.slice(0, -1)) send({ id, part })
    if (!send({ id, result: parts.at(-1)! })) refuse(id, tooLong('a result'))
  }
  const take = (message: Json): void => {
    if (!isObject(message) || !Number.isSafeInteger(message.id) || typeof message.method !== 'string')
      throw new ProtocolError('a message that is no call')
    const { method, params = {} } = message as JsonObject
    const id = message.id as number
    if (method === 'cancel') {
      calls.cancel(id, new CniError({ code: codes.internal, msg: 'the caller has given up' }))
      return
    }
    if (calls.has(id)) throw new ProtocolError(`call ${id} is under way already`)
    const handler = methods.get(method as string)
    const why = handler ? 'too many calls at once' : `unknown method ${JSON.stringify(method)}`
    if (!handler || calls.full) {
      refuse(id, new CniError({ code: handler ? codes.tryAgainLater : codes.internal, msg: why }))
      return
    }
    calls.start(id, async (signal) => {
      try {
        // Whatever the keeper gives, undefined included, is then plain JSON.
        answer(id, JSON.parse(JSON.stringify((await handler(params, signal)) ?? null)) as Json)
      } catch (error) {
        refuse(id, error)
      }
    })
  }
  try {
    while (connection.open) {
      const message = await lines.next()
      if (message === undefined) return
      take(message)
    }
  } catch (error) {
    if (error instanceof ProtocolError)
      refuse(null, new CniError({ code: codes.decoding, msg: error.message }))
    throw error
  }
}
