/**
 * host-device, killed at every call that changes anything, or with a call that fails: the device is on the host
 * afterwards, with its name and all that it had.
 */
import { expect, test } from 'vitest'
import { plug } from '../plugins/master.ts'
import { type Patient, patient } from './executed.ts'
import {
  changes,
  changing,
  killEveryCallOfAdd,
  refusable,
  refuseEveryCallOfAdd,
  type Sweep,
} from './sweep.ts'

const withDevice = async (): Promise<Patient> => {
  // Of IPv4: looking for duplicates of an IPv6 address takes a second or two each time.
  const ipam = { type: 'host-local', subnet: '10.22.0.0/16', routes: [{ dst: '0.0.0.0/0' }] }
  const it = await patient({ conf: { type: 'host-device', device: 'hd0', ipam } })
  // No addresses that come by themselves, sooner or later.
  await it.host.must('sh', ['-c', 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'])
  await plug(it.host, 'hd0')
  await it.host.ip('link', 'set', 'hd0', 'alias', 'to the lab', 'mtu', '1400')
  return it
}

/** The host as it was before the first ADD, folders included: each run has the same calls then. */
const reset = async (it: Patient): Promise<void> => {
  await it.reset()
  await it.host.must('rm', ['-rf', '/run/linkwright/host-device'])
}

/** Without what the kernel finds out after a while: carriers. */
const stateOf = async (it: Patient): Promise<string[]> =>
  (await it.state()).map((line) =>
    line.replace(/NO-CARRIER,|,LOWER_UP/g, '').replace(/ qdisc \w+ state \w+/, ''),
  )

/** No more is left by a DEL than by an ADD that has undone itself: nothing. */
const sweep = (it: Patient, least: number): Sweep => ({
  ...{ it, least },
  state: () => stateOf(it),
  reset: () => reset(it),
})

test('an ADD that is killed anywhere: DEL brings the device back', { timeout: 180_000 }, async () => {
  const it = await withDevice()
  expect((await stateOf(it)).join('\n')).toMatch(/hd0.*UP.*mtu 1400.*alias to the lab/)
  // The note, a reservation, the move, addresses and routes.
  await killEveryCallOfAdd(sweep(it, 15), [
    /eth0.*alias hd0/,
    /host-device\/[0-9a-f]{40}\.json/,
    /networks\/net\/10\./,
    /default via/,
  ])
})

test('a DEL that is killed anywhere can be done again', { timeout: 120_000 }, async () => {
  const it = await withDevice()
  const fresh = await stateOf(it)
  expect((await it.run('ADD')).error).toBeNull()
  const calls = (await it.trace(changing, 'DEL')).filter(changes)
  expect(calls.length).toBeGreaterThan(5)
  const changed = 'ip link set eth0 down; ip link set eth0 name net7 mtu 1300'
  for (const script of ['true', changed])
    for (const call of calls) {
      const where = `${script}: ${call.name} ${call.count} ${call.text}`
      expect((await it.run('ADD')).error, where).toBeNull()
      await it.container.must('sh', ['-ec', script])
      const killed = await it.tampered(call, 'signal=SIGKILL', 'DEL')
      expect(killed.signal, where).toBe('SIGKILL')
      expect((await it.run('DEL')).error, where).toBeNull()
      expect(await stateOf(it), where).toEqual(fresh)
    }
})

test('an ADD with a call that fails is undone', { timeout: 300_000 }, async () => {
  await refuseEveryCallOfAdd(sweep(await withDevice(), 40))
})

test('a DEL with a call that fails can be done again', { timeout: 180_000 }, async () => {
  const it = await withDevice()
  const fresh = await stateOf(it)
  expect((await it.run('ADD')).error).toBeNull()
  const calls = await it.trace(refusable, 'DEL')
  for (const call of calls) {
    const where = `${call.name} ${call.count} ${call.text}`
    expect((await it.run('ADD')).error, where).toBeNull()
    await it.tampered(call, 'error=ENOMEM', 'DEL')
    expect((await it.run('DEL')).error, where).toBeNull()
    expect(await stateOf(it), where).toEqual(fresh)
    await reset(it)
  }
})
