import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CniError } from '../../../../../cni/error.ts'
import type { JsonObject } from '../../../../../cni/types.ts'
import { ConnectionLost, ProtocolError } from '../../../../../ipam/dhcp/rpc/incoming.ts'
import { MAX_LINE } from '../../../../../ipam/dhcp/rpc/lines.ts'
import { type OwnHandler, ownCall, serveOwnRpc } from '../../../../../ipam/dhcp/rpc/own-rpc.ts'
import { ends, everything } from './ends.ts'
import { failure } from './fake-keeper.ts'

const handlers = (all: Readonly<Record<string, OwnHandler>>) => new Map(Object.entries(all))
const echo: OwnHandler = async (params) => params
const settled = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => error)

/** What a server answers to these bytes, and what serving them came to. */
const answers = async (bytes: string | Uint8Array, all: Readonly<Record<string, OwnHandler>> = { echo }) => {
  const { client, server, far } = ends()
  const serving = settled(serveOwnRpc(server, handlers(all))).then(async (outcome) => {
    await server.calls.idle()
    far.end()
    return outcome
  })
  client.stream.end(bytes)
  const text = Buffer.from(await everything(client.incoming)).toString()
  const replies = text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as JsonObject)
  return { replies, outcome: await serving }
}

/** A client, and a server with these methods. */
const connected = (all: Readonly<Record<string, OwnHandler>>) => {
  const { client, server, far } = ends()
  void settled(serveOwnRpc(server, handlers(all)))
  return { client, calls: server.calls, far }
}

describe('a call', () => {
  test('is answered with what the method gives', async () => {
    const { client } = connected({ echo })
    expect(await ownCall(client, 'echo', { a: 'ü\n', b: [1] })).toEqual({ a: 'ü\n', b: [1] })
  })

  test('of a method that gives nothing is answered with null', async () => {
    expect(await ownCall(connected({ no: async () => {} }).client, 'no', {})).toBeNull()
  })

  test('fails with the error, code and details', async () => {
    const refuse = (error: unknown) =>
      failure(
        ownCall(
          connected({
            no: async () => {
              throw error
            },
          }).client,
          'no',
          {},
        ),
      )
    const full = await refuse(new CniError({ code: 11, msg: 'later', details: 'why' }))
    expect({ code: full.code, msg: full.msg, details: full.details }).toEqual({
      code: 11,
      msg: 'later',
      details: 'why',
    })
    const { code, msg, details } = await refuse(new Error('boom'))
    expect({ code, msg, details }).toEqual({ code: 999, msg: 'boom', details: undefined })
  })

  test('of an unknown method is an error, also of one that objects have', async () => {
    for (const name of ['nothing', 'toString', '__proto__'])
      expect((await failure(ownCall(connected({ echo }).client, name, {}))).msg).toBe(
        `unknown method "${name}"`,
      )
  })

  test('takes a list of any length, in pieces', async () => {
    const list = Array.from({ length: 20_000 }, (_, i) => ({ i, text: 'x'.repeat(i % 200) }))
    expect(JSON.stringify(list).length).toBeGreaterThan(MAX_LINE)
    expect(await ownCall(connected({ list: async () => list }).client, 'list', {})).toEqual(list)
    expect(await ownCall(connected({ list: async () => [] }).client, 'list', {})).toEqual([])
  })

  test('that is too long is not made, and a result that is too long not sent', async () => {
    const long = 'x'.repeat(MAX_LINE)
    expect((await failure(ownCall(ends().client, 'echo', { long }))).code).toBe(5)
    const { client } = connected({ long: async () => long })
    expect((await failure(ownCall(client, 'long', {}))).msg).toBe(
      "a result is too long for the DHCP daemon's protocol",
    )
    const shout = async () => {
      throw new Error(long)
    }
    expect((await failure(ownCall(connected({ shout }).client, 'shout', {}))).code).toBe(5)
  })

  test.each([
    ['nothing', '', ConnectionLost],
    ['half a line', '{"id":1,', ConnectionLost],
    ['no JSON', 'x\n', ProtocolError],
    ['no UTF-8', Buffer.from('{"id":1,"result":"\xff"}\n', 'latin1'), ProtocolError],
    ['another reply', '{"id":2,"result":1}\n', ProtocolError],
    ['null', 'null\n', ProtocolError],
    ['an error that is none', '{"id":1,"error":{"code":"x"}}\n', CniError],
    ['an endless line', Buffer.alloc(MAX_LINE + 2, 'x'), ProtocolError],
  ])('that is answered by %s fails', async (_, reply, kind) => {
    const { client, far } = ends()
    far.end(reply)
    expect(await settled(ownCall(client, 'echo', {}))).toBeInstanceOf(kind)
  })
})

