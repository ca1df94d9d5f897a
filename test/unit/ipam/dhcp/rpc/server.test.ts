import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { CniError, codes } from '../../../../../cni/error.ts'
import type { LeaseKeeper } from '../../../../../ipam/dhcp/lease-keeper.ts'
import { connectLine, go, own } from '../../../../../ipam/dhcp/rpc/greeting.ts'
import { KeeperUnreachable, RemoteKeeper } from '../../../../../ipam/dhcp/rpc/remote.ts'
import { type ServeKeeperOptions, serveKeeper } from '../../../../../ipam/dhcp/rpc/server.ts'
import { binding } from '../../../../../native/binding.ts'
import { eventually } from '../../../../support/wait.ts'
import { call, failure, fakeKeeper, folder, lease, result, stubborn } from './fake-keeper.ts'
import { firstWrite } from './gob-bytes.ts'
import { AF_INET, AF_UNIX, inherit } from './inherited.ts'

const serve = async (
  over: Partial<LeaseKeeper> = {},
  options: Partial<ServeKeeperOptions> = {},
  path = join(folder(), 'cni/dhcp.sock'),
) => {
  const { keeper, asked } = fakeKeeper(over)
  const server = await serveKeeper(keeper, { listen: { path }, ...options })
  onTestFinished(() => server.close(0))
  return { server, path, asked, remote: new RemoteKeeper(path) }
}

