import { renameSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { CniError } from '../../../../../cni/error.ts'
import type { LeaseKeeper } from '../../../../../ipam/dhcp/lease-keeper.ts'
import { Calls } from '../../../../../ipam/dhcp/rpc/calls.ts'
import { empty, goResult, toGoResult } from '../../../../../ipam/dhcp/rpc/go-messages.ts'
import { type GoHandler, serveGoRpc } from '../../../../../ipam/dhcp/rpc/go-rpc.ts'
import { item } from '../../../../../ipam/dhcp/rpc/gob.ts'
import { go, own, statusLine } from '../../../../../ipam/dhcp/rpc/greeting.ts'
import { Incoming } from '../../../../../ipam/dhcp/rpc/incoming.ts'
import {
  KeeperCannotTell,
  KeeperUnreachable,
  RemoteKeeper,
  type RemoteKeeperOptions,
} from '../../../../../ipam/dhcp/rpc/remote.ts'
import { serveKeeper } from '../../../../../ipam/dhcp/rpc/server.ts'
import { call, failure, fakeKeeper, folder, lease, result, status, stubborn } from './fake-keeper.ts'
import { AF_UNIX, inherit } from './inherited.ts'

/** Our server, and its client. */
const ours = async (over: Partial<LeaseKeeper> = {}, options: RemoteKeeperOptions = {}) => {
  const path = join(folder(), 'dhcp.sock')
  const { keeper, asked } = fakeKeeper(over)
  const server = await serveKeeper(keeper, { listen: { path } })
  onTestFinished(() => server.close(0))
  return { server, asked, remote: new RemoteKeeper(path, options) }
}

/** A server that does what it likes with each of its connections. */
const other = async (serve: (socket: Socket) => unknown, options: RemoteKeeperOptions = {}) => {
  const path = join(folder(), 'dhcp.sock')
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    void serve(socket)
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { remote: new RemoteKeeper(path, options), path, sockets }
}

/** As Go's daemon answers: to its own greeting, and with Go's error page to any other. */
const goDaemon = (handlers: Readonly<Record<string, GoHandler>>) =>
  other(async (stream) => {
    const incoming = new Incoming(stream)
    const line = await incoming.head()
    if (line !== `CONNECT ${go.path} HTTP/1.0`) {
      stream.end('HTTP/1.0 404 Not Found\r\nContent-Type: text/plain\r\n\r\n404 page not found\n')
      return
    }
    stream.write(statusLine(go.status))
    const send = (bytes: Uint8Array) => void stream.write(bytes)
    const connection = { incoming, calls: new Calls(), open: true, send }
    await serveGoRpc(connection, new Map(Object.entries(handlers))).catch(() => {})
  })

describe('our keeper behind a socket', () => {
  test('is asked everything', async () => {
    const { remote, asked } = await ours()
    const id = { containerId: 'c1', ifName: 'eth0' }
    expect(await remote.allocate(call)).toEqual(result)
    expect(await remote.check(call)).toEqual(result)
    expect(await remote.release(call)).toBeUndefined()
    expect(await remote.gc('lan', [call])).toBeUndefined()
    expect(await remote.status()).toEqual(status)
    expect(await remote.list()).toEqual([lease])
    expect(asked).toEqual([
      ['allocate', call],
      ['check', call],
      ['release', call],
      ['gc', 'lan', [id]],
      ['status'],
      ['list'],
    ])
  })

  test('has its errors come through as they are', async () => {
    const { remote } = await ours({
      check: async () => {
        throw new CniError({ code: 11, msg: 'no lease now', details: 'ask again' })
      },
    })
    const { code, msg, details } = await failure(remote.check(call))
    expect({ code, msg, details }).toEqual({ code: 11, msg: 'no lease now', details: 'ask again' })
  })

  test('is told when its caller gives up', async () => {
    const waiting = stubborn()
    const { remote } = await ours({ allocate: waiting.allocate })
    const controller = new AbortController()
    const failed = failure(remote.allocate(call, controller.signal))
    await waiting.started
    const why = new CniError({ code: 11, msg: 'out of time' })
    controller.abort(why)
    expect(await failed).toBe(why)
    await waiting.ended
  })

  test('is not asked by who has given up already', async () => {
    const { remote, asked } = await ours()
    const why = new CniError({ code: 11, msg: 'out of time' })
    expect(await failure(remote.allocate(call, AbortSignal.abort(why)))).toBe(why)
    expect(asked).toEqual([])
  })

  test('answers many at once', async () => {
    const { remote } = await ours({
      allocate: async ({ containerId }) => ({ ...result, dns: { domain: containerId } }),
    })
    const all = Array.from({ length: 100 }, (_, i) => `c${i}`)
    const domains = all.map(
      async (containerId) => (await remote.allocate({ ...call, containerId })).dns?.domain,
    )
    expect(await Promise.all(domains)).toEqual(all)
  })

  test('is waited for while too many others do', async () => {
    const path = join(folder(), 'dhcp.sock')
    const fd = inherit(AF_UNIX, Buffer.from(`${path}\0`), 0)
    const others: Socket[] = []
    onTestFinished(() => {
      for (const socket of others) socket.destroy()
    })
    const full = async (): Promise<boolean> => {
      const socket = connect(path).on('error', () => {})
      others.push(socket)
      return await new Promise((resolve) => {
        socket.once('connect', () => resolve(false)).once('error', () => resolve(true))
      })
    }
    while (!(await full()));
    const late = await failure(new RemoteKeeper(path, { connectTimeout: 30 }).status())
    expect((late as KeeperUnreachable).reason).toBe('ETIMEDOUT')
    const answer = new RemoteKeeper(path).status()
    const server = await serveKeeper(fakeKeeper().keeper, { listen: { fd } })
    onTestFinished(() => server.close(0))
    expect(await answer).toEqual(status)
  })

  test('goes away in the middle of a call: try again later', async () => {
    const waiting = stubborn()
    const { remote, server } = await ours({ allocate: () => waiting.allocate(call) })
    const failed = failure(remote.allocate(call))
    await waiting.started
    await server.close(0)
    const { code, msg, details } = await failed
    expect({ code, msg }).toEqual({ code: 11, msg: 'error calling DHCP.Allocate: connection lost' })
    expect(details).toMatch('went away')
  })
})

describe('a keeper that answers', () => {
  const answering = (line: string, options: RemoteKeeperOptions = {}) =>
    other(async (stream) => {
      const incoming = new Incoming(stream)
      await incoming.head()
      stream.write(statusLine(own.status))
      await incoming.more()
      stream.write(line)
    }, options)

  test.each([
    ['no JSON', 'x\n'],
    ['a result that is none', '{"id":1,"result":{"ips":[{"address":"x"}]}}\n'],
    ['a result of another kind', '{"id":1,"result":[]}\n'],
    ['an error that is none', '{"id":1,"error":1}\n'],
  ])('%s is not understood', async (_, line) => {
    expect((await failure((await answering(line)).remote.allocate(call))).code).toBe(6)
  })

  test.each([
    '{}',
    '{"pid":1,"version":"1","leases":1}',
    '{"pid":1,"version":"1","leases":"1","counters":{}}',
    '{"pid":1,"version":"1","leases":1,"counters":{"x":"1"}}',
  ])('the status %s is not understood', async (status) => {
    const { remote } = await answering(`{"id":1,"result":${status}}\n`)
    expect((await failure(remote.status())).msg).toMatch(/^status(\.|:)/)
  })

  test.each(['{}', '[1]', '[{}]', JSON.stringify([{ ...lease, version: 5 }])])(
    'the leases %s are not understood',
    async (leases) => {
      const { remote } = await answering(`{"id":1,"result":${leases}}\n`)
      expect((await failure(remote.list())).msg).toMatch(/^leases/)
    },
  )

  test('nothing is not waited for, but by ADD, which has its own signal', async () => {
    const { remote } = await answering('', { callTimeout: 30 })
    const { code, msg } = await failure(remote.release(call))
    expect({ code, msg }).toEqual({ code: 11, msg: 'error calling DHCP.Release: no answer within 30 ms' })
  })
})

describe("Go's daemon", () => {
  test('gives a lease, and takes it back', async () => {
    const asked: unknown[] = []
    const { remote } = await goDaemon({
      'DHCP.Allocate': async (args) => {
        asked.push({ ...args, StdinData: JSON.parse(Buffer.from(args.StdinData).toString()) })
        return item(goResult, toGoResult(result))
      },
      'DHCP.Release': async () => item(empty, {}),
    })
    expect(await remote.allocate(call)).toMatchObject(result)
    expect(await remote.release(call)).toBeUndefined()
    expect(asked).toEqual([
      {
        ContainerID: 'c1',
        Netns: '/run/netns/blue',
        IfName: 'eth0',
        Args: 'K8S_POD_NAME=web-0',
        Path: '',
        NetnsOverride: '',
        StdinData: call.conf,
      },
    ])
  })

  test.each([
    ['no more tries', 11],
    ['error parsing netconf: x', 999],
  ])('says %s: code %i', async (text, expected) => {
    const { remote } = await goDaemon({
      'DHCP.Allocate': async () => {
        throw new Error(text)
      },
    })
    const { code, msg } = await failure(remote.allocate(call))
    expect({ code, msg }).toEqual({ code: expected, msg: `error calling DHCP.Allocate: ${text}` })
  })

  test('gives what is no address', async () => {
    const { remote } = await goDaemon({
      'DHCP.Allocate': async () =>
        item(goResult, {
          ...goResult.zero,
          IPs: [
            { Interface: undefined, Gateway: Buffer.of(1), Address: { IP: Buffer.of(), Mask: Buffer.of() } },
          ],
        }),
    })
    const { code, msg } = await failure(remote.allocate(call))
    expect({ code, msg }).toEqual({
      code: 6,
      msg: 'error calling DHCP.Allocate: an address without its prefix',
    })
  })

  test('cannot tell a lease, and is not asked to make one', async () => {
    const { remote, path } = await goDaemon({})
    const error = await failure(remote.check(call))
    expect(error).toBeInstanceOf(KeeperCannotTell)
    expect(error.msg).toBe(`the DHCP daemon at ${path} cannot tell a lease without making one`)
    expect(await failure(remote.list())).toBeInstanceOf(KeeperCannotTell)
    expect(await remote.gc('lan', [])).toBeUndefined()
    expect(await remote.status()).toEqual({ pid: 0, version: 'go', leases: 0, counters: {} })
  })

  test('goes away in the middle of a call: try again later', async () => {
    const { remote, sockets } = await goDaemon({
      'DHCP.Allocate': () => {
        for (const socket of sockets) socket.destroy()
        return new Promise(() => {})
      },
    })
    expect((await failure(remote.allocate(call))).code).toBe(11)
  })
})

describe('nobody', () => {
  const unreachable = async (work: Promise<unknown>) => {
    const error = await failure(work)
    expect(error).toBeInstanceOf(KeeperUnreachable)
    const { code, msg, reason } = error as KeeperUnreachable
    expect(code).toBe(50)
    return { msg, reason }
  }

  test('has made the socket', async () => {
    const path = join(folder(), 'dhcp.sock')
    expect(await unreachable(new RemoteKeeper(path).allocate(call))).toEqual({
      reason: 'ENOENT',
      msg: `error dialing DHCP daemon: dial unix ${path}: connect: no such file or directory`,
    })
  })

  test('listens any more', async () => {
    const path = join(folder(), 'dhcp.sock')
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(`${path}.made`, resolve))
    renameSync(`${path}.made`, path)
    await new Promise((resolve) => server.close(resolve))
    expect(await unreachable(new RemoteKeeper(path).release(call))).toEqual({
      reason: 'ECONNREFUSED',
      msg: `error dialing DHCP daemon: dial unix ${path}: connect: connection refused`,
    })
  })

  test('stays connected, or could be', async () => {
    const { remote, path, sockets } = await other((socket) => socket.destroy())
    expect(await unreachable(remote.check(call))).toMatchObject({ reason: 'ECONNRESET' })
    expect(sockets.size).toBe(1)
    expect((await unreachable(new RemoteKeeper(`${path}${'x'.repeat(100)}`).status())).reason).toBe(
      'ENAMETOOLONG',
    )
    expect((await unreachable(new RemoteKeeper('').status())).reason).toBe('ENAMETOOLONG')
  })

  test('greets in time', async () => {
    const { remote, path } = await other(() => {}, { connectTimeout: 30 })
    expect(await unreachable(remote.status())).toEqual({
      reason: 'ETIMEDOUT',
      msg: `error dialing DHCP daemon: dial unix ${path}: no answer within 30 ms`,
    })
  })

  test('who answers is a keeper', async () => {
    const { remote } = await other((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    const { reason, msg } = await unreachable(remote.status())
    expect(reason).toBe('EPROTO')
    expect(msg).toMatch('unexpected HTTP response: "400 Bad Request"')
    const shouting = await other((socket) => socket.end('x'.repeat(10_000)))
    expect((await unreachable(shouting.remote.status())).reason).toBe('EPROTO')
  })

  test('greets before the caller gives up', async () => {
    const { remote } = await other(() => {})
    const controller = new AbortController()
    const failed = failure(remote.allocate(call, controller.signal))
    const why = new CniError({ code: 11, msg: 'out of time' })
    controller.abort(why)
    expect(await failed).toBe(why)
  })
})
