/** SIGTERM during an ADD: it ends with an error and has undone everything, whatever it was doing or waiting for. */
import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { holdLock, waitsForLock } from '../../support/flock.ts'
import { eventually } from '../../support/wait.ts'
import { locksFolder } from '../plugins/node.ts'
import { type Patient, patient } from './executed.ts'

/** An ADD that gets SIGTERM when `ready`. */
const stopped = async (
  it: Patient,
  ready: (pid: number) => boolean | Promise<boolean>,
  conf: Readonly<Record<string, unknown>> = {},
) => {
  let pid = 0
  const started = (id: number): void => {
    pid = id
  }
  const adding = it.run('ADD', { conf, started })
  await eventually('the ADD waits', () => pid > 0 && ready(pid))
  process.kill(pid, 'SIGTERM')
  return await adding
}

const expectStopped = ({ status, error, stderr }: Awaited<ReturnType<typeof stopped>>): void => {
  expect({ status, stderr }).toEqual({ status: 1, stderr: '' })
  expect(error).toEqual({ cniVersion: '1.0.0', code: 999, msg: expect.stringContaining('SIGTERM') })
}

test("while it waits for another ADD's roll-back", async () => {
  const it = await patient()
  const fresh = await it.state()
  for (const command of ['ADD', 'DEL']) expect(await it.run(command)).toMatchObject({ status: 0 })
  // The lock stays.
  const [lock] = readdirSync(it.host.file(locksFolder))
  await it.host.ip('link', 'del', 'cni0')
  await holdLock(it.host, `${locksFolder}/${lock}`)
  expectStopped(await stopped(it, waitsForLock))
  expect(await it.state()).toEqual(fresh)
})

test("while it waits for host-local's lock, with its interfaces made", async () => {
  const it = await patient()
  await it.host.must('mkdir', ['-p', '/var/lib/cni/networks/net'])
  await it.host.must('touch', ['/var/lib/cni/networks/net/lock'])
  const fresh = await it.state()
  await holdLock(it.host, '/var/lib/cni/networks/net/lock')
  expectStopped(await stopped(it, waitsForLock))
  expect(await it.state()).toEqual(fresh)
})

test('while it waits for duplicate address detection, with everything made', async () => {
  const it = await patient()
  const fresh = await it.state()
  const tentative = async () => {
    const { stdout } = await it.container.run('ip', ['-6', 'addr', 'show', 'dev', 'eth0', 'tentative'])
    return stdout.includes('fd00:22::2')
  }
  expectStopped(await stopped(it, tentative, { enabledad: true }))
  expect(await it.state()).toEqual(fresh)
})

test('at any call that changes anything', { timeout: 120_000 }, async () => {
  const it = await patient()
  const fresh = await it.state()
  const calls = await it.trace(['sendto', 'pwrite64', 'link', 'flock', 'write'])
  await it.run('DEL')
  await it.reset()
  let undone = 0
  for (const call of calls) {
    const where = `${call.name} ${call.count} ${call.text}`
    const add = await it.tampered(call, 'signal=SIGTERM')
    // The last of them come when the result is out already.
    if (add.status === 0) {
      const check = await it.run('CHECK', { prevResult: add.result })
      expect({ where, error: check.error }).toEqual({ where, error: null })
      expect((await it.run('DEL')).status).toBe(0)
      expect(call.text, where).toMatch(/cniVersion/)
    } else {
      expect({ where, status: add.status, msg: add.error?.msg }).toEqual({
        where,
        status: 1,
        msg: expect.stringContaining('SIGTERM'),
      })
      undone++
      expect(await it.state(), where).toEqual(fresh)
    }
    await it.reset()
  }
  expect(undone).toBeGreaterThan(20)
})
