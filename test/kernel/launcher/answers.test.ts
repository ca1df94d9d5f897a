/** What the launcher makes of a daemon's words, right and wrong. */
import { chmodSync, existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { encodeAnswer, encodeGreeting, encodeWelcome } from '../../../daemon/protocol.ts'
import { type Finished, run } from '../../support/program.ts'
import { eventually } from '../../support/wait.ts'
import { type Peer, words } from './fake-daemon.ts'
import { builds, built, errorOf, Launched, unread } from './launched.ts'

const result = '{"cniVersion":"1.0.0","interfaces":[]}'
const success = encodeAnswer({ status: 0, acknowledge: true, stdout: result, stderr: 'a log line\n' })

describe.each(builds)('%s', (_, flags, file) => {
  beforeAll(() => built(flags), 120_000)

  /** A launcher that is run while `play` is the daemon. */
  const played = async (
    play: (peer: Peer, it: Launched) => void | Promise<void>,
    { verb = 'ADD', greets = true, until }: { verb?: string; greets?: boolean; until?: Promise<void> } = {},
  ): Promise<{ it: Launched; finished: Finished }> => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const running = it.run({ env: it.env({ CNI_COMMAND: verb }), ...(until && { until }) })
    const peer = await (greets ? daemon.greeted() : daemon.next())
    await play(peer, it)
    return { it, finished: await running }
  }

  const standalone = { status: 0, stdout: 'standalone ADD\n', stderr: 'standalone says\n' }

  test('prints what the daemon says, and acknowledges when it is printed', async () => {
    let last: Buffer | undefined
    const { it, finished } = await played(async (peer) => {
      await peer.request()
      peer.send(success)
      last = await peer.bytes(9)
    })
    expect(finished).toMatchObject({ status: 0, stdout: result, stderr: 'a log line\n' })
    expect(last?.toString()).toBe('A')
    expect(it.record()).toBeNull()
  })

  test('greets in version 1, and sends what it was given', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const env = { CNI_NETNS: '/proc/self/ns/net', CNI_ARGS: 'a=1;b=é', EMPTY: '' }
    const running = it.run({ env: it.env(env), input: '{"name":"ü"}' })
    const peer = await daemon.next()
    expect(await peer.greet()).toEqual(encodeGreeting())
    const request = await peer.request()
    expect(request).toEqual({
      kind: 'execute',
      type: 'bridge',
      environment: it.env(env),
      stdin: '{"name":"ü"}',
      hasOwnNetns: true,
      hasCniNetns: true,
      netnsErrno: 0,
    })
    // Both are this test's own namespace.
    const inodes = peer.descriptors.map(({ fd }) => statSync(`/proc/self/fd/${fd}`).ino)
    expect(inodes).toEqual(Array(2).fill(statSync('/proc/self/ns/net').ino))
    peer.send(success)
    expect((await running).status).toBe(0)
  })

  test('says why CNI_NETNS is not open, and nothing where there is none', async () => {
    const asked = async (path: string) => {
      const it = new Launched(file)
      const daemon = it.daemon()
      const running = it.run({ env: it.env({ CNI_NETNS: path }) })
      const peer = await daemon.greeted()
      const { hasOwnNetns, hasCniNetns, netnsErrno } = await peer.request()
      peer.send(success)
      await running
      return { hasOwnNetns, hasCniNetns, netnsErrno, descriptors: peer.descriptors.length }
    }
    const own = { hasOwnNetns: true, hasCniNetns: false, descriptors: 1 }
    expect(await asked('/nowhere/netns')).toEqual({ ...own, netnsErrno: 2 })
    expect(await asked('/proc/1/mem/x')).toEqual({ ...own, netnsErrno: 20 })
    expect(await asked('')).toEqual({ ...own, netnsErrno: 0 })
  })

  test.each([
    [0, 'CHECK'],
    [1, 'DEL'],
    [255, 'GC'],
  ])('exits with %d, without an acknowledgement that nobody asked for', async (status, verb) => {
    let last: Buffer | undefined
    const { finished } = await played(
      async (peer) => {
        await peer.request()
        peer.send(encodeAnswer({ status, acknowledge: false, stdout: 'out', stderr: 'err' }))
        last = await peer.bytes(1)
      },
      { verb },
    )
    expect(finished).toMatchObject({ status, stdout: 'out', stderr: 'err' })
    expect(last).toHaveLength(0)
  })

  test('VERSION leaves standard input alone', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    // It has no end.
    const script = 'mkfifo "$0" && exec "$@" 3<>"$0" <&3'
    const prefix = ['sh', '-c', script, join(it.folder, 'endless')]
    const running = it.run({ prefix, env: it.env({ CNI_COMMAND: 'VERSION' }) })
    const peer = await daemon.greeted()
    expect((await peer.request()).stdin).toBe('')
    peer.send(encodeAnswer({ status: 0, acknowledge: false, stdout: '{}', stderr: '' }))
    expect((await running).stdout).toBe('{}')
  })

  test('reads greeting and answer byte by byte', async () => {
    const { finished } = await played(
      async (peer) => {
        await peer.bytes(16)
        for (const byte of encodeWelcome(1)) peer.send(Buffer.of(byte))
        await peer.request()
        for (const byte of success) peer.send(Buffer.of(byte))
      },
      { greets: false },
    )
    expect(finished).toMatchObject({ status: 0, stdout: result })
  })

  test.each([1023, 1024, 1025, 4096])('sends %d bytes, and reads as many', async (size) => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const input = JSON.stringify('x'.repeat(size - 2))
    const running = it.run({ input })
    const peer = await daemon.greeted()
    expect((await peer.request()).stdin).toBe(input)
    const stdout = 'y'.repeat(size)
    peer.send(encodeAnswer({ status: 0, acknowledge: false, stdout, stderr: '' }))
    expect((await running).stdout).toBe(stdout)
  })

  test('sends a megabyte in pieces, and reads one', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const input = JSON.stringify('x'.repeat((1 << 20) - 2))
    const running = it.run({ input })
    const peer = await daemon.greeted()
    expect((await peer.request()).stdin).toBe(input)
    const stdout = 'y'.repeat(100_000)
    peer.send(encodeAnswer({ status: 0, acknowledge: false, stdout, stderr: '' }))
    expect((await running).stdout).toBe(stdout)
  })

  test.each([
    ['another magic', Buffer.concat([Buffer.from('LNKWRGHX'), words(1, 0)])],
    ['no version in common', encodeWelcome(0)],
    ['a version that was not offered', encodeWelcome(2)],
    ['not now', encodeWelcome(1, 1)],
    ['a flag that nobody knows', encodeWelcome(1, 2)],
    ['half a greeting', encodeWelcome(1).subarray(0, 9)],
    ['nothing', Buffer.alloc(0)],
  ])('a greeting of %s: the standalone program', async (_what, answer) => {
    const { it, finished } = await played(
      async (peer) => {
        await peer.greet(answer)
        if (answer.length < 16) peer.close()
      },
      { greets: false },
    )
    expect(finished).toMatchObject(standalone)
    expect(it.record()?.stdin).toBe('{"cniVersion":"1.0.0"}')
  })

  test.each([
    ['silence', (): void => {}],
    ['half a greeting, and then nothing', (peer: Peer): void => peer.send(encodeWelcome(1).subarray(0, 15))],
  ])('%s is waited for no longer than 50 ms', async (_what, play) => {
    const { finished } = await played(play, { greets: false, until: Promise.resolve() })
    expect(finished).toMatchObject(standalone)
    expect(finished.ms).toBeGreaterThan(49)
    expect(finished.ms).toBeLessThan(5_000)
  })

  test('so is a daemon whose queue is full', async () => {
    const it = new Launched(file)
    const daemon = it.daemon(0)
    const until = Promise.resolve()
    const calls = await Promise.all([it.run({ until }), it.run({ until }), it.run({ until })])
    expect(calls.map(({ stdout }) => stdout)).toEqual(Array(3).fill('standalone ADD\n'))
    expect(daemon.accepted).toBe(0)
  })

  const answer = (status: number, out: number, err: number, rest = 0): Buffer =>
    Buffer.concat([words(16 + rest, status, 0, out), words(err), Buffer.alloc(rest)])

  test.each([
    ['shorter than an answer', words(15, 0, 0, 0)],
    ['of no length', words(0)],
    ['longer than 16 MiB', words((16 << 20) + 1, 0, 0, 0, 0)],
    ['as long as can be', words(0xffffffff)],
    ['whose output ends behind it', answer(0, 5, 0, 4)],
    ['whose output has any length', answer(0, 0xffffffff, 0)],
    ['whose log ends behind it', answer(0, 0, 1)],
    ['whose log has any length', answer(0, 0, 0xfffffff0)],
    ['that goes on after its end', answer(0, 0, 0, 1)],
    ['with no exit status', answer(256, 0, 0)],
  ])('an answer %s is none', async (_what, bytes) => {
    const { it, finished } = await played(
      async (peer) => {
        await peer.request()
        peer.send(bytes)
        await peer.bytes(1)
      },
      { verb: 'CHECK' },
    )
    expect(finished.stdout).toBe('standalone CHECK\n')
    expect(it.record('CHECK')?.stdin).toBe('{"cniVersion":"1.0.0"}')
  })

  test('a result that nobody reads is not acknowledged, and its undoing is waited for', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const running = it.run({ prefix: ['sh', '-c', '"$@" >&-', 'sh'] })
    const peer = await daemon.greeted()
    await peer.request()
    peer.send(success)
    expect(await peer.bytes(1)).toHaveLength(0)
    peer.close()
    expect(await running).toMatchObject({
      status: 1,
      stderr: 'linkwright-launcher: error writing to stdout: EBADF\n',
    })
  })

  test('a reader that is gone ends nothing by a signal', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const running = it.run({ prefix: unread })
    const peer = await daemon.greeted()
    await peer.request()
    peer.send(encodeAnswer({ status: 0, acknowledge: true, stdout: 'x'.repeat(100_000), stderr: '' }))
    expect(await peer.bytes(1)).toHaveLength(0)
    peer.close()
    expect(await running).toMatchObject({
      stdout: '1\n',
      stderr: 'linkwright-launcher: error writing to stdout: EPIPE\n',
    })
  })

  test('a slow reader of a nonblocking pipe gets all of it', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const script = `
import fcntl, os, subprocess, sys
r, w = os.pipe()
fcntl.fcntl(w, fcntl.F_SETFL, os.O_NONBLOCK)
child = subprocess.Popen(sys.argv[1:], stdout=w)
os.close(w)
size = 0
while (piece := os.read(r, 777)):
    size += len(piece)
print(size, child.wait())`
    const running = it.run({ prefix: ['python3', '-c', script] })
    const peer = await daemon.greeted()
    await peer.request()
    peer.send(encodeAnswer({ status: 0, acknowledge: true, stdout: 'x'.repeat(150_000), stderr: '' }))
    expect((await peer.bytes(1)).toString()).toBe('A')
    expect(await running).toMatchObject({ stdout: '150000 0\n', stderr: '' })
  })

  test('a daemon that went before it heard of the result: exit 1, for the ADD may be undone', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const running = it.run()
    const peer = await daemon.greeted()
    await peer.request()
    it.kill('SIGSTOP')
    peer.send(success)
    peer.close()
    it.kill('SIGCONT')
    const finished = await running
    expect(finished).toMatchObject({ status: 1, stdout: result })
    expect(finished.stderr).toContain('gone before it knew')
  })

  test('a peer of another user is no daemon', async () => {
    const it = new Launched(file)
    chmodSync(it.folder, 0o777)
    const script = `
import os, socket, sys
folder, name = os.path.split(sys.argv[1])
# Folders above it may be for root alone.
os.chdir(folder)
os.setuid(65534)
server = socket.socket(socket.AF_UNIX)
server.bind(name + '.new')
server.listen()
os.rename(name + '.new', name)
peer, _ = server.accept()
print(len(peer.recv(16)))`
    const served = run('python3', ['-c', script, it.socket])
    await eventually('somebody listens', () => existsSync(it.socket))
    expect((await it.run()).stdout).toBe('standalone ADD\n')
    expect((await served).stdout).toBe('0\n')
  })

  test('an ADD that the daemon refuses is printed as it is', async () => {
    const error = JSON.stringify({ cniVersion: '1.0.0', code: 7, msg: 'no' })
    const { finished } = await played(async (peer) => {
      await peer.request()
      peer.send(encodeAnswer({ status: 1, acknowledge: false, stdout: error, stderr: '' }))
    })
    expect(finished.status).toBe(1)
    expect(errorOf(finished)).toMatchObject({ code: 7, msg: 'no' })
  })
})
