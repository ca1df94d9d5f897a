/** A caller that gives up: the daemon is told, and its word is waited for. */
import { closeSync, openSync } from 'node:fs'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { encodeAnswer } from '../../../daemon/protocol.ts'
import { type Finished, must, run } from '../../support/program.ts'
import type { Peer } from './fake-daemon.ts'
import { builds, built, type Call, errorOf, Launched } from './launched.ts'

const success = encodeAnswer({ status: 0, acknowledge: true, stdout: '{}', stderr: '' })
const stopped = JSON.stringify({ cniVersion: '1.0.0', code: 999, msg: 'stopped by SIGTERM' })
const failure = encodeAnswer({ status: 1, acknowledge: false, stdout: stopped, stderr: '' })

describe.each(builds)('%s', (_, flags, file) => {
  beforeAll(() => built(flags), 120_000)

  /** A launcher that waits for an answer, and its daemon. */
  const waiting = async (call: Call = {}, it = new Launched(file)) => {
    const daemon = it.daemon()
    const running: Promise<Finished> = it.run(call)
    const peer: Peer = await daemon.greeted()
    await peer.request()
    await it.waits()
    return { it, peer, running }
  }

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('%s: C, and the answer is printed', async (signal) => {
    const { it, peer, running } = await waiting()
    it.kill(signal)
    expect((await peer.bytes(1)).toString()).toBe('C')
    peer.send(failure)
    expect(await running).toMatchObject({ status: 1, signal: null, stdout: stopped })
    expect(it.record()).toBeNull()
  })

  test('a second one ends it, and the connection', async () => {
    const { it, peer, running } = await waiting()
    it.kill('SIGTERM')
    expect((await peer.bytes(1)).toString()).toBe('C')
    it.kill('SIGINT')
    expect(await peer.bytes(1)).toHaveLength(0)
    expect(await running).toMatchObject({ status: null, signal: 'SIGTERM', stdout: '' })
    expect(it.record('DEL')).toBeNull()
  })

  test('a success that comes too late is not acknowledged', async () => {
    const { it, peer, running } = await waiting()
    it.kill('SIGTERM')
    expect((await peer.bytes(1)).toString()).toBe('C')
    peer.send(success)
    // Neither is the caller told before it is undone.
    expect(await peer.bytes(1)).toHaveLength(0)
    peer.close()
    const finished = await running
    expect(finished.status).toBe(1)
    expect(errorOf(finished)).toEqual({ cniVersion: '1.0.0', code: 999, msg: 'stopped by SIGTERM' })
  })

  test('so is one that comes together with the signal', async () => {
    const { it, peer, running } = await waiting()
    it.kill('SIGSTOP')
    peer.send(success)
    it.kill('SIGTERM')
    it.kill('SIGCONT')
    const last = await peer.bytes(2)
    expect(last.includes('A')).toBe(false)
    peer.close()
    expect(errorOf(await running).msg).toBe('stopped by SIGTERM')
  })

  test('a daemon that dies after it was told: an ADD is taken back, anything else is left', async () => {
    const told = async (verb: string) => {
      const it = new Launched(file)
      const { peer, running } = await waiting({ env: it.env({ CNI_COMMAND: verb }) }, it)
      it.kill('SIGTERM')
      await peer.bytes(1)
      peer.close()
      return { it, finished: await running }
    }
    const add = await told('ADD')
    expect(errorOf(add.finished).code).toBe(11)
    expect(add.it.record('DEL')).not.toBeNull()
    const del = await told('DEL')
    expect(del.finished).toMatchObject({ signal: 'SIGTERM', stdout: '' })
    expect(del.it.record('DEL')).toBeNull()
  })

  test('a signal before the daemon has everything ends it at once', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const running = it.run({ input: JSON.stringify('x'.repeat(1_000_000)) })
    const peer = await daemon.greeted()
    await it.waits()
    it.kill('SIGTERM')
    expect(await running).toMatchObject({ status: null, signal: 'SIGTERM', stdout: '' })
    peer.close()
    expect(it.record()).toBeNull()
  })

  test('C waits for room in a full socket', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const running = it.run({ input: JSON.stringify('x'.repeat(1_000_000)) })
    const peer = await daemon.greeted()
    await peer.request()
    await it.waits()
    it.kill('SIGTERM')
    expect((await peer.bytes(1)).toString()).toBe('C')
    peer.send(failure)
    expect((await running).status).toBe(1)
  })

  test('a signal that whoever started it ignores is ignored', async () => {
    const it = new Launched(file)
    const prefix = ['sh', '-c', 'trap \'\' HUP; exec "$@"', 'sh']
    const { peer, running } = await waiting({ prefix }, it)
    it.kill('SIGHUP')
    it.kill('SIGTERM')
    expect((await peer.bytes(1)).toString()).toBe('C')
    peer.send(failure)
    expect((await running).status).toBe(1)
  })

  test('a full pipe does not keep it from being stopped', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    // Held open, and not read.
    const pipe = `${it.folder}/unread`
    await must('mkfifo', [pipe])
    const held = openSync(pipe, 'r+')
    onTestFinished(() => closeSync(held))
    const running = it.run({ prefix: ['sh', '-c', 'exec "$@" >"$0"', pipe] })
    const peer = await daemon.greeted()
    await peer.request()
    peer.send(encodeAnswer({ status: 0, acknowledge: true, stdout: 'x'.repeat(100_000), stderr: '' }))
    await it.waits()
    it.kill('SIGTERM')
    expect(await peer.bytes(1)).toHaveLength(0)
    peer.close()
    expect(await running).toMatchObject({
      status: 1,
      stderr: 'linkwright-launcher: error writing to stdout: EINTR\n',
    })
  })

  test('one that has said its last word heeds a second signal, and its own deadline', async () => {
    const it = new Launched(file)
    const { peer, running } = await waiting({ prefix: ['sh', '-c', 'exec "$@" >/dev/full', 'sh'] }, it)
    peer.send(success)
    // It waits for the daemon to undo what it could not print.
    expect(await peer.bytes(1)).toHaveLength(0)
    await it.waits()
    it.kill('SIGTERM')
    it.kill('SIGINT')
    expect(await running).toMatchObject({
      status: 1,
      stderr: 'linkwright-launcher: error writing to stdout: ENOSPC\n',
    })
  })

  test('the DEL after a lost ADD is in no group with its caller', async () => {
    const { it, peer, running } = await waiting()
    it.write('hang', '')
    peer.close()
    await it.undoes()
    expect(it.groups()).toEqual({ own: expect.any(Number), child: expect.any(Number) })
    const { own, child } = it.groups()
    expect(child).not.toBe(own)
    it.kill('SIGTERM')
    it.kill('SIGINT')
    await running
  })

  test('what it executes has its caller’s signals', async () => {
    const it = new Launched(file)
    const plain = await run('grep', ['-E', '^Sig(Blk|Ign)', '/proc/self/status'])
    const daemon = it.daemon()
    const running = it.run({ env: it.env({ CNI_COMMAND: 'DEL' }) })
    const peer = await daemon.greeted()
    await peer.request()
    peer.close()
    await running
    expect(it.record('DEL')?.signals).toBe(plain.stdout)
  })

  test('a signal during the DEL after a lost ADD lets it finish; the second does not', async () => {
    const { it, peer, running } = await waiting()
    it.write('hang', '')
    peer.close()
    await it.undoes()
    it.kill('SIGTERM')
    it.kill('SIGINT')
    expect(await running).toMatchObject({ status: null, stdout: '' })
    expect((await running).signal).toMatch(/SIGTERM|SIGINT/)
  })
})
