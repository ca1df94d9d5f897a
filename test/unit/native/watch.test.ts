import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { Descriptor, Watch } from '../../../native/binding.ts'
import {
  AF_UNIX,
  closing,
  EPOLLHUP,
  EPOLLIN,
  held,
  native,
  refusal,
  runProgram,
  SOCK_DGRAM,
  socket,
  streamPair,
  uniqueName,
  unixAddress,
} from './support.ts'

const byte = Buffer.from('x')
const read = (descriptor: Descriptor) => native.receive(descriptor, 100)?.data.length

/** Resolves with what `callback` got when it has been called `count` times. */
const calls = (
  descriptor: Descriptor,
  count: number,
  react: (events: number, watch: Watch) => void = () => read(descriptor),
): Promise<number[]> =>
  new Promise((resolve) => {
    const got: number[] = []
    const watch = closing(
      native.watch(descriptor, EPOLLIN, (events) => {
        got.push(events)
        react(events, watch)
        if (got.length === count) resolve(got)
      }),
    )
  })

describe('a watch', () => {
  test('calls back each time the descriptor is ready', async () => {
    const [client, server] = streamPair()
    const all = calls(server, 3, () => {
      read(server)
      native.send(client, byte)
    })
    native.send(client, byte)
    expect(await all).toEqual([EPOLLIN, EPOLLIN, EPOLLIN])
  })

  test('calls back again while there is something left', async () => {
    const [client, server] = streamPair()
    native.send(client, Buffer.from('abc'))
    await calls(server, 3, () => native.receive(server, 1))
    expect(native.receive(server, 1)).toBeNull()
  })

  test('does not call while the last call is being worked on', async () => {
    const [client, server] = streamPair()
    let depth = 0
    native.send(client, byte)
    await calls(server, 20, () => {
      expect(++depth).toBe(1)
      depth--
    })
  })

  test('tells of the end, asked for or not', async () => {
    const [client, server] = streamPair()
    client.close()
    const [events] = await calls(server, 1, (_, watch) => watch.close())
    expect(events! & EPOLLHUP).toBe(EPOLLHUP)
  })

  test('many watches are told apart', async () => {
    const pairs = Array.from({ length: 40 }, streamPair)
    const all = pairs.map(([, server]) => calls(server, 2, () => native.receive(server, 1)))
    for (const [client] of pairs) native.send(client, Buffer.from('ab'))
    expect(await Promise.all(all)).toHaveLength(40)
  })

  test('is the only one of its descriptor', () => {
    const [, server] = streamPair()
    const watch = closing(native.watch(server, EPOLLIN, () => {}))
    expect(refusal(() => native.watch(server, EPOLLIN, () => {}))).toMatchObject({
      code: 'EEXIST',
      syscall: 'epoll_ctl',
    })
    watch.close()
    closing(native.watch(server, EPOLLIN, () => {}))
  })

  test('refuses files that are always ready', () => {
    const file = closing(native.open('/proc/self/status', 0, 0))
    expect(refusal(() => native.watch(file, EPOLLIN, () => {})).code).toBe('EPERM')
  })
})

describe('no callback comes', () => {
  /** Lets everything that is under way arrive: a later event of another watch has come. */
  const settle = async () => {
    const [client, server] = streamPair()
    native.send(client, byte)
    await calls(server, 1)
    await turn()
  }

  test('after close(), even when the event was under way', async () => {
    for (let round = 0; round < 50; round++) {
      const [client, server] = streamPair()
      let called = 0
      const watch = native.watch(server, EPOLLIN, () => called++)
      native.send(client, byte)
      // Until the thread has posted the event or not.
      for (let spin = 0; spin < round * 100; spin++) held
      watch.close()
      watch.close()
      await settle()
      expect(called).toBe(0)
    }
  })

  test('after the descriptor was closed', async () => {
    const [client, server] = streamPair()
    let called = 0
    const watch = native.watch(server, EPOLLIN, () => called++)
    native.send(client, byte)
    server.close()
    await settle()
    expect(called).toBe(0)
    watch.ref()
    watch.unref()
    watch.close()
  })

  test('after the callback closed its own watch or descriptor', async () => {
    for (const end of ['watch', 'descriptor'] as const) {
      const [client, server] = streamPair()
      let called = 0
      native.send(client, byte)
      await calls(server, 1, (_, watch) => {
        called++
        if (end === 'watch') watch.close()
        else server.close()
      })
      await settle()
      expect(called).toBe(1)
    }
  })

  test('from a descriptor whose number another file got', async () => {
    const [, server] = streamPair()
    const number = server.fd
    native.watch(server, EPOLLIN, () => expect.unreachable())
    server.close()
    const other = socket(AF_UNIX, SOCK_DGRAM)
    expect(other.fd).toBe(number)
    const address = unixAddress(uniqueName())
    native.bind(other, address)
    native.send(other, byte, address)
    await settle()
  })
})

