import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { printStatus } from '../../../cli/daemon-status.ts'
import { askStatus } from '../../../daemon/client.ts'
import { Metrics } from '../../../daemon/metrics.ts'
import { encodeAnswer, encodeGreeting, encodeRequest, encodeWelcome } from '../../../daemon/protocol.ts'
import { type DaemonStatus, statusOf } from '../../../daemon/status.ts'

const folder = mkdtempSync(join(tmpdir(), 'linkwright-client-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let count = 0
/** A daemon that says what the test wants: first at once, then after each piece it hears. */
const daemon = async (...says: ((socket: Socket) => void)[]) => {
  const path = join(folder, `${count++}.sock`)
  const heard: Buffer[] = []
  const server = createServer((socket) => {
    const rest = [...says]
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      heard.push(chunk)
      rest.shift()?.(socket)
    })
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  onTestFinished(() => void server.close())
  return { path, heard }
}

const answer = (stdout: string, status = 0): Buffer =>
  encodeAnswer({ status, acknowledge: false, stdout, stderr: '' })
const write = (bytes: Uint8Array) => (socket: Socket) => void socket.write(bytes)
const welcome = write(encodeWelcome(1))

test('the status, whole or byte by byte', async () => {
  const status = await statusOf(new Metrics(), '1.2.3')
  const text = JSON.stringify(status)
  const whole = await daemon(welcome, write(answer(text)))
  expect(await askStatus(whole.path)).toEqual(status)
  expect(Buffer.concat(whole.heard)).toEqual(
    Buffer.concat([encodeGreeting(), encodeRequest({ kind: 'status' })]),
  )
  const trickle = (bytes: Uint8Array) => (socket: Socket) => {
    socket.setNoDelay(true)
    let at = 0
    const next = (): void => {
      if (at < bytes.length) socket.write(bytes.subarray(at, ++at), () => setImmediate(next))
    }
    next()
  }
  const slow = await daemon(trickle(encodeWelcome(1)), trickle(answer(text)))
  expect(await askStatus(slow.path)).toEqual(status)
})

describe('no answer is code 11, with why', () => {
  const refused = async (path: string, why: string | RegExp, timeout?: number) =>
    await expect(askStatus(path, { timeout })).rejects.toMatchObject({
      code: 11,
      msg: expect.stringMatching(why),
    })

  test('no socket, no listener, no socket at all', async () => {
    await refused(join(folder, 'nothing'), 'there is no such socket')
    writeFileSync(join(folder, 'file'), '')
    await refused(join(folder, 'file'), 'nobody listens on it|it is no socket')
    await refused(`/${'x'.repeat(200)}`, 'no answer from the daemon')
  })

  test.each<[string, ((socket: Socket) => void)[], string]>([
    ['closes', [(socket) => void socket.end()], 'it has closed the connection'],
    ['is stopping', [write(encodeWelcome(1, 1))], 'it is stopping, or has too many callers'],
    ['has another version', [write(encodeWelcome(0))], 'it speaks another version'],
    ['is somebody else', [write(Buffer.from('HTTP/1.1 400 Bad Request\r\n'))], 'speaks something else'],
    ['fails', [welcome, write(answer('', 1))], 'that is no status'],
    ['answers nonsense', [welcome, write(answer('{}'))], 'that is no status'],
    ['answers null', [welcome, write(answer('null'))], 'that is no status'],
    ['answers no JSON', [welcome, write(answer('{'))], 'JSON'],
    ['answers too much', [welcome, write(Buffer.alloc(4, 0xff))], 'more than 1048576'],
    [
      'closes in the middle',
      [welcome, (socket) => void socket.end(answer('{}').subarray(0, 9))],
      'closed the connection',
    ],
  ])('a daemon that %s', async (_, says, why) => {
    const { path } = await daemon(...says)
    await refused(path, why)
  })

  test('one that says nothing', async () => {
    const { path } = await daemon()
    await refused(path, 'nothing within 30 ms', 30)
  })
})

describe('for people', () => {
  const status = (more: Partial<DaemonStatus> = {}): DaemonStatus => ({
    version: '1.2.3',
    node: 'v24.0.0',
    pid: 42,
    uptime: 0,
    running: 2,
    queued: 1,
    connections: 4,
    leases: 7,
    operations: [],
    refused: { peer: 0, limit: 0, resources: 0, protocol: 0 },
    memory: { resident: 50 << 20, heap: 10 << 20 },
    descriptors: 31,
    ...more,
  })

  test('before anything has happened', () => {
    expect(printStatus(status(), '/run/x')).toBe(`linkwright 1.2.3 (Node v24.0.0), pid 42, up 0 s
socket       /run/x
operations   2 running, 1 waiting, 4 connections
leases       7
memory       50.0 MiB resident, 10.0 MiB heap
descriptors  31 open

no operations yet
`)
  })

  test('with operations, refusals, and without leases', () => {
    const operations = [
      { plugin: 'bridge', verb: 'ADD', code: '0', count: 1200 },
      { plugin: 'ptp', verb: 'DEL', code: '11', count: 3 },
    ]
    const refused = { peer: 2, limit: 0, resources: 1, protocol: 0 }
    const text = printStatus(status({ operations, refused, leases: null }), '/run/x')
    expect(text).toContain('leases       not kept here\n')
    expect(text).toContain('refused      peer 2, resources 1\n')
    expect(text).toContain(`
PLUGIN  VERB  CODE  COUNT
bridge  ADD   0     1200
ptp     DEL   11    3
`)
  })

  test.each([
    [59.9, '59 s'],
    [60, '1 min 0 s'],
    [3661, '1 h 1 min'],
    [90_000, '1 d 1 h'],
  ])('up %s seconds is %s', (uptime, words) => {
    expect(printStatus(status({ uptime }), '/run/x')).toContain(`up ${words}\n`)
  })
})
