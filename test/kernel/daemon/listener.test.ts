import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Listener, type ListenOptions, listen, unixAddress } from '../../../daemon/listener.ts'
import { Stream, type StreamBinding } from '../../../daemon/stream.ts'
import { binding, type Descriptor } from '../../../native/binding.ts'
import { Client, closeClients } from '../../support/daemon/client.ts'
import { folder } from '../../support/daemon/start.ts'
import { eventually } from '../../support/wait.ts'
import { AF_INET, AF_UNIX, inherit } from '../../unit/ipam/dhcp/rpc/inherited.ts'
import { closing, native, SOCK_DGRAM, socket, streamPair } from '../../unit/native/support.ts'

/** Listens, and notes what comes of it. */
const start = async (where: ListenOptions['where'], more: Partial<ListenOptions> = {}) => {
  const connected: Descriptor[] = []
  const refused: string[] = []
  const said: string[] = []
  const nothing = (): void => {}
  const say = (message: string): void => void said.push(message)
  const listener: Listener = await listen({
    where,
    connected: (one) => connected.push(closing(one)),
    refused: (reason) => refused.push(reason),
    log: { debug: nothing, info: nothing, warn: say, error: say },
    ...more,
  })
  onTestFinished(() => {
    closeClients()
    listener.close()
  })
  return { listener, connected, refused, said }
}

const place = (): string => join(folder(), 'run', 'l.sock')

describe('a path', () => {
  test('is root’s alone, in a folder that is, and goes when it is over', async () => {
    const path = place()
    const { listener, connected } = await start({ path })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(statSync(dirname(path)).mode & 0o777).toBe(0o700)
    Client.connect(path)
    await eventually('it is accepted', () => connected.length === 1)
    await listener.retire()
    expect(readdirSync(dirname(path))).toEqual([])
    // Who has connected before is accepted all the same.
    expect(() => Client.connect(path)).toThrow(/ENOENT/)
  })

  test('of somebody who ended without a word is taken over; of somebody who lives it is not', async () => {
    const path = place()
    mkdirSync(dirname(path))
    const dead = socket(AF_UNIX, 1)
    native.bind(dead, unixAddress(path))
    dead.close()
    expect(existsSync(path)).toBe(true)
    await start({ path })
    await expect(start({ path })).rejects.toMatchObject({
      code: 5,
      msg: `listen unix ${path}: address already in use`,
      details: 'another process serves it: stop that one first',
    })
    Client.connect(path)
  })

  test('that is no socket stays as it is', async () => {
    const path = place()
    mkdirSync(dirname(path))
    writeFileSync(path, 'mine')
    await expect(start({ path })).rejects.toMatchObject({ code: 5 })
    expect(statSync(path).isFile()).toBe(true)
  })

  test('that was taken over by somebody else is not removed', async () => {
    const path = place()
    const { listener } = await start({ path })
    const { unlinkSync } = await import('node:fs')
    unlinkSync(path)
    writeFileSync(path, 'theirs')
    await listener.retire()
    expect(existsSync(path)).toBe(true)
  })

  test.each(['', `/${'x'.repeat(107)}`, `/run/${'x/'.repeat(60)}s`])(
    'has 1 to 107 bytes, unlike %j',
    async (path) => {
      await expect(start({ path })).rejects.toMatchObject({ code: 5 })
    },
  )
})

test('peers of another user are refused', async () => {
  const path = place()
  // The same question, the other way round: here everybody is root.
  const { connected, refused, said } = await start({ path }, { uid: 1 })
  const client = Client.connect(path)
  await client.closed()
  expect(refused).toEqual(['peer'])
  expect(said).toEqual(['a connection of another user was refused'])
  expect(connected).toEqual([])
})

