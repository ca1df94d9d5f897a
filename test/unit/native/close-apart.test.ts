import { once } from 'node:events'
import { expect, test } from 'vitest'
import { eventually } from '../../support/wait.ts'
import { AF_UNIX, EPOLLIN, held, native, refusal, SOCK_DGRAM, socket, streamPair, worker } from './support.ts'

test('a descriptor is closed at once for JavaScript, and for its peer as soon as a thread has done it', async () => {
  const [client, server] = streamPair()
  native.closeApart(server)
  expect(server.fd).toBe(-1)
  expect(refusal(() => native.receive(server, 1)).code).toBe('EBADF')
  native.closeApart(server)
  server.close()
  await eventually('the stream ends', () => native.receive(client, 1)?.data.length === 0)
})

test('a watch ends with it', async () => {
  const [client, server] = streamPair()
  const seen: number[] = []
  native.watch(server, EPOLLIN, (events) => seen.push(events))
  native.send(client, Buffer.from('x'))
  native.closeApart(server)
  await eventually('the stream ends', () => {
    try {
      return native.receive(client, 1)?.data.length === 0
    } catch (error) {
      // What was sent has not been read.
      return (error as NodeJS.ErrnoException).code === 'ECONNRESET'
    }
  })
  expect(seen).toEqual([])
})

test('many are closed by few threads, which end', async () => {
  const before = held()
  const all = Array.from({ length: 200 }, () => socket(AF_UNIX, SOCK_DGRAM))
  for (const one of all) {
    native.closeApart(one)
    expect(held().threads).toBeLessThanOrEqual(before.threads + 8)
  }
  await eventually('all is closed', () => held().descriptors === before.descriptors)
  await eventually('the threads have ended', () => held().threads === before.threads)
})

test('what a worker leaves to them is closed though it ends', async () => {
  const thread = worker(`
    const { parentPort } = require('node:worker_threads')
    const all = Array.from({ length: 50 }, () => open(1, 2))
    for (const one of all) native.closeApart(one)
    parentPort.postMessage('left')
  `)
  const before = held()
  await Promise.all([once(thread, 'message'), once(thread, 'exit')])
  await eventually('all is closed', () => held().descriptors <= before.descriptors)
})
