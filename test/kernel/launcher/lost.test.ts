/** A daemon that dies, or might as well: what the launcher does then, at each step and for each verb. */
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { encodeAnswer } from '../../../daemon/protocol.ts'
import { isErrno } from '../../../netlink/error.ts'
import { must } from '../../support/program.ts'
import { eventually } from '../../support/wait.ts'
import { type Peer, words } from './fake-daemon.ts'
import { builds, built, type Call, errorOf, Launched } from './launched.ts'

const undone = {
  cniVersion: '1.0.0',
  code: 11,
  msg: 'the linkwright daemon did not answer to the end',
  details: 'what it may have done was undone by the standalone program',
}

describe.each(builds)('%s', (_, flags, file) => {
  beforeAll(() => built(flags), 120_000)

  /** A launcher whose daemon does `play` once it is greeted. */
  const lost = async (
    verb: string,
    play: (peer: Peer) => void | Promise<void>,
    { it = new Launched(file), ...call }: Call & { it?: Launched } = {},
  ) => {
    const daemon = it.daemon()
    const running = it.run({ env: it.env({ CNI_COMMAND: verb }), ...call })
    const peer = await daemon.greeted()
    await play(peer)
    return { it, finished: await running }
  }

  const dies = async (peer: Peer): Promise<void> => {
    await peer.request()
    peer.close()
  }

  const answer = encodeAnswer({ status: 0, acknowledge: true, stdout: '{}', stderr: 'log' })

  test.each(['DEL', 'CHECK', 'GC', 'STATUS', 'NOPE'])('%s: the standalone program', async (verb) => {
    const { it, finished } = await lost(verb, dies)
    expect(finished).toMatchObject({ status: 0, stdout: `standalone ${verb}\n`, stderr: 'standalone says\n' })
    expect(it.record(verb)).toMatchObject({ arguments: ['bridge'], stdin: '{"cniVersion":"1.0.0"}' })
  })

  test('VERSION: the standalone program, with standard input as it was', async () => {
    const { it } = await lost('VERSION', dies, { input: 'not read' })
    expect(it.record('VERSION')?.stdin).toBe('not read')
  })

  test.each([
    ['before any of the answer', 0],
    ['within its length', 3],
    ['before its body', 4],
    ['before its end', answer.length - 1],
  ])('ADD, %s: a DEL, and try again later', async (_step, sent) => {
    const { it, finished } = await lost('ADD', async (peer) => {
      await peer.request()
      peer.send(answer.subarray(0, sent))
      peer.close()
    })
    expect(finished).toMatchObject({ status: 1, stderr: '' })
    expect(errorOf(finished)).toEqual(undone)
    expect(it.record('DEL')).toMatchObject({ arguments: ['bridge'], stdin: '{"cniVersion":"1.0.0"}' })
    const environment = it.env({ CNI_COMMAND: 'DEL', GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1' })
    expect(it.record('DEL')?.environment.toSorted()).toEqual(
      Object.entries(environment)
        .map(([name, value]) => `${name}=${value}`)
        .toSorted(),
    )
    expect(it.record('DEL')?.descriptors).toEqual([
      expect.stringMatching(/^0 \/memfd:stdin/),
      '1 /dev/null',
      '2 /dev/null',
    ])
    expect(it.record('ADD')).toBeNull()
  })

  test('ADD, with an answer that is none', async () => {
    const { finished } = await lost('ADD', async (peer) => {
      await peer.request()
      peer.send(words(0xffffffff))
      expect(await peer.bytes(1)).toHaveLength(0)
    })
    expect(errorOf(finished)).toEqual(undone)
  })

  test('ADD, gone before it knew that the result is printed: a DEL', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    // Held open, and not read until the daemon is gone.
    const pipe = join(it.folder, 'slow')
    await must('mkfifo', [pipe])
    const held = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK)
    onTestFinished(() => closeSync(held))
    const running = it.run({ prefix: ['sh', '-c', 'exec "$@" >"$0"', pipe] })
    const peer = await daemon.greeted()
    await peer.request()
    const stdout = 'x'.repeat(100_000)
    peer.send(encodeAnswer({ status: 0, acknowledge: true, stdout, stderr: '' }))
    await it.waits()
    peer.close()
    let read = 0
    await eventually('all of it is read', () => {
      try {
        read += readSync(held, Buffer.alloc(1 << 16))
      } catch (error) {
        if (!isErrno(error, 'EAGAIN')) throw error
      }
      return read === stdout.length
    })
    expect(await running).toMatchObject({
      status: 1,
      stderr:
        'linkwright-launcher: the daemon has gone before it knew that the result is printed: the ADD is undone\n',
    })
    expect(it.record('DEL')).toMatchObject({ arguments: ['bridge'], stdin: '{"cniVersion":"1.0.0"}' })
  })

  test('a daemon that dies with a part of the request read has done nothing: the ADD is done', async () => {
    const input = JSON.stringify('x'.repeat(400_000))
    const { it, finished } = await lost(
      'ADD',
      async (peer) => {
        await peer.bytes(300)
        peer.close()
      },
      { input },
    )
    expect(finished).toMatchObject({ status: 0, stdout: 'standalone ADD\n' })
    expect(it.record('ADD')?.stdin).toBe(input)
    expect(it.record('DEL')).toBeNull()
  })

  test('a small request that was not read', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const running = it.run()
    const peer = await daemon.greeted()
    // Sent, by the time that the launcher waits; nobody has looked at it.
    await it.waits()
    peer.close()
    expect(await running).toMatchObject({ status: 0, stdout: 'standalone ADD\n' })
    expect(it.record('DEL')).toBeNull()
  })

  test.each([
    ['exited with 3', 'status', '3', 'it exited with 3'],
    ['can not be executed', 'linkwright-cni', '', /^\/.*\/linkwright-cni could not be executed$/],
  ])('a DEL that %s is told of', async (_what, name, text, words) => {
    const it = new Launched(file)
    it.write(name, text, 0o755)
    if (text === '') it.write(name, '#!/nowhere/interpreter\n', 0o755)
    const { finished } = await lost('ADD', dies, { it })
    const { code, details = '' } = errorOf(finished)
    expect(code).toBe(11)
    const said = 'what it may have done could not be undone by the standalone program: '
    expect(details.slice(0, said.length)).toBe(said)
    expect(details.slice(said.length)).toMatch(words)
  })

  test('a DEL that a signal ends is told of', async () => {
    const it = new Launched(file)
    it.write('linkwright-cni', '#!/bin/sh\nkill -9 $$\n')
    const { finished } = await lost('ADD', dies, { it })
    expect(errorOf(finished).details).toMatch(/standalone program: it was ended by signal 9$/)
  })

  test('a deadline: DEL falls over, ADD is taken back', async () => {
    const silent = async (peer: Peer): Promise<void> => {
      await peer.request()
      // Until the launcher gives up.
      expect(await peer.bytes(1)).toHaveLength(0)
    }
    const [del, add] = await Promise.all(
      ['DEL', 'ADD'].map((verb) => {
        const it = new Launched(file)
        return lost(verb, silent, { it, env: it.env({ CNI_COMMAND: verb, LINKWRIGHT_TIMEOUT: '1' }) })
      }),
    )
    expect(del?.finished.stdout).toBe('standalone DEL\n')
    expect(del?.finished.ms).toBeGreaterThan(990)
    expect(errorOf(add!.finished)).toEqual(undone)
  })

  test('a deadline for the input too', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const prefix = ['sh', '-c', 'mkfifo "$0" && exec "$@" 3<>"$0" <&3', `${it.folder}/endless`]
    const running = it.run({ prefix, env: it.env({ LINKWRIGHT_TIMEOUT: '1' }) })
    await daemon.greeted()
    expect(errorOf(await running)).toMatchObject({ code: 5, msg: 'error reading from stdin: ETIMEDOUT' })
  })
})