/** In a process of its own: a pair of connected sockets named `client` and `server`. */
const pair = `
const address = unixAddress('linkwright-watch-' + process.pid)
const listener = open(1, 1)
native.bind(listener, address); native.listen(listener, 1)
const client = open(1, 1)
native.connect(client, address)
const server = native.accept(listener)
`

describe('the thread of the watches', () => {
  test('is there from the first watch on, for all of them', async () => {
    const source = `${pair}
      const { readdirSync } = require('node:fs')
      const threads = () => readdirSync('/proc/self/task').length
      const counts = [threads()]
      for (let round = 0; round < 20; round++) {
        const watches = [client, server].map((descriptor) => native.watch(descriptor, 1, () => {}))
        counts.push(threads())
        for (const watch of watches) watch.close()
        counts.push(threads())
      }
      console.log(JSON.stringify(counts))
    `
    const [before, ...counts] = JSON.parse((await runProgram(source)).stdout) as number[]
    expect(new Set(counts)).toEqual(new Set([before! + 1]))
  })

  test('and none where a first watch fails', async () => {
    const source = `
      const { readdirSync } = require('node:fs')
      const held = () => ['task', 'fd'].map((kind) => readdirSync('/proc/self/' + kind).length)
      const file = native.open('/proc/self/status', 0, 0)
      const before = held()
      let code
      try { native.watch(file, 1, () => {}) } catch (error) { code = error.code }
      console.log(JSON.stringify({ code, before, after: held() }))
    `
    const { code, before, after } = JSON.parse((await runProgram(source)).stdout)
    expect(code).toBe('EPERM')
    expect(after).toEqual(before)
  })
})

describe('the event loop', () => {
  test('is kept alive by a watch', async () => {
    const { stdout } = await runProgram(`${pair}
      native.watch(server, 1, () => { console.log('called'); process.exit() })
      // Nothing else keeps the process: only the watch can let this timer fire.
      setTimeout(() => native.send(client, Buffer.from('x')), 50).unref()
    `)
    expect(stdout).toBe('called\n')
  })

  test('ends when every watch is closed or unreferenced', async () => {
    for (const end of [
      'watch.unref()',
      'watch.close()',
      'server.close()',
      'watch.unref(); watch.ref(); watch.unref()',
    ]) {
      const { status, stdout, stderr } = await runProgram(`${pair}
        const watch = native.watch(server, 1, () => {})
        ${end}
        process.on('exit', () => console.log('over'))
      `)
      expect({ end, status, stdout, stderr }).toEqual({ end, status: 0, stdout: 'over\n', stderr: '' })
    }
  })

  test('hears what a callback throws, and the watch goes on', async () => {
    const { stdout, stderr, status } = await runProgram(`${pair}
      process.on('uncaughtException', (error) => console.log('uncaught', error.message))
      let calls = 0
      const watch = native.watch(server, 1, () => {
        if (++calls === 3) return watch.close()
        throw new Error('call ' + calls)
      })
      native.send(client, Buffer.from('x'))
    `)
    expect({ stdout, stderr, status }).toEqual({
      stdout: 'uncaught call 1\nuncaught call 2\n',
      stderr: '',
      status: 0,
    })
  })

  test('dies of what a callback throws where nobody listens', async () => {
    const { stderr, status } = await runProgram(`${pair}
      native.watch(server, 1, () => { throw new Error('nobody hears') })
      native.send(client, Buffer.from('x'))
    `)
    expect(status).not.toBe(0)
    expect(stderr).toContain('Error: nobody hears')
  })

  test('runs promises and ticks between callbacks', async () => {
    const { stdout } = await runProgram(`${pair}
      let calls = 0
      const watch = native.watch(server, 1, () => {
        const call = ++calls
        if (call === 2) watch.close()
        process.nextTick(() => console.log('tick', call))
        Promise.resolve().then(() => console.log('promise', call))
      })
      native.send(client, Buffer.from('x'))
    `)
    expect(stdout).toBe('tick 1\npromise 1\ntick 2\npromise 2\n')
  })
})

describe('garbage collection', () => {
  test('closes a descriptor nobody holds, but not one that is watched', async () => {
    const { stdout } = await runProgram(
      `${pair}
      const { readdirSync } = require('node:fs')
      const count = () => readdirSync('/proc/self/fd').length
      const collect = async () => {
        for (let round = 0; round < 5; round++) { gc(); await new Promise(setImmediate) }
      }
      ;(async () => {
        const before = count()
        for (let round = 0; round < 100; round++) native.open('/dev/null', 0, 0)
        const grown = count() - before
        await collect()
        console.log(grown, count() - before)
        let called = 0
        ;(() => {
          const copy = native.openInNetns(null, [{ domain: 1, type: 2, protocol: 0 }])[0]
          native.bind(copy, unixAddress('linkwright-gc-' + process.pid))
          native.watch(copy, 1, () => { called++; process.nextTick(() => { console.log('called'); process.exit() }) })
        })()
        await collect()
        native.send(open(1, 2), Buffer.from('x'), unixAddress('linkwright-gc-' + process.pid))
      })()
    `,
      ['--expose-gc'],
    )
    expect(stdout).toBe('100 0\ncalled\n')
  })
})
