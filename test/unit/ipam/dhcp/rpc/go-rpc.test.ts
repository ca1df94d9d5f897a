import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  cmdArgs,
  empty,
  goResult,
  request,
  response,
  toGoResult,
} from '../../../../../ipam/dhcp/rpc/go-messages.ts'
import { type GoHandler, GoRpcError, goCall, serveGoRpc } from '../../../../../ipam/dhcp/rpc/go-rpc.ts'
import { type Gob, GobEncoder, GobError, item } from '../../../../../ipam/dhcp/rpc/gob.ts'
import { ConnectionLost } from '../../../../../ipam/dhcp/rpc/incoming.ts'
import { ends, everything } from './ends.ts'
import { result } from './fake-keeper.ts'
import { decodeAll, emptyDefinition, emptyValue, firstWrite, hex } from './gob-bytes.ts'

const args = {
  ...cmdArgs.zero,
  ContainerID: 'c1',
  Netns: '/var/run/netns/x',
  IfName: 'eth0',
  Path: '/opt/cni/bin',
  StdinData: Buffer.from('{}'),
}
const handlers = (all: Readonly<Record<string, GoHandler>>) => new Map(Object.entries(all))
const failing =
  (error: unknown): GoHandler =>
  async () => {
    throw error
  }
const settled = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => error)

describe('a call', () => {
  test('is written as Go writes it', async () => {
    const { client, server, far } = ends()
    const failed = settled(goCall(client, 'DHCP.Allocate', args, goResult))
    await server.incoming.more()
    expect(hex(server.incoming.queue.peek())).toBe(hex(firstWrite))
    far.end()
    expect(await failed).toBeInstanceOf(ConnectionLost)
  })

  test('is answered', async () => {
    const { client, server } = ends()
    const asked: unknown[] = []
    const allocate: GoHandler = async (given) => {
      asked.push(given)
      return item(goResult, toGoResult(result))
    }
    const serving = serveGoRpc(server, handlers({ 'DHCP.Allocate': allocate }))
    expect(await goCall(client, 'DHCP.Allocate', args, goResult)).toEqual(toGoResult(result))
    expect(asked).toEqual([{ ...args, StdinData: new Uint8Array(args.StdinData) }])
    client.stream.end()
    await serving
  })

  test.each([
    [new Error('boom'), 'boom'],
    [new Error(''), 'unknown error'],
    ['text', 'text'],
  ])('fails with the words of who answers it: %s', async (error, words) => {
    const { client, server } = ends()
    void serveGoRpc(server, handlers({ 'DHCP.Release': failing(error) }))
    expect(await settled(goCall(client, 'DHCP.Release', args, empty))).toEqual(new GoRpcError(words))
  })

  test.each([
    ['text', Buffer.from('400 Bad Request: this is no gob at all, and long enough to be looked at')],
    ['a value of an unknown type', emptyValue],
    [
      'a reply to another call',
      new GobEncoder().encode(item(response, { ServiceMethod: '', Seq: 5n, Error: '' }), item(empty, {})),
    ],
  ])('is not answered by %s', async (_, reply) => {
    const { client, far } = ends()
    far.end(reply)
    const error = await settled(goCall(client, 'DHCP.Allocate', args, goResult))
    expect(error).toBeInstanceOf(GobError)
  })
})

interface Reply {
  readonly method: string
  readonly seq: bigint
  readonly error: string
}

/** What a server answers to these bytes, and what serving them came to. */
const answers = async (bytes: Uint8Array, all: Readonly<Record<string, GoHandler>> = {}) => {
  const { client, server, far } = ends()
  const serving = settled(serveGoRpc(server, handlers(all))).then(async (outcome) => {
    await server.calls.idle()
    far.end()
    return outcome
  })
  client.stream.end(bytes)
  const values = decodeAll(await everything(client.incoming))
  const replies: Reply[] = []
  for (let i = 0; i < values.length; i += 2) {
    const head: Gob<typeof response> = response.from(values[i]!)
    replies.push({ method: head.ServiceMethod, seq: head.Seq, error: head.Error })
  }
  return { replies, outcome: await serving }
}

/** Calls 0, 1, … as a client writes them that does not wait. */
const calls = (...names: string[]): Uint8Array => {
  const encoder = new GobEncoder()
  const written = names.map((ServiceMethod, i) =>
    encoder.encode(item(request, { ServiceMethod, Seq: BigInt(i) }), item(cmdArgs, args)),
  )
  return Buffer.concat(written)
}

