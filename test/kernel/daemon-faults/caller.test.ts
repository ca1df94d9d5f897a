/**
 * The caller gives up wherever the daemon changes anything: the daemon is stopped there, the launcher is killed or asked to
 * end, and the daemon goes on. It undoes what it has done, and serves whoever comes next.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { eventually } from '../../support/wait.ts'
import { bridge, portmap, type Scene } from './scenes.ts'
import { type DaemonCall, type Served, type ServedHost, whereIs } from './served.ts'

const SIGTERM = 15n
/** Number of the system call in which the launcher waits. */
const ppoll = process.arch === 'x64' ? '271' : '73'

/** Until a launcher has taken its SIGTERM, told the daemon, and waits again. */
const hasTold = (pid: number): Promise<boolean> =>
  eventually('the launcher has told the daemon', () => {
    const of = (file: string): string => readFileSync(`/proc/${pid}/${file}`, 'utf8')
    const pending = /^ShdPnd:\s*(\w+)/m.exec(of('status'))?.[1] ?? '0'
    const isPending = (BigInt(`0x${pending}`) & (1n << (SIGTERM - 1n))) !== 0n
    return !isPending && of('syscall').startsWith(`${ppoll} `)
  })

/** A verb whose daemon stops at a call, until its caller has given up. @param restore the host, before another try */
const givenUp = (
  it: ServedHost,
  verb: string,
  signal: 'SIGKILL' | 'SIGTERM',
  call: DaemonCall,
  restore: () => Promise<unknown>,
): Promise<Served> =>
  it.until(call, async () => {
    const before = it.daemon.operations().length
    const tracer = await it.tamper(call, 'signal=SIGSTOP')
    let launcher = 0
    let over = false
    const calling = it
      .call(
        verb,
        {},
        {
          started(pid) {
            launcher = pid
          },
        },
      )
      .finally(() => {
        over = true
      })
    await eventually(
      'it stops',
      () => over || tracer.lines.some((line) => line.includes('stopped by SIGSTOP')),
    )
    if (over) {
      await tracer.detach()
      await restore()
      return null
    }
    process.kill(launcher, signal)
    if (signal === 'SIGKILL') await calling
    else await hasTold(launcher)
    process.kill(it.pid, 'SIGCONT')
    const done = await calling
    await eventually('the daemon is done', () => it.daemon.operations().length > before)
    await tracer.detach()
    return done
  })

/** The answer can not be called back by a signal to whoever has it: what follows it is the launcher's to say. */
const beforeTheAnswer = ({ name }: DaemonCall): boolean => name !== 'sendmsg'

const setUp = async (scene: Scene) => {
  const { it, state, left, reset } = scene
  const fresh = await state()
  await it.start()
  const { pid } = it
  const del = async (): Promise<void> => {
    expect(await it.byDaemon('DEL')).toMatchObject({ status: 0, stdout: '' })
    await reset()
    expect(await left()).toEqual(fresh)
  }
  const add = async (): Promise<void> => {
    expect(await it.byDaemon('ADD')).toMatchObject({ status: 0 })
  }
  return { ...scene, fresh, pid, add, del }
}

describe.each([
  ['bridge', bridge],
  ['portmap', portmap],
] as const)('%s', (_, makeScene) => {
  test('ADD: nothing of it stays', { timeout: 60_000 }, async () => {
    const { it, state, fresh, pid, add, del } = await setUp(await makeScene())
    const calls = (await it.changes('ADD', del)).filter(beforeTheAnswer)
    await del()
    for (const call of calls) {
      const where = whereIs(call)
      expect(await givenUp(it, 'ADD', 'SIGKILL', call, del), where).toMatchObject({
        signal: 'SIGKILL',
        stdout: '',
      })
      expect(await state(), where).toEqual(fresh)
      const asked = await givenUp(it, 'ADD', 'SIGTERM', call, del)
      expect(asked, where).toMatchObject({
        ...{ status: 1, stderr: '', executed: [] },
        // The daemon's words, or the launcher's where the result was on its way already.
        error: {
          code: 999,
          msg: expect.stringMatching(/^stopped (before it was done: by the caller|by SIGTERM)$/),
        },
      })
      expect(await state(), where).toEqual(fresh)
    }
    await add()
    await del()
    expect(it.pid).toBe(pid)
  })

  test('DEL: it can be done again', { timeout: 60_000 }, async () => {
    const { it, left, fresh, pid, add, del } = await setUp(await makeScene())
    await add()
    const calls = (await it.changes('DEL', add)).filter(beforeTheAnswer)
    for (const call of calls) {
      await add()
      await givenUp(it, 'DEL', 'SIGKILL', call, add)
      await del()
      expect(await left(), whereIs(call)).toEqual(fresh)
    }
    expect(it.pid).toBe(pid)
  })
})

test('a result that can not be printed is undone', async () => {
  const { it, state, fresh, add, del } = await setUp(await bridge())
  const done = await it.byDaemon('ADD', {}, { script: 'exec "$0" >/dev/full' })
  expect(done).toMatchObject({
    status: 1,
    stderr: 'linkwright-launcher: error writing to stdout: ENOSPC\n',
  })
  expect(await state()).toEqual(fresh)
  await add()
  await del()
})