test.each(['EMFILE', 'ENFILE', 'ENOMEM'])(
  '%s: those who wait are accepted when there is room again',
  async (code) => {
    let full = 2
    const path = place()
    const accept = (listening: Descriptor): Descriptor | null => {
      if (full-- > 0)
        throw Object.assign(new Error(`accept4: ${code}`), { code, errno: 24, syscall: 'accept4' })
      return native.accept(listening)
    }
    const { connected, refused, said } = await start({ path }, { native: { ...binding(), accept } })
    Client.connect(path)
    await eventually('it is accepted', () => connected.length === 1)
    expect(refused).toEqual(['resources', 'resources'])
    expect(said).toHaveLength(2)
  },
)

/** Whoever gets the numbers owns them; so the objects, which would close them too, live as long as the process. */
const owners: Descriptor[] = []
/** A socket of a type that does not listen; 0: a file. @returns its number */
const given = (type: number): number => {
  const [opened] =
    type === 0
      ? [native.open('/dev/null', 0, 0)]
      : native.openInNetns(null, [{ domain: AF_UNIX, type, protocol: 0 }])
  owners.push(opened as Descriptor)
  return owners.at(-1)!.fd
}

describe('an inherited descriptor', () => {
  test('is accepted on, and does not block', async () => {
    const path = join(folder(), 's')
    const fd = inherit(AF_UNIX, Buffer.from(`${path}\0`))
    const { connected, listener } = await start({ fd })
    Client.connect(path)
    Client.connect(path)
    await eventually('both are accepted', () => connected.length === 2)
    await listener.retire()
    expect(existsSync(path)).toBe(true)
  })

  test('of something else is refused', async () => {
    const tcp = inherit(AF_INET, Buffer.alloc(14))
    for (const fd of [tcp, given(1), given(SOCK_DGRAM), given(0)])
      await expect(start({ fd })).rejects.toMatchObject({ code: 5, msg: expect.stringContaining(`${fd}`) })
    await expect(start({ fd: 100_000 })).rejects.toMatchObject({ code: 5 })
  })
})

describe('a stream', () => {
  const reader = () => {
    const chunks: Uint8Array[] = []
    const ends: (Error | null)[] = []
    return {
      chunks,
      ends,
      data: (bytes: Uint8Array) => void chunks.push(bytes),
      end: (error: Error | null) => void ends.push(error),
    }
  }

  test('tells the end once, and nothing after it is closed', async () => {
    const [one, other] = streamPair()
    const told = reader()
    const stream = new Stream(other, told)
    stream.start()
    native.send(one, Buffer.from('hello'))
    one.close()
    await eventually('it has ended', () => told.ends.length > 0)
    expect(Buffer.concat(told.chunks).toString()).toBe('hello')
    stream.close()
    stream.close()
    expect(told.ends).toEqual([null])
    await expect(stream.write(Buffer.from('x'))).rejects.toThrow('the connection is closed')
  })

  test('writes in order, however little the peer takes, and fails what waits when it is closed', async () => {
    const [one, other] = streamPair()
    const stream = new Stream(other, reader())
    stream.start()
    const parts = ['a', 'b', 'c'].map((letter) => Buffer.from(letter.repeat(300_000)))
    const written = parts.map((part) => stream.write(part))
    let got = ''
    await eventually('all of it has come', () => {
      for (let part = native.receive(one, 65_536); part; part = native.receive(one, 65_536))
        got += Buffer.from(part.data).toString()
      return got.length === 900_000
    })
    await Promise.all(written)
    expect(got).toBe(parts.map(String).join(''))
    const stuck = [stream.write(Buffer.alloc(1 << 20)), stream.write(Buffer.alloc(1))]
    stream.close()
    const results = await Promise.allSettled(stuck)
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  })

  test('to somebody who is gone fails', async () => {
    const [one, other] = streamPair()
    const stream = new Stream(other, reader())
    stream.start()
    one.close()
    await expect(stream.write(Buffer.alloc(100))).rejects.toMatchObject({ code: 'EPIPE' })
    stream.close()
  })

  test('descriptors that were lost end it, and those that came are closed', async () => {
    const [, other] = streamPair()
    const came = native.open('/dev/null', 0, 0)
    const told = reader()
    const fake: StreamBinding = {
      ...binding(),
      receive: () => ({ data: Buffer.from('x'), address: Buffer.alloc(0), descriptors: [came], flags: 8 }),
    }
    new Stream(other, told, { native: fake }).start()
    expect(told.ends).toMatchObject([{ message: 'descriptors that came along were lost: too many are open' }])
    expect(told.chunks).toEqual([])
    expect(came.fd).toBe(-1)
  })
})

