import { once } from 'node:events'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Descriptor } from '../../../native/binding.ts'
import { eventually } from '../../support/wait.ts'
import {
  AF_NETLINK,
  AF_UNIX,
  addonPath,
  closing,
  EPOLLIN,
  expecting,
  getLink,
  held,
  loadAgain,
  native,
  replies,
  runBare,
  SOCK_DGRAM,
  SOCK_RAW,
  socket,
  uniqueName,
  unixAddress,
  worker,
} from './support.ts'

/** Starts a worker, and waits for its first message and for its end. */
const done = async (source: string, data?: Record<string, unknown>): Promise<unknown> => {
  const thread = worker(`const { parentPort, workerData } = require('node:worker_threads')\n${source}`, data)
  const exit = once(thread, 'exit')
  const [message] = await once(thread, 'message')
  await exit
  return message
}

/** The process with all the threads it will keep: libuv's pool, what the first worker starts, and the one of watches. */
const settled = async () => {
  await done(`parentPort.postMessage('ready')`)
  await Promise.all(
    Array.from({ length: 8 }, () => native.transact(socket(AF_NETLINK, SOCK_RAW), getLink(1), expecting(1))),
  )
  const watched = socket(AF_NETLINK, SOCK_RAW)
  native.watch(watched, EPOLLIN, () => {}).close()
  watched.close()
  return held()
}

const settlesTo = (expected: ReturnType<typeof held>) =>
  eventually('descriptors and threads are as before', () => {
    expect(held()).toEqual(expected)
    return true
  })

describe('in worker threads', () => {
  test('everything works, in several at once', async () => {
    const source = `
      ;(async () => {
        const link = open(16, 3)
        let bytes = 0
        for (let round = 0; round < 200; round++) {
          bytes += native.transactSync(link, getLink, expecting).length > 36
          bytes += (await native.transact(link, getLink, expecting)).length > 36
        }
        const name = unixAddress('linkwright-' + process.pid + '-' + require('node:worker_threads').threadId)
        const server = open(1, 2)
        native.bind(server, name)
        native.send(open(1, 2), Buffer.from('hi'), name)
        const events = await new Promise((resolve) => {
          const watch = native.watch(server, 1, (events) => { watch.close(); resolve(events) })
        })
        parentPort.postMessage({ bytes, events, data: native.receive(server, 10).data.length })
      })()
    `
    const expected = { bytes: 400, events: 1, data: 2 }
    expect(await Promise.all([1, 2, 3].map(() => done(source)))).toEqual([expected, expected, expected])
    expect(
      native.transactSync(socket(AF_NETLINK, SOCK_RAW), getLink(1), expecting(1)).length,
    ).toBeGreaterThan(36)
  })

  test('what a worker left open is closed when it ends', async () => {
    const before = await settled()
    for (let round = 0; round < 3; round++)
      await done(`
        globalThis.kept = Array.from({ length: 50 }, () => native.open('/dev/null', 0, 0))
        globalThis.watched = open(1, 2)
        native.watch(watched, 1, () => {}).unref()
        parentPort.postMessage('open')
      `)
    await settlesTo(before)
  })

  test('terminating one that watches ends its thread', async () => {
    const before = await settled()
    for (let round = 0; round < 10; round++) {
      const name = uniqueName()
      const thread = worker(
        `const { parentPort, workerData } = require('node:worker_threads')
         const server = open(1, 2)
         native.bind(server, unixAddress(workerData.name))
         // Ready for ever: events are always under way.
         native.watch(server, 1, () => {})
         parentPort.postMessage('watching')`,
        { name },
      )
      await once(thread, 'message')
      native.send(socket(AF_UNIX, SOCK_DGRAM), Buffer.from('x'), unixAddress(name))
      await thread.terminate()
    }
    // The sockets of this test are still open.
    await settlesTo({ ...before, descriptors: before.descriptors + 10 })
  })

  test('terminating one in the middle of an exchange is safe', async () => {
    const before = await settled()
    for (const how of ['transact', 'transactSync']) {
      for (let round = 0; round < 10; round++) {
        const thread = worker(`
          const { parentPort } = require('node:worker_threads')
          const link = open(16, 3)
          // One more closing message than will come: it waits.
          const more = { ...expecting, expected: 2, timeout: 100 }
          parentPort.postMessage('going')
          if ('${how}' === 'transact') for (let count = 0; count < 8; count++) native.transact(link, getLink, more)
          else native.transactSync(link, getLink, more)
        `)
        await once(thread, 'message')
        await thread.terminate()
      }
    }
    await settlesTo(before)
  })

  test('terminating one that is busy with the addon, at any moment, is safe', async () => {
    const before = await settled()
    for (let round = 0; round < 20; round++) {
      const thread = worker(`
        const { parentPort } = require('node:worker_threads')
        const link = open(16, 3)
        const server = open(1, 2)
        const name = unixAddress('linkwright-busy-' + process.pid + '-' + require('node:worker_threads').threadId)
        native.bind(server, name)
        parentPort.postMessage('going')
        for (;;) {
          native.transactSync(link, getLink, expecting)
          native.transact(link, getLink, expecting).catch(() => {})
          const watch = native.watch(server, 1, () => {})
          native.send(server, Buffer.from('x'), name, [link, server])
          for (const descriptor of native.receive(server, 10).descriptors) descriptor.close()
          watch.close()
          try { native.open('/does/not/exist', 0, 0) } catch {}
          try { native.bind(null, null) } catch {}
        }
      `)
      await once(thread, 'message')
      // A different moment each round, as far as the machine's pace allows.
      for (let count = 0; count < round * 20; count++) {
        native.transactSync(socket(AF_NETLINK, SOCK_RAW), getLink(1), expecting(1))
      }
      await thread.terminate()
    }
    await eventually('threads are as before', () => held().threads === before.threads)
  })

  test('a descriptor does not travel to another thread', async () => {
    const thread = worker(
      `const { parentPort } = require('node:worker_threads')
       parentPort.once('message', (value) => {
         try { native.accept(value) } catch (error) { parentPort.postMessage(error.name) }
       })`,
    )
    thread.postMessage(socket(AF_UNIX, SOCK_DGRAM))
    expect((await once(thread, 'message'))[0]).toBe('TypeError')
  })
})

