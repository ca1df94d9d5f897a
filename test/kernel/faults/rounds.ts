/** What is done to each plugin: every call of an ADD or a DEL is the last one, or fails, in its turn. */
import { expect } from 'vitest'
import type { Call, Patient } from './executed.ts'

/** Calls that change anything. */
export const changing = [
  'sendto',
  'write',
  'pwrite64',
  'mkdir',
  'link',
  'unlink',
  'rename',
  'flock',
  'openat',
  'setns',
]
export const changes = ({ name, text }: Call): boolean =>
  name !== 'openat' || /O_(CREAT|RDWR|WRONLY)/.test(text)

export interface RoundOptions {
  /** Of host and container, without what outlives an attachment. */
  readonly state: () => Promise<string[]>
  /** There is no doing it with as few calls. */
  readonly moreThan: number
}

const whereOf = ({ name, count, text }: Call): string => `${name} ${count} ${text}`

/** A run may wait once less for a notification than the traced one did. */
const fewAreMissed = (unmet: readonly string[], calls: readonly Call[]): void =>
  expect(unmet.length, unmet.join('\n')).toBeLessThan(calls.length / 20)

/**
 * SIGKILL at every call of an ADD that changes anything, then DEL, as the runtime does it: nothing is left, and another
 * ADD works.
 * @param signs what has to be there after one or the other: it was not always killed before it had done anything
 */
export const killAdd = async (
  it: Patient,
  { state, moreThan }: RoundOptions,
  signs: readonly RegExp[],
): Promise<void> => {
  const fresh = await it.state()
  const calls = (await it.trace(changing)).filter(changes)
  await it.run('DEL')
  await it.reset()
  expect(await it.state()).toEqual(fresh)
  expect(calls.length).toBeGreaterThan(moreThan)
  const reached = new Set<string>()
  const unmet: string[] = []
  for (const call of calls) {
    const where = whereOf(call)
    const killed = await it.tampered(call, 'signal=SIGKILL')
    if (killed.status === 0) unmet.push(where)
    else expect(killed.signal, where).toBe('SIGKILL')
    for (const line of await state()) if (!fresh.includes(line)) reached.add(line.replace(/^\d+: /, ''))
    const del = await it.run('DEL')
    expect({ where, status: del.status, error: del.error }).toEqual({ where, status: 0, error: null })
    expect(await state(), where).toEqual(fresh)
    const add = await it.run('ADD')
    expect({ where, status: add.status, error: add.error }).toEqual({ where, status: 0, error: null })
    const check = await it.run('CHECK', { prevResult: add.result })
    expect({ where, status: check.status, error: check.error }).toEqual({ where, status: 0, error: null })
    expect((await it.run('DEL')).status, where).toBe(0)
    expect(await state(), where).toEqual(fresh)
    await it.reset()
  }
  fewAreMissed(unmet, calls)
  const all = [...reached].join('\n')
  for (const sign of signs) expect(all).toMatch(sign)
}

/** SIGKILL at every call of a DEL that changes anything: another DEL does the rest. */
export const killDel = async (it: Patient, { state, moreThan }: RoundOptions): Promise<void> => {
  const fresh = await state()
  expect((await it.run('ADD')).error).toBeNull()
  const calls = (await it.trace(changing, 'DEL')).filter(changes)
  expect(calls.length).toBeGreaterThan(moreThan)
  for (const call of calls) {
    const where = whereOf(call)
    expect((await it.run('ADD')).error, where).toBeNull()
    expect((await it.tampered(call, 'signal=SIGKILL', 'DEL')).signal, where).toBe('SIGKILL')
    expect((await it.run('DEL')).error, where).toBeNull()
    expect(await state(), where).toEqual(fresh)
  }
}

const names = [
  ...['sendto', 'recvmsg', 'socket', 'setsockopt', 'setns', 'clone3', 'flock'],
  ...['openat', 'read', 'pread64', 'write', 'pwrite64', 'mkdir', 'link', 'unlink', 'rename', 'getdents64'],
]

/**
 * Calls that an ADD can do without: what helps to be fast, and what it only tidies up. Where the way back from a
 * namespace is barred, a thread goes there instead; where it is barred for a moment, it is tried again.
 */
const dispensable = ({ name, text }: Call): boolean =>
  name === 'setns' ||
  (name === 'openat' && text.includes('/proc/thread-self/ns/net')) ||
  /networks\/\.linkwright\//.test(text) ||
  (name === 'openat' && /last_reserved_ip\.\d", O_RDONLY/.test(text)) ||
  (name === 'unlink' && /\.linkwright-new/.test(text))

/** ENOMEM from any call of an ADD: it fails with an error and has undone everything by itself, before any DEL. */
export const refuseAdd = async (it: Patient, { state, moreThan }: RoundOptions): Promise<void> => {
  const fresh = await it.state()
  const calls = await it.trace(names)
  await it.run('DEL')
  await it.reset()
  expect(calls.length).toBeGreaterThan(moreThan)
  const unmet: string[] = []
  for (const call of calls) {
    const where = whereOf(call)
    const add = await it.tampered(call, 'error=ENOMEM')
    if (add.status === 0) {
      if (!it.met()) unmet.push(where)
      else expect(dispensable(call), `ADD succeeds without ${where}`).toBe(true)
      const check = await it.run('CHECK', { prevResult: add.result })
      expect({ where, error: check.error }).toEqual({ where, error: null })
      expect((await it.run('DEL')).status).toBe(0)
      expect(await state(), where).toEqual(fresh)
    } else {
      expect({ where, status: add.status, error: add.error }).toEqual({
        where,
        status: 1,
        error: expect.objectContaining({
          cniVersion: '1.0.0',
          code: expect.any(Number),
          // Why, and before it what was tried: a system call's name alone tells nobody anything.
          msg: expect.stringMatching(/^(?!\w+: ENOMEM|ENOMEM).*(ENOMEM|not enough memory)/),
        }),
      })
      expect(await it.state(), where).toEqual(fresh)
      // What the runtime does next.
      expect((await it.run('DEL')).status).toBe(0)
    }
    await it.reset()
  }
  fewAreMissed(unmet, calls)
}
