/**
 * Go's net/rpc on a connection that is greeted already: a call is a `Request` and its arguments, a reply a `Response`
 * and its body, each a gob value. Replies come in the order in which calls end.
 */
import type { Duplex } from 'node:stream'
import type { Calls } from './calls.ts'
import { type CmdArgs, cmdArgs, empty, request, response } from './go-messages.ts'
import { GobDecoder, GobEncoder, GobError, type GobItem, type GobType, type GobValue, item } from './gob.ts'
import { ConnectionLost, type Incoming } from './incoming.ts'

/** What the other end answered instead of a result: `rpc.ServerError`. */
export class GoRpcError extends Error {
  override readonly name = 'GoRpcError'
}

export type GoMethod = 'DHCP.Allocate' | 'DHCP.Release'

/** The next value. @returns undefined where the stream ends @throws GobError, ConnectionLost */
const next = async (decoder: GobDecoder, incoming: Incoming): Promise<GobValue | undefined> => {
  for (;;) {
    const value = decoder.take(incoming.queue)
    if (value !== undefined) return value
    if (!(await incoming.more())) return undefined
  }
}

/** What a call needs of its connection. */
export interface GoClient {
  readonly stream: Duplex
  readonly incoming: Incoming
}

/**
 * Makes the first and only call of a connection.
 * @throws GoRpcError the daemon's error
 * @throws GobError for a reply that is none
 * @throws ConnectionLost where the connection ended before the reply had come
 */
export const goCall = async <T>(
  { stream, incoming }: GoClient,
  method: GoMethod,
  args: CmdArgs,
  reply: GobType<T>,
): Promise<T> => {
  const call = item(request, { ServiceMethod: method, Seq: 0n })
  stream.write(new GobEncoder().encode(call, item(cmdArgs, args)))
  const decoder = new GobDecoder()
  const head = await next(decoder, incoming)
  const body = head && (await next(decoder, incoming))
  if (head === undefined || body === undefined) throw new ConnectionLost()
  const { Seq, Error: text } = response.from(head)
  if (Seq !== 0n) throw new GobError(`a reply to call ${Seq}, which was not made`)
  if (text !== '') throw new GoRpcError(text)
  return reply.from(body)
}

/** What a method does; it gives the reply's body. What it throws is told by its message. */
export type GoHandler = (args: CmdArgs, signal: AbortSignal) => Promise<GobItem>

/** What serving needs of its connection. */
export interface GoServerConnection {
  readonly incoming: Incoming
  readonly calls: Calls
  /** Whether more calls are wanted. */
  readonly open: boolean
  send(bytes: Uint8Array): void
}

const unknownMethod = (name: string, methods: ReadonlyMap<string, GoHandler>): string => {
  const dot = name.lastIndexOf('.')
  if (dot < 0) return `rpc: service/method request ill-formed: ${name}`
  const service = name.slice(0, dot + 1)
  const known = [...methods.keys()].some((method) => method.startsWith(service))
  return `rpc: can't find ${known ? 'method' : 'service'} ${name}`
}

/**
 * Answers calls until the stream ends.
 * @throws GobError where the peer does not keep to the protocol
 * @throws ConnectionLost where it ends in the middle of a call
 */
export const serveGoRpc = async (
  connection: GoServerConnection,
  methods: ReadonlyMap<string, GoHandler>,
): Promise<void> => {
  const { incoming, calls } = connection
  const decoder = new GobDecoder()
  const encoder = new GobEncoder()
  const answer = (ServiceMethod: string, Seq: bigint, body: GobItem, text = ''): void =>
    connection.send(encoder.encode(item(response, { ServiceMethod, Seq, Error: text }), body))
  while (connection.open) {
    const head = await next(decoder, incoming)
    if (head === undefined) return
    const { ServiceMethod: method, Seq } = request.from(head)
    const body = await next(decoder, incoming)
    if (body === undefined) throw new ConnectionLost()
    const refuse = (error: unknown): void => answer(method, Seq, item(empty, {}), messageOf(error))
    const handler = methods.get(method)
    if (!handler || calls.full) {
      refuse(handler ? 'too many calls at once' : unknownMethod(method, methods))
      continue
    }
    calls.start({}, async (signal) => {
      try {
        answer(method, Seq, await handler(cmdArgs.from(body), signal))
      } catch (error) {
        refuse(error)
      }
    })
  }
}

/** Never empty: that would be success. */
const messageOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)) || 'unknown error'
