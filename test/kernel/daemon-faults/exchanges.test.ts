/**
 * Every netlink exchange of the daemon fails once, in every way. Its connections to the host stay open over all of it: one
 * that has failed serves the next operation.
 */
import { expect, test } from 'vitest'
import { Scheduler } from '../../../daemon/scheduler.ts'
import { inProcess } from '../../support/daemon/start.ts'
import { privateHost } from '../../support/space.ts'
import { conf, Patient } from '../faults/executed.ts'
import { type Fault, FaultyTransport } from '../faults/transport.ts'
import { ServedHost } from './served.ts'

/** As if others were at work, and deleted interfaces: exchanges are off the JavaScript thread then. */
const busy = (): Scheduler =>
  Object.defineProperties(new Scheduler(), { running: { value: 2 }, deleting: { value: 1 } })

const setUp = async (scheduler: Scheduler) => {
  const faulty = new FaultyTransport('unsent', Number.POSITIVE_INFINITY)
  faulty.install()
  const { path: socket } = await inProcess({ scheduler })
  const host = await privateHost()
  const container = await host.container()
  const alone = new Patient(host, container)
  // This process sees the host's files elsewhere.
  const ipam = { ...conf.ipam, dataDir: host.file('/var/lib/cni/networks') }
  const it = new ServedHost(host, container, { ...conf, ipam })
  /** A verb, of which an exchange fails. Again where the daemon was not reached. */
  const call = async (verb: string, fault: Fault, number: number) => {
    for (;;) {
      faulty.arm(fault, number)
      const done = await it.call(verb, {}, { socket })
      const { struck } = faulty
      faulty.arm(fault, Number.POSITIVE_INFINITY)
      if (done.executed.length === 0) return { ...done, struck }
      await it.call('DEL')
      await alone.reset()
    }
  }
  return { alone, call }
}

const cases: readonly [string, Fault, Scheduler][] = [
  ['alone', 'unsent', new Scheduler()],
  ['alone', 'unanswered', new Scheduler()],
  ['alone', 'refused', new Scheduler()],
  ['among others', 'unanswered', busy()],
  ['among others', 'refused', busy()],
]

test.each(cases)('%s: %s', { timeout: 60_000 }, async (_, fault, scheduler) => {
  const { alone, call } = await setUp(scheduler)
  const never = Number.POSITIVE_INFINITY
  const fresh = await alone.state()
  const del = async (): Promise<void> => {
    expect((await call('DEL', fault, never)).error).toBeNull()
    expect(await alone.stateBesideBridge()).toEqual(fresh)
    await alone.reset()
  }
  let adds = 1
  for (; ; adds++) {
    const { struck, status, error } = await call('ADD', fault, adds)
    if (!struck) {
      expect(error).toBeNull()
      await del()
      break
    }
    const where = `exchange ${adds} of ADD: ${JSON.stringify(error)}`
    expect(status, where).toBe(1)
    expect(error, where).toMatchObject({ cniVersion: '1.0.0', msg: expect.stringContaining('ENOMEM') })
    expect(JSON.stringify(error), where).not.toContain('could not be undone')
    expect(await alone.state(), where).toEqual(fresh)
  }
  // One exchange looks, one makes the pair, one configures, one waits for the port; rules come on top.
  expect(adds).toBeGreaterThan(8)

  let dels = 1
  for (let struck = true; struck; dels++) {
    expect((await call('ADD', fault, never)).error).toBeNull()
    const done = await call('DEL', fault, dels)
    struck = done.struck
    if (!struck) expect(done.error).toBeNull()
    // It can do without some of them; what it could not remove it says.
    else if (done.error) expect(done.error.msg).toContain('ENOMEM')
    await del()
  }
  expect(dels).toBeGreaterThan(4)
})
