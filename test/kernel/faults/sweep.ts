/** What a plugin has to stand: each of its system calls killed, or refused, one after the other. */
import { expect } from 'vitest'
import type { Call, Patient } from './executed.ts'

/** System calls that change anything. */
export const changing = [
  ...[
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
    'ioctl',
  ],
]
export const changes = ({ name, text }: Call): boolean =>
  name !== 'openat' || /O_(CREAT|RDWR|WRONLY)/.test(text)

/** System calls that the kernel may refuse. */
export const refusable = [
  ...['sendto', 'recvmsg', 'socket', 'setsockopt', 'setns', 'clone3', 'flock', 'ioctl'],
  ...['openat', 'read', 'pread64', 'write', 'pwrite64', 'mkdir', 'link', 'unlink', 'rename', 'getdents64'],
]

/**
 * Calls that an ADD can do without: what helps to be fast, and what it only tidies up. Where the way back from a
 * namespace is barred, a thread goes there instead; where it is barred for a moment, it is tried again. An event (of a
 * group) may come when nobody waits for it any more, or turn out to be none.
 */
const dispensable = ({ name, text }: Call): boolean =>
  name === 'setns' ||
  (name === 'openat' && text.includes('/proc/thread-self/ns/net')) ||
  (name === 'recvmsg' && /nl_groups=0x0*[1-9a-f]|MSG_DONTWAIT.* EAGAIN/.test(text)) ||
  /networks\/\.linkwright\//.test(text) ||
  (name === 'openat' && /last_reserved_ip\.\d", O_RDONLY/.test(text)) ||
  (name === 'unlink' && /\.linkwright-new/.test(text))

export interface Sweep {
  readonly it: Patient
  /** What has to be as before once a failed ADD has undone itself. Default: all of the patient's state. */
  readonly state?: (() => Promise<string[]>) | undefined
  /** The same less what outlives its attachments, for after a DEL. Default: `state`. */
  readonly left?: (() => Promise<string[]>) | undefined
  /** The host as it was before the first ADD: each run has the same calls then. Default: the patient's. */
  readonly reset?: (() => Promise<void>) | undefined
  /** How many calls there are at least: there is no doing it with less. */
  readonly least: number
}

/** With its defaults. */
const withStates = ({ it, state = () => it.state(), left = state, reset = () => it.reset() }: Sweep) => ({
  ...{ state, left, reset },
})

const whereIs = ({ name, count, text }: Call): string => `${name} ${count} ${text}`

const succeeds = async (it: Patient, command: string, where: string, prevResult: unknown = null) => {
  const done = await it.run(command, { prevResult: prevResult as never })
  expect({ where, command, status: done.status, error: done.error }).toEqual({
    ...{ where, command, status: 0, error: null },
  })
  return done
}

/**
 * SIGKILL at every call of an ADD that changes anything; then DEL, as the runtime does it, and all is as before; then all
 * of it works.
 * @param signs what has to have been there after one or the other kill: it was not always before anything was done
 */
export const killEveryCallOfAdd = async (sweep: Sweep, signs: readonly RegExp[]): Promise<void> => {
  const { it, least } = sweep
  const { state, left, reset } = withStates(sweep)
  const fresh = await state()
  const calls = (await it.trace(changing)).filter(changes)
  await it.run('DEL')
  await reset()
  expect(await state()).toEqual(fresh)
  expect(calls.length).toBeGreaterThan(least)
  const reached = new Set<string>()
  const unmet: string[] = []
  for (const call of calls) {
    const where = whereIs(call)
    const killed = await it.tampered(call, 'signal=SIGKILL')
    if (killed.status === 0) unmet.push(where)
    else expect(killed.signal, where).toBe('SIGKILL')
    for (const line of await left()) if (!fresh.includes(line)) reached.add(line.replace(/^\d+: /, ''))
    await succeeds(it, 'DEL', where)
    expect(await left(), where).toEqual(fresh)
    const { result } = await succeeds(it, 'ADD', where)
    await succeeds(it, 'CHECK', where, result)
    await succeeds(it, 'DEL', where)
    expect(await left(), where).toEqual(fresh)
    await reset()
  }
  // A run may wait once less than the traced one did.
  expect(unmet.length, unmet.join('\n')).toBeLessThan(Math.max(2, calls.length / 20))
  for (const sign of signs) expect([...reached].join('\n')).toMatch(sign)
}

/** SIGKILL at every call of a DEL that changes anything; it can be done again. */
export const killEveryCallOfDel = async (sweep: Sweep): Promise<void> => {
  const { it, least } = sweep
  const { left } = withStates(sweep)
  const fresh = await left()
  await succeeds(it, 'ADD', 'at first')
  const calls = (await it.trace(changing, 'DEL')).filter(changes)
  expect(calls.length).toBeGreaterThan(least)
  for (const call of calls) {
    const where = whereIs(call)
    await succeeds(it, 'ADD', where)
    expect((await it.tampered(call, 'signal=SIGKILL', 'DEL')).signal, where).toBe('SIGKILL')
    await succeeds(it, 'DEL', where)
    expect(await left(), where).toEqual(fresh)
  }
}

/** ENOMEM from any call of an ADD: it fails with an error and has undone everything by itself, before any DEL. */
export const refuseEveryCallOfAdd = async (sweep: Sweep): Promise<void> => {
  const { it, least } = sweep
  const { state, left, reset } = withStates(sweep)
  const fresh = await state()
  const calls = await it.trace(refusable)
  await it.run('DEL')
  await reset()
  expect(calls.length).toBeGreaterThan(least)
  const unmet: string[] = []
  for (const call of calls) {
    const where = whereIs(call)
    let add = await it.tampered(call, 'error=ENOMEM')
    let met = it.met(call)
    for (let tries = 2; !met && tries > 0; tries--) {
      await it.run('DEL')
      await reset()
      add = await it.tampered(call, 'error=ENOMEM')
      met = it.met(call)
    }
    if (!met) unmet.push(where)
    else if (add.status === 0) {
      expect(dispensable(call), `ADD succeeds without ${where}`).toBe(true)
      await succeeds(it, 'CHECK', where, add.result)
    } else {
      expect({ where, status: add.status, error: add.error }).toEqual({
        where,
        status: 1,
        error: expect.objectContaining({
          cniVersion: '1.0.0',
          code: expect.any(Number),
          // Why, and before it what was tried: a system call's name alone tells nobody anything. The C library says
          // that there can be no thread now.
          msg: expect.stringMatching(
            /^(?!\w+: ENOMEM|ENOMEM).*(ENOMEM|pthread_create: EAGAIN|not enough memory)/,
          ),
        }),
      })
      expect(await state(), where).toEqual(fresh)
    }
    // What the runtime does next.
    await succeeds(it, 'DEL', where)
    expect(await left(), where).toEqual(fresh)
    await reset()
  }
  // A run may wait once less than the traced one did.
  expect(unmet.length, unmet.join('\n')).toBeLessThan(Math.max(2, calls.length / 20))
}