test('folders that somebody else made keep their mode', async () => {
  const path = place()
  mkdirSync(dirname(path))
  chmodSync(dirname(path), 0o755)
  await start({ path })
  expect(statSync(dirname(path)).mode & 0o777).toBe(0o755)
})

describe('a greeting', () => {
  const greeting = { question: Buffer.from('ping'), answer: Buffer.from('pong'), ahead: 256 }

  /** A socket that listens, and where; whoever connects waits for a listener to begin. */
  const prepared = () => {
    const path = join(folder(), 's')
    return { path, fd: inherit(AF_UNIX, Buffer.from(`${path}\0`), 64) }
  }
  const greet = (path: string, text = 'ping'): Client => {
    const client = Client.connect(path)
    native.send(client.socket, Buffer.from(text))
    return client
  }

  /** Begins to listen, and keeps what is handed over. */
  const counting = (where: ListenOptions['where'], more: Partial<typeof greeting> = {}) => {
    const greeted: boolean[] = []
    const sockets: Descriptor[] = []
    const started = start(where, {
      greeting: { ...greeting, ...more },
      connected(one, answered) {
        sockets.push(closing(one))
        greeted.push(answered)
      },
    })
    return { greeted, sockets, started }
  }

  /** Nothing else happens in this process for a while. */
  const busy = (milliseconds: number): void => {
    for (const end = performance.now() + milliseconds; performance.now() < end; );
  }

  test('is answered though this process is busy, and what follows is left', async () => {
    const { path, fd } = prepared()
    const clients = Array.from({ length: 40 }, () => greet(path, 'ping and more'))
    const { greeted, sockets, started } = counting({ fd })
    busy(300)
    // No turn of the loop has been since.
    expect(greeted).toEqual([])
    for (const { socket: one } of clients)
      expect(native.receive(one, 64)?.data).toEqual(new Uint8Array(greeting.answer))
    await started
    await eventually('all are handed over', () => sockets.length === 40)
    expect(greeted).toEqual(Array(40).fill(true))
    expect(Buffer.from(native.receive(sockets[0]!, 64)!.data).toString()).toBe(' and more')
  })

  test.each([
    ['another one', 'peng'],
    ['half of one', 'pi'],
    ['none', ''],
  ])('%s is left as it is', async (_, text) => {
    const path = place()
    const { greeted, sockets, started } = counting({ path })
    await started
    const client = Client.connect(path)
    if (text !== '') native.send(client.socket, Buffer.from(text))
    await eventually('it is handed over', () => sockets.length === 1)
    expect(greeted).toEqual([false])
    const left = native.receive(sockets[0]!, 64)
    expect(left === null ? '' : Buffer.from(left.data).toString()).toBe(text)
    expect(native.receive(client.socket, 64)).toBeNull()
  })

  test('of another user is not answered', async () => {
    const path = place()
    const { refused } = await start({ path }, { greeting, uid: 1 })
    const client = Client.connect(path)
    native.send(client.socket, Buffer.from('ping'))
    await client.closed()
    expect(refused).toEqual(['peer'])
  })

  test('is nobody’s any more when that ends, and whoever has got an answer is handed over', async () => {
    const { path, fd } = prepared()
    const first = greet(path)
    const { greeted, started } = counting({ fd })
    const { listener } = await started
    busy(100)
    listener.quick(false)
    expect(greeted).toEqual([true])
    expect(native.receive(first.socket, 64)?.data).toEqual(new Uint8Array(greeting.answer))
    greet(path)
    await eventually('it is accepted', () => greeted.length === 2)
    expect(greeted).toEqual([true, false])
    listener.quick(true)
    await eventually('greetings are answered again', () => {
      greet(path)
      busy(1)
      return greeted.slice(2).includes(true)
    })
  })

  test('of more than can wait: all are answered in the end', async () => {
    const path = place()
    let count = 0
    await start(
      { path },
      {
        greeting,
        connected(one) {
          one.close()
          count++
        },
      },
    )
    const clients = Array.from({ length: 300 }, () => Client.connect(path))
    for (const client of clients) native.send(client.socket, Buffer.from('ping'))
    busy(100)
    await eventually('all are handed over', () => count === 300)
  })

  test('is answered at once behind many who say nothing, and those are handed over', async () => {
    const { path, fd } = prepared()
    const silent = Array.from({ length: 50 }, () => Client.connect(path))
    const client = greet(path)
    const { greeted, started } = counting({ fd })
    busy(300)
    expect(native.receive(client.socket, 64)?.data).toEqual(new Uint8Array(greeting.answer))
    await started
    await eventually('all are handed over', () => greeted.length === silent.length + 1)
    expect(greeted.filter(Boolean)).toHaveLength(1)
  })

  test('of someone who is late is answered, too, and of those who are silent at the end nobody is forgotten', async () => {
    const { path, fd } = prepared()
    const { greeted, started } = counting({ fd })
    const { listener } = await started
    await eventually('one that was accepted before it spoke', () => {
      const client = Client.connect(path)
      busy(2)
      native.send(client.socket, Buffer.from('ping'))
      busy(5)
      return native.receive(client.socket, 64) !== null
    })
    const before = greeted.length
    Client.connect(path)
    busy(5)
    listener.quick(false)
    await eventually('it is handed over', () => greeted.length > before)
  })

  test('no more are answered ahead than may be', async () => {
    const { path, fd } = prepared()
    const clients = Array.from({ length: 20 }, () => greet(path))
    const { greeted, started } = counting({ fd }, { ahead: 5 })
    busy(300)
    const answered = clients.filter(({ socket }) => native.receive(socket, 64) !== null)
    expect(answered).toHaveLength(5)
    await started
    await eventually('all are handed over', () => greeted.length === 20)
  })

  test('once more, where there is no thread for it: later', async () => {
    const path = place()
    let tries = 0
    const acceptAnswering: ReturnType<typeof binding>['acceptAnswering'] = (...all) => {
      tries++
      if (tries === 2) throw Object.assign(new Error('eventfd: EMFILE'), { code: 'EMFILE' })
      return native.acceptAnswering(...all)
    }
    const { listener, connected, refused } = await start(
      { path },
      { greeting, native: { ...binding(), acceptAnswering } },
    )
    listener.quick(false)
    listener.quick(true)
    expect(refused).toEqual(['resources'])
    greet(path)
    await eventually('it is accepted', () => connected.length === 1)
    expect(tries).toBe(3)
  })

  test('where nobody can be accepted: as without', async () => {
    let full = 2
    const path = place()
    const accept = (listening: Descriptor): Descriptor | null => {
      if (full-- > 0) throw Object.assign(new Error('accept4: EMFILE'), { code: 'EMFILE' })
      return native.accept(listening)
    }
    const acceptAnswering: ReturnType<typeof binding>['acceptAnswering'] = (
      socket,
      question,
      answer,
      uid,
      ahead,
      back,
    ) =>
      full > 0
        ? { close: () => {}, ...(setImmediate(() => back(null, false)) && {}) }
        : native.acceptAnswering(socket, question, answer, uid, ahead, back)
    const { connected, refused } = await start(
      { path },
      { greeting, native: { ...binding(), accept, acceptAnswering } },
    )
    Client.connect(path)
    await eventually('it is accepted', () => connected.length === 1)
    expect(refused).toEqual(['resources', 'resources'])
  })
})
