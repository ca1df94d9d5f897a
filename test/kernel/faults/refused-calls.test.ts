/** ENOMEM from any call of an ADD: it fails with an error and has undone everything by itself, before any DEL. */
import { expect, test } from 'vitest'
import { type Call, patient } from './executed.ts'

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

test('an ADD with a call that fails is undone', { timeout: 300_000 }, async () => {
  const it = await patient()
  const fresh = await it.state()
  const calls = await it.trace(names)
  await it.run('DEL')
  await it.reset()
  expect(calls.length).toBeGreaterThan(80)
  const unmet: string[] = []
  for (const call of calls) {
    const where = `${call.name} ${call.count} ${call.text}`
    const add = await it.tampered(call, 'error=ENOMEM')
    if (add.status === 0) {
      if (!it.met()) unmet.push(where)
      else expect(dispensable(call), `ADD succeeds without ${where}`).toBe(true)
      const check = await it.run('CHECK', { prevResult: add.result })
      expect({ where, error: check.error }).toEqual({ where, error: null })
      expect((await it.run('DEL')).status).toBe(0)
      expect(await it.stateBesideBridge(), where).toEqual(fresh)
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
  // A run may wait once less for its port than the traced one did.
  expect(unmet.length, unmet.join('\n')).toBeLessThan(calls.length / 20)
})