/** A raw client. */
const client = async (path: string): Promise<Socket> => {
  const socket = connect(path)
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** All that a server says until it closes the connection, or until it has said `last`. */
const heard = (socket: Socket, last?: string): Promise<string> =>
  new Promise((resolve) => {
    let text = ''
    socket.on('data', (data) => {
      text += data.toString('latin1')
      if (last !== undefined && text.includes(last)) resolve(text)
    })
    socket.once('close', () => resolve(text))
  })

describe('the socket', () => {
  test('is in a directory for root alone, and for root and its group', async () => {
    const { path } = await serve()
    const directory = join(path, '..')
    expect(statSync(directory).mode & 0o777).toBe(0o700)
    expect(lstatSync(path).mode & 0o777).toBe(0o660)
    expect(readdirSync(directory)).toEqual(['dhcp.sock'])
  })

  test('leaves a directory that is there as it is', async () => {
    const directory = folder()
    chmodSync(directory, 0o755)
    await serve({}, {}, join(directory, 'dhcp.sock'))
    expect(statSync(directory).mode & 0o777).toBe(0o755)
  })

  test('that is stale is replaced', async () => {
    const { server, path } = await serve()
    // As after SIGKILL: closed, and not removed.
    renameSync(path, `${path}.kept`)
    await server.close()
    renameSync(`${path}.kept`, path)
    expect(lstatSync(path).isSocket()).toBe(true)
    const { remote } = await serve({}, {}, path)
    expect(await remote.allocate(call)).toEqual(result)
  })

  test('that somebody serves is refused', async () => {
    const { path, remote } = await serve()
    const { code, msg, details } = await failure(serve({}, {}, path))
    expect({ code, msg, details }).toEqual({
      code: codes.io,
      msg: `listen unix ${path}: address already in use`,
      details: 'another process serves it: stop that one first',
    })
    expect(await remote.allocate(call)).toEqual(result)
  })

  test('is never made in the place of something else', async () => {
    const path = join(folder(), 'dhcp.sock')
    writeFileSync(path, 'precious')
    expect((await failure(serve({}, {}, path))).details).toMatch('it is no socket')
    expect(statSync(path).size).toBe(8)
    mkdirSync(`${path}2`)
    expect((await failure(serve({}, {}, `${path}2`))).details).toMatch('it is no socket')
  })

  test('goes to one of those who start at once', async () => {
    const path = join(folder(), 'dhcp.sock')
    const starts = await Promise.allSettled(Array.from({ length: 8 }, () => serve({}, {}, path)))
    expect(starts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(readdirSync(join(path, '..'))).toEqual(['dhcp.sock'])
    expect(await new RemoteKeeper(path).allocate(call)).toEqual(result)
  })

  test('can not be made where its path is too long, or no directory can be', async () => {
    const long = join(folder(), 'x'.repeat(107), 'dhcp.sock')
    expect((await failure(serve({}, {}, long))).msg).toMatch('a socket')
    expect((await failure(serve({}, {}, ''))).msg).toMatch('a socket')
    const file = join(folder(), 'file')
    writeFileSync(file, '')
    expect((await failure(serve({}, {}, join(file, 'dhcp.sock')))).code).toBe(codes.io)
  })

  test('is removed at the end, together with nothing that is not ours', async () => {
    const { server, path } = await serve()
    await Promise.all([server.close(), server.close()])
    expect(existsSync(path)).toBe(false)

    const second = await serve()
    renameSync(second.path, `${second.path}.moved`)
    const other = await serve({}, {}, second.path)
    await second.server.close()
    expect(await other.remote.allocate(call)).toEqual(result)
    await other.server.close()

    const third = await serve()
    renameSync(third.path, `${third.path}.moved`)
    writeFileSync(third.path, 'precious')
    await third.server.close()
    expect(statSync(third.path).size).toBe(8)
  })

  test('may be inherited, and then stays', async () => {
    const path = join(folder(), 'dhcp.sock')
    const fd = inherit(AF_UNIX, Buffer.from(`${path}\0`))
    // Who comes before the service runs waits.
    const early = new RemoteKeeper(path).allocate(call)
    const { keeper } = fakeKeeper()
    const server = await serveKeeper(keeper, { listen: { fd } })
    expect(server.path).toBeNull()
    expect(await early).toEqual(result)
    await server.close()
    expect(lstatSync(path).isSocket()).toBe(true)
  })

  test('can not be something else that was inherited', async () => {
    const { keeper } = fakeKeeper()
    const loopback = Buffer.from([0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    const refused = async (fd: number) => (await failure(serveKeeper(keeper, { listen: { fd } }))).code
    expect(await refused(inherit(AF_INET, loopback))).toBe(codes.io)
    expect(await refused(999_999)).toBe(codes.io)
    const file = binding().open('/dev/null', 0, 0)
    expect(await refused(file.fd)).toBe(codes.io)
    file.close()
  })
})

describe('a peer', () => {
  test('that does not say what it speaks is left', async () => {
    const { path } = await serve({}, { greetingTimeout: 30 })
    const silent = await client(path)
    const dribbling = await client(path)
    const dribble = setInterval(() => dribbling.write('C'), 5)
    onTestFinished(() => clearInterval(dribble))
    expect(await Promise.all([heard(silent), heard(dribbling)])).toEqual(['', ''])
  })

  test('that calls nothing is left, and one that waits for its call is not', async () => {
    const waiting = stubborn()
    const { path } = await serve({ allocate: waiting.allocate }, { idleTimeout: 60 })
    const idle = await client(path)
    idle.write(connectLine(own))
    const busy = await client(path)
    busy.write(`${connectLine(own)}{"id":1,"method":"allocate","params":${JSON.stringify(call)}}\n`)
    await waiting.started
    expect(await heard(idle)).toBe('HTTP/1.0 200 Connected to Linkwright DHCP 1\n\n')
    expect(busy.readyState).toBe('open')
    busy.write('{"id":1,"method":"cancel"}\n')
    // Its time begins with the end of its call.
    expect(await heard(busy)).toMatch('"the caller has given up"')
  })

  test.each([
    ['another path', 'CONNECT /x HTTP/1.0\n\n', 'HTTP/1.0 404 Not Found\n\n'],
    ['another method', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', 'HTTP/1.0 405 must CONNECT\n\n'],
    ['no HTTP', 'hello\n\n', 'HTTP/1.0 400 Bad Request\n\n'],
    ['no end', 'x'.repeat(5000), ''],
  ])('that greets with %s is left', async (_, greeting, expected) => {
    const socket = await client((await serve()).path)
    socket.write(greeting)
    expect(await heard(socket)).toBe(expected)
  })

  test('may greet as HTTP clients do', async () => {
    const socket = await client((await serve()).path)
    socket.write(`CONNECT ${own.path} HTTP/1.1\r\nHost: localhost\r\nX: y\r\n\r\n{"id":1,"method":"list"}\n`)
    expect(await heard(socket, '"id":1')).toMatch('"result":[')
  })

  test('that is one too many is told to come later, and makes room for others when it goes', async () => {
    const { path, remote } = await serve({}, { maxConnections: 2 })
    const [first, second] = [await client(path), await client(path)]
    second.write(connectLine(own))
    await heard(second, 'Connected')
    expect(await heard(await client(path))).toBe('HTTP/1.0 503 Too many connections\n\n')
    const { code, msg } = await failure(remote.allocate(call))
    expect({ code, msg }).toEqual({
      code: 11,
      msg: `error dialing DHCP daemon: ${path}: too many connections`,
    })
    first.destroy()
    await eventually('there is room', () => remote.allocate(call))
  })

  test('that asks and does not listen is left before it fills the memory', async () => {
    const long = 'x'.repeat(500_000)
    const { path } = await serve({ list: async () => [{ ...lease, address: long }] })
    const socket = await client(path)
    socket.pause()
    socket.write(connectLine(own))
    for (let id = 0; id < 60; id++) socket.write(`{"id":${id},"method":"list"}\n`)
    await once(socket.resume(), 'close')
    expect(socket.bytesRead).toBeLessThan(10 << 20)
  })

  test('that goes makes its calls give up, in either protocol', async () => {
    const waiting = [stubborn(), stubborn()]
    const { path } = await serve({
      allocate: (call, signal) => waiting[call.ifName === 'eth0' ? 0 : 1]!.allocate(call, signal),
    })
    const ours = await client(path)
    const params = JSON.stringify({ ...call, ifName: 'eth1' })
    ours.write(`${connectLine(own)}{"id":1,"method":"allocate","params":${params}}\n`)
    const gos = await client(path)
    gos.write(connectLine(go))
    gos.write(firstWrite)
    await Promise.all(waiting.map(({ started }) => started))
    ours.end()
    gos.destroy()
    for (const { ended } of waiting)
      expect(await ended).toEqual(new CniError({ code: 999, msg: 'the caller has gone' }))
  })

  test('can send anything: others are served all the same', async () => {
    const { path, remote } = await serve()
    const greeted = fc.constantFrom('', connectLine(own), connectLine(go), 'CONNECT ')
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc.constant(firstWrite),
    )
    await fc.assert(
      fc.asyncProperty(greeted, noise, fc.boolean(), async (greeting, bytes, abrupt) => {
        const socket = await client(path)
        socket.write(greeting)
        socket.write(bytes)
        if (abrupt) socket.destroy()
        else socket.end()
        await heard(socket)
        socket.destroy()
      }),
      { numRuns: 60 },
    )
    expect(await remote.allocate(call)).toEqual(result)
  })
})

describe('the end', () => {
  test('waits for calls that are under way, and takes no more', async () => {
    let answer: () => void = () => {}
    const started = new Promise<void>((begun) => {
      answer = begun
    })
    let finish: () => void = () => {}
    const { server, remote, path } = await serve({
      allocate: () =>
        new Promise((resolve) => {
          finish = () => resolve(result)
          answer()
        }),
    })
    const idle = await client(path)
    const allocated = remote.allocate(call)
    await started
    const closed = server.close(10_000)
    await heard(idle)
    await eventually('the socket is gone', () => !existsSync(path))
    expect(await failure(remote.allocate(call))).toBeInstanceOf(KeeperUnreachable)
    finish()
    expect(await allocated).toEqual(result)
    await closed
  })

  test('has patience: then it makes calls give up, and goes even where they do not', async () => {
    const waiting = stubborn()
    const first = await serve({ allocate: waiting.allocate })
    const given = failure(first.remote.allocate(call))
    await waiting.started
    await first.server.close(20)
    const { code, msg } = await given
    expect({ code, msg }).toEqual({ code: 11, msg: 'what keeps the leases is stopping' })

    let started: () => void = () => {}
    const begun = new Promise<void>((resolve) => {
      started = resolve
    })
    const second = await serve({
      allocate: () => {
        started()
        return new Promise(() => {})
      },
    })
    const lost = failure(second.remote.allocate(call))
    await begun
    await second.server.close(20)
    expect((await lost).msg).toBe('error calling DHCP.Allocate: connection lost')
  })
})