describe('loaded twice', () => {
  test('in one thread, both loads work, also on each other’s descriptors', async () => {
    const other = loadAgain()
    expect(other).not.toBe(native)
    const descriptor = closing(other.open('/dev/null', 0, 0))
    expect(native.ioctl(socket(AF_UNIX, SOCK_DGRAM), 0x541b, new Uint8Array(4))).toBe(0)
    expect(native.tryFlock(descriptor, 8)).toBe(true)
    const [link] = other.openInNetns(null, [{ domain: AF_NETLINK, type: SOCK_RAW, protocol: 0 }]) as [
      Descriptor,
    ]
    closing(link)
    expect(replies(await native.transact(link, getLink(1), expecting(1)))).toHaveLength(2)
    // Watches of one end with the descriptors of the other.
    const address = unixAddress(uniqueName())
    const server = socket(AF_UNIX, SOCK_DGRAM)
    native.bind(server, address)
    native.send(socket(AF_UNIX, SOCK_DGRAM), Buffer.from('x'), address)
    await new Promise((resolve) => other.watch(server, EPOLLIN, () => resolve(server.close())))
  })

  test('from another file, descriptors are foreign', () => {
    const directory = mkdtempSync(join(tmpdir(), 'linkwright-'))
    onTestFinished(() => rmSync(directory, { recursive: true }))
    const copy = join(directory, 'copy.node')
    copyFileSync(addonPath, copy)
    const other = loadAgain(copy)
    const descriptor = closing(other.open('/dev/null', 0, 0))
    expect(() => native.tryFlock(descriptor, 8)).toThrow(TypeError)
    expect(other.tryFlock(descriptor, 8)).toBe(true)
    const ours = closing(native.open('/dev/null', 0, 0))
    expect(() => other.tryFlock(ours, 8)).toThrow(TypeError)
  })

  test('in workers only, again and again', async () => {
    const { stdout, stderr, status } = await runBare(`
      const { Worker } = require('node:worker_threads')
      const source = \`
        const { workerData } = require('node:worker_threads')
        const use = () => {
          const native = require(workerData)
          const [socket] = native.openInNetns(null, [{ domain: 1, type: 2, protocol: 0 }])
          native.watch(socket, 1, () => {}).unref()
        }
        use()
        delete require.cache[workerData]
        use()
      \`
      const start = () => new Promise((resolve) => {
        new Worker(source, { eval: true, workerData: process.env.ADDON }).on('exit', resolve)
      })
      ;(async () => {
        for (let round = 0; round < 5; round++) await Promise.all([start(), start(), start()])
        console.log('fine')
      })()
    `)
    expect({ stdout, stderr, status }).toEqual({ stdout: 'fine\n', stderr: '', status: 0 })
  })
})

test('a thousand rounds of everything leave no descriptor and no thread', async () => {
  const before = await settled()
  const address = unixAddress(uniqueName())
  for (let round = 0; round < 1000; round++) {
    const opened = native.openInNetns(null, [
      { domain: AF_UNIX, type: SOCK_DGRAM, protocol: 0 },
      { path: '/dev/null', flags: 0 },
      { path: '/does/not/exist', flags: 0 },
      { domain: AF_NETLINK, type: SOCK_RAW, protocol: 0 },
    ])
    const [server, file, missing, link] = opened.map((one) => (one instanceof Error ? null : one))
    expect(missing).toBeNull()
    native.bind(server!, address)
    if (round % 2) native.watch(server!, EPOLLIN, () => {})
    native.send(server!, Buffer.from('x'), address, [file!])
    for (const descriptor of native.receive(server!, 10)!.descriptors) descriptor.close()
    const exchange = native.transact(link!, getLink(1), expecting(1))
    for (const descriptor of [server!, file!, link!]) descriptor.close()
    await exchange
  }
  await settlesTo(before)
}, 30_000)
