/** The daemon has no descriptor left, or too few: whoever comes does without it, and it goes on when there are some. */
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { Client } from '../../support/daemon/client.ts'
import { descriptorsOf } from '../../support/daemon/start.ts'
import { must } from '../../support/program.ts'
import { privateHost } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'
import { linkwright, Resident } from '../daemon-command/resident.ts'
import { conf, Patient } from '../faults/executed.ts'
import { bridge } from './scenes.ts'
import { ServedHost } from './served.ts'

/** Ticks of a second in /proc. */
const TICKS = 100

/** Milliseconds of processor time that a process has used, its threads included. */
const usedBy = (pid: number): number => {
  const [, ...fields] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')
  const [, , , , , , , , , , , user, system] = fields.join(') ').split(' ').map(Number)
  return ((user! + system!) * 1000) / TICKS
}

/** Leaves the daemon room for so many more descriptors. Null: as many as it likes. */
const leave = async ({ pid }: ServedHost, free: number | null): Promise<void> => {
  const taken = new Set(readdirSync(`/proc/${pid}/fd`).map(Number))
  let limit = 0
  // The kernel gives the lowest number that is free.
  for (let left = free ?? 0; left > 0 || taken.has(limit); limit++) if (!taken.has(limit)) left--
  await must('prlimit', ['--pid', `${pid}`, `--nofile=${free === null ? 1024 : limit}:1024`])
}

/** Until it serves, and has no more open than that. */
const settled = async ({ daemon, pid }: ServedHost, open: readonly string[]): Promise<void> => {
  const client = await Client.open(daemon.path)
  client.close()
  await eventually('nothing stays open', () => descriptorsOf(pid).length <= open.length)
}

const setUp = async () => {
  const scene = await bridge()
  const { it, state, left, reset } = scene
  const fresh = await state()
  await it.start()
  const { pid } = it
  /** By the daemon. */
  const serves = async (): Promise<void> => {
    for (const verb of ['ADD', 'DEL'])
      await eventually('it is reached', async () => {
        const done = await it.call(verb)
        expect(done).toMatchObject({ status: 0 })
        return done.executed.length === 0
      })
    expect(await left()).toEqual(fresh)
    expect(it.pid).toBe(pid)
    await reset()
  }
  // Its connections to the host stay open.
  await serves()
  return { ...scene, fresh, pid, serves, open: descriptorsOf(pid) }
}

test('none: launchers go on alone, it does not spin, and serves again', async () => {
  const { it, left, reset, fresh, pid, serves, open } = await setUp()
  await settled(it, open)
  await leave(it, 0)
  expect(await it.call('ADD')).toMatchObject({ status: 0, stderr: '', executed: ['ADD'] })
  expect(await it.call('DEL')).toMatchObject({ status: 0, stdout: '', executed: ['DEL'] })
  expect(await left()).toEqual(fresh)
  await reset()

  const waiting = Client.connect(it.daemon.path)
  const complaints = (): number => it.daemon.log.lines.filter((line) => line.includes('EMFILE')).length
  await eventually('it has tried', () => complaints() > 0)
  const [since, used, said] = [performance.now(), usedBy(pid), complaints()]
  await eventually('it has tried some more', () => complaints() > said + 4)
  expect(usedBy(pid) - used).toBeLessThan((performance.now() - since) / 2)

  await leave(it, null)
  expect(await waiting.greet()).toEqual({ version: 1, flags: 0 })
  waiting.close()
  await serves()
  await settled(it, open)
})

test.each([
  ['ADD', 4],
  ['DEL', 1],
])('too few for %s: it says so, and nothing is left', { timeout: 60_000 }, async (verb, least) => {
  const { it, state, left, reset, fresh, serves, open } = await setUp()
  let refusals = 0
  // With less than three nobody is accepted; where somebody could have been, and was not in time, it is tried again.
  for (let free = 0, isEnough = false, tries = 10; !isEnough; ) {
    if (verb === 'DEL') expect(await it.call('ADD')).toMatchObject({ status: 0 })
    await settled(it, open)
    await leave(it, free)
    const { status, error, executed } = await it.call(verb)
    await leave(it, null)
    const where = `${free}: ${executed.join()} ${JSON.stringify(error)}`
    isEnough = status === 0 && executed.length === 0
    if (executed[0] !== verb || free < 3 || tries-- === 0) free++
    if (error) {
      refusals++
      // The daemon has said why, or had no room for the namespaces that come along, and has closed.
      if (executed.length === 0) expect(where).toMatch(/EMFILE|too many open files/)
      else expect({ where, code: error.code, executed }).toEqual({ where, code: 11, executed: ['DEL'] })
      if (verb === 'ADD') expect(await state(), where).toEqual(fresh)
    }
    await settled(it, open)
    expect(await it.call('DEL'), where).toMatchObject({ status: 0, stdout: '' })
    expect(await left(), where).toEqual(fresh)
    await reset()
    expect(free).toBeLessThan(30)
  }
  expect(refusals).toBeGreaterThanOrEqual(least)
  await serves()
  await settled(it, open)
})

/** One that may have few open from its beginning. */
class Narrow extends Resident {
  override async start(): Promise<void> {
    const args = [`--nofile=${LIMIT}`, linkwright, 'daemon', '--no-dhcp']
    await this.launch({ file: 'prlimit', args, ready: /"message":"ready"/ })
  }
}

/** Enough for one operation at a time. */
const LIMIT = 48
const CROWD = 8

test('a limit that is too small for a crowd: who finds no place goes on alone', {
  timeout: 60_000,
}, async () => {
  const host = await privateHost()
  const containers = await Promise.all(Array.from({ length: CROWD }, (_, i) => host.container(`c${i}`)))
  const alone = new Patient(host, containers[0]!)
  const it = new ServedHost(host, containers[0]!, conf, new Narrow(host))
  const fresh = await alone.state()
  await it.start()
  const { pid } = it
  for (const verb of ['ADD', 'DEL']) expect(await it.call(verb)).toMatchObject({ status: 0 })
  const open = descriptorsOf(pid)
  const all = (verb: string) =>
    Promise.all(containers.map((container, i) => it.call(verb, {}, { container, containerId: `c${i}` })))
  for (const verb of ['ADD', 'DEL'])
    for (const { status, error } of await all(verb))
      expect({ verb, status, error }).toMatchObject({ verb, status: 0 })
  expect(await alone.stateBesideBridge()).toEqual(fresh)
  await settled(it, open)
  expect(it.pid).toBe(pid)
})