describe('a server', () => {
  const fine: GoHandler = async () => item(empty, {})

  test("has Go's words for what it does not know, and goes on", async () => {
    const bytes = calls('DHCP.Nothing', 'X.Release', 'Release', '', 'DHCP.Release')
    const { replies, outcome } = await answers(bytes, { 'DHCP.Release': fine })
    expect(replies.map(({ error }) => error)).toEqual([
      "rpc: can't find method DHCP.Nothing",
      "rpc: can't find service X.Release",
      'rpc: service/method request ill-formed: Release',
      'rpc: service/method request ill-formed: ',
      '',
    ])
    expect(outcome).toBeUndefined()
  })

  test('answers in the order in which calls end', async () => {
    const waiting: (() => void)[] = []
    const slow: GoHandler = async () => {
      const turn = new Promise<void>((resolve) => waiting.push(resolve))
      if (waiting.length === 3) waiting.pop()!()
      await turn
      // Each lets the one before it go when it is answered itself.
      setImmediate(() => waiting.pop()?.())
      return item(empty, {})
    }
    const { replies } = await answers(calls('A.B', 'A.B', 'A.B'), { 'A.B': slow })
    expect(replies.map(({ seq }) => seq)).toEqual([2n, 1n, 0n])
  })

  test('refuses arguments of another shape, and goes on', async () => {
    const encoder = new GobEncoder()
    const wrong = { ...response, id: 80 }
    const bytes = Buffer.concat([
      encoder.encode(
        item(request, { ServiceMethod: 'A.B', Seq: 0n }),
        item(request, { ServiceMethod: 'x', Seq: 1n }),
        item(request, { ServiceMethod: 'A.B', Seq: 1n }),
        item(wrong, { ServiceMethod: '', Seq: 2n, Error: '' }),
      ),
    ])
    const { replies } = await answers(bytes, {
      'A.B': async ({ ContainerID }) => {
        if (ContainerID === '') throw new Error('no container')
        return item(empty, {})
      },
    })
    expect(replies.map(({ error }) => error)).toEqual(['no container', 'no container'])
  })

  test('ends a connection that breaks the protocol, or breaks off', async () => {
    const two = calls('A.B', 'A.B')
    const cut = two.subarray(0, two.length - 1)
    expect((await answers(cut, { 'A.B': fine })).outcome).toBeInstanceOf(ConnectionLost)
    const one = calls('A.B')
    const headOnly = new GobEncoder().encode(item(request, { ServiceMethod: 'A.B', Seq: 0n }))
    expect((await answers(headOnly)).outcome).toBeInstanceOf(ConnectionLost)
    expect((await answers(Buffer.concat([one, Buffer.from([0])]))).outcome).toBeInstanceOf(GobError)
    expect((await answers(Buffer.concat([emptyDefinition, emptyDefinition]))).outcome).toBeInstanceOf(
      GobError,
    )
  })

  test('refuses more calls than a connection may have under way', async () => {
    const waiting: ((value: unknown) => void)[] = []
    const never: GoHandler = (_, signal) =>
      new Promise((_, reject) => {
        waiting.push(reject)
        signal.addEventListener('abort', () => reject(signal.reason))
      })
    const { client, server } = ends()
    void serveGoRpc(server, handlers({ 'A.B': never }))
    client.stream.write(calls(...Array.from({ length: 257 }, () => 'A.B')))
    while (client.incoming.queue.length < 20) await client.incoming.more()
    const [head] = decodeAll(client.incoming.queue.take(client.incoming.queue.length))
    expect(response.from(head!)).toMatchObject({ Seq: 256n, Error: 'too many calls at once' })
    expect(server.calls.size).toBe(256)
    server.calls.abort(new Error('enough'))
    await server.calls.idle()
  })

  test('survives anything', async () => {
    const valid = calls('A.B', 'X.Y', 'A.B')
    const damaged = fc
      .array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 6 })
      .map((changes) => {
        const bytes = Uint8Array.from(valid)
        for (const [at, value] of changes) bytes[at] = value
        return bytes
      })
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 300 }), damaged), async (bytes) => {
        const { outcome } = await answers(bytes, { 'A.B': fine })
        expect([undefined, 'GobError', 'ConnectionLost']).toContain((outcome as Error | undefined)?.name)
      }),
    )
  })
})