describe('under strace', () => {
  beforeAll(() => built([]), 120_000)
  const [, , file] = builds[0]!

  test.each([
    ['', 200],
    ['1', 1],
    ['7', 7],
    ['007', 7],
    ['86400', 86_400],
    ['86401', 200],
    ['99999999999999999999', 200],
    ['0', 200],
    ['-1', 200],
    ['1.5', 200],
    ['5s', 200],
  ])('a LINKWRIGHT_TIMEOUT of %j is %d seconds', async (text, seconds) => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const trace = join(it.folder, 'trace')
    const prefix = ['strace', '-q', '-o', trace, '-e', 'trace=ppoll']
    const running = it.run({ prefix, env: it.env({ LINKWRIGHT_TIMEOUT: text }) })
    const peer = await daemon.greeted()
    await peer.request()
    // For the daemon and for signals, less what has passed.
    const waits = /^ppoll\(\[\{fd=\d+, events=POLLIN\}, \{fd=\d+, [^)]*\{tv_sec=(\d+)/m
    const [, left] = await eventually('it waits', () => waits.exec(readFileSync(trace, 'utf8')))
    peer.send(encodeAnswer({ status: 0, acknowledge: false, stdout: '', stderr: '' }))
    await running
    expect(seconds - 1 - Number(left)).toBeLessThanOrEqual(10)
    expect(Number(left)).toBeLessThan(seconds)
  })

  test('a DEL that is not over in 60 seconds is ended', async () => {
    const it = new Launched(file)
    it.write('hang', '')
    const daemon = it.daemon()
    // The wait for the child ends at once, as if its time were over.
    const prefix = ['strace', '-q', '-o', '/dev/null', '-e', 'inject=rt_sigtimedwait:error=EAGAIN']
    const running = it.run({ prefix })
    const peer = await daemon.greeted()
    await peer.request()
    peer.close()
    const finished = await running
    expect(errorOf(finished)).toMatchObject({ code: 11 })
    expect(errorOf(finished).details).toContain('was not over in 60 seconds, and was ended')
  })

  test('a DEL for which there is no process is told of', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const prefix = ['strace', '-q', '-o', '/dev/null', '-e', 'inject=clone:error=EAGAIN']
    const running = it.run({ prefix })
    const peer = await daemon.greeted()
    await peer.request()
    peer.close()
    expect(errorOf(await running).details).toContain('no process could be made: EAGAIN')
  })
})