describe('a server', () => {
  test('answers in the order in which calls end', async () => {
    let go: () => void = () => {}
    const wait: OwnHandler = async () => {
      await new Promise<void>((resolve) => {
        go = resolve
      })
    }
    const release: OwnHandler = async () => go()
    const { replies } = await answers('{"id":7,"method":"wait"}\n{"id":8,"method":"go"}\n', {
      wait,
      go: release,
    })
    expect(replies).toEqual([
      { id: 8, result: null },
      { id: 7, result: null },
    ])
  })

  const untilAborted: OwnHandler = (_, signal) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

  test('cancels the call that is named, and no other', async () => {
    const lines = [
      { id: 1, method: 'wait' },
      { id: 1, method: 'cancel' },
      { id: 2, method: 'cancel' },
    ]
    const { replies } = await answers(lines.map((line) => `${JSON.stringify(line)}\n`).join(''), {
      wait: untilAborted,
    })
    expect(replies).toEqual([{ id: 1, error: { code: 999, msg: 'the caller has given up' } }])
  })

  test.each([
    ['no JSON', 'x'],
    ['no object', '[]'],
    ['no id', '{"method":"echo"}'],
    ['a broken id', '{"id":1.5,"method":"echo"}'],
    ['no method', '{"id":1}'],
  ])('tells the peer that sends %s, and ends the connection', async (_, line) => {
    const { replies, outcome } = await answers(`${line}\n{"id":9,"method":"echo"}\n`)
    expect(replies).toMatchObject([{ id: null, error: { code: 6 } }])
    expect(outcome).toBeInstanceOf(ProtocolError)
  })

  test('ends a connection that uses the id of a call that is under way', async () => {
    const { client, calls } = connected({ wait: untilAborted })
    client.stream.write('{"id":1,"method":"wait"}\n{"id":1,"method":"wait"}\n')
    await client.incoming.more()
    expect(Buffer.from(client.incoming.queue.peek()).toString()).toMatch('call 1 is under way already')
    calls.abort(new Error('over'))
  })

  test('takes lines of up to the limit, and none that is longer', async () => {
    const line = (length: number) => {
      const empty = '{"id":1,"method":"size","params":""}'
      return `${empty.slice(0, -2)}${'x'.repeat(length - empty.length)}"}\n`
    }
    const size: OwnHandler = async (params) => (params as string).length
    expect((await answers(line(MAX_LINE), { size })).replies).toMatchObject([{ id: 1 }])
    const { replies, outcome } = await answers(line(MAX_LINE + 1), { size })
    expect(replies).toEqual([{ id: null, error: { code: 6, msg: 'a line has at most 1048576 bytes' } }])
    expect(outcome).toBeInstanceOf(ProtocolError)
  })

  test('refuses more calls than a connection may have under way', async () => {
    const { client, calls } = connected({ wait: untilAborted })
    for (let id = 0; id < 257; id++) client.stream.write(`{"id":${id},"method":"wait"}\n`)
    await client.incoming.more()
    expect(JSON.parse(Buffer.from(client.incoming.queue.peek()).toString())).toEqual({
      id: 256,
      error: { code: 11, msg: 'too many calls at once' },
    })
    calls.abort(new Error('over'))
  })

  test('survives anything', async () => {
    const line = fc.oneof(
      fc.json().map((json) => Buffer.from(`${json}\n`)),
      fc
        .record({
          id: fc.oneof(fc.integer(), fc.jsonValue()),
          method: fc.constantFrom('echo', 'cancel', 'x'),
        })
        .map((message) => Buffer.from(`${JSON.stringify(message)}\n`)),
      fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 8 }), async (lines) => {
        const { outcome } = await answers(Buffer.concat(lines))
        expect([undefined, 'ProtocolError']).toContain((outcome as Error | undefined)?.name)
      }),
    )
  })
})
