/**
 * host-device, killed at every call that changes anything, or with a call that fails: the device is on the host
 * afterwards, with its name and all that it had.
 */
import { expect, test } from 'vitest'
import { plug } from '../plugins/master.ts'
import { type Call, type Patient, patient } from './executed.ts'

const changing = [
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
const changes = ({ name, text }: Call): boolean => name !== 'openat' || /O_(CREAT|RDWR|WRONLY)/.test(text)

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
  await it.host.must('rm', ['-rf', '/run/linkwright'])
}

/** Without what the kernel finds out after a while: carriers. */
const stateOf = async (it: Patient): Promise<string[]> =>
  (await it.state()).map((line) =>
    line.replace(/NO-CARRIER,|,LOWER_UP/g, '').replace(/ qdisc \w+ state \w+/, ''),
  )

test('an ADD that is killed anywhere: DEL brings the device back', { timeout: 180_000 }, async () => {
  const it = await withDevice()
  const fresh = await stateOf(it)
  expect(fresh.join('\n')).toMatch(/hd0.*UP.*mtu 1400.*alias to the lab/)
  const calls = (await it.trace(changing)).filter(changes)
  await it.run('DEL')
  expect(await stateOf(it)).toEqual(fresh)
  await reset(it)
  // The note, a reservation, the move, addresses and routes.
  expect(calls.length).toBeGreaterThan(15)
  const reached = new Set<string>()
  const unmet: string[] = []
  for (const call of calls) {
    const where = `${call.name} ${call.count} ${call.text}`
    const killed = await it.tampered(call, 'signal=SIGKILL')
    if (killed.status === 0) unmet.push(where)
    else expect(killed.signal, where).toBe('SIGKILL')
    for (const line of await stateOf(it)) if (!fresh.includes(line)) reached.add(line.replace(/^\d+: /, ''))
    const del = await it.run('DEL')
    expect({ where, status: del.status, error: del.error }).toEqual({ where, status: 0, error: null })
    expect(await stateOf(it), where).toEqual(fresh)
    const add = await it.run('ADD')
    expect({ where, status: add.status, error: add.error }).toEqual({ where, status: 0, error: null })
    const check = await it.run('CHECK', { prevResult: add.result })
    expect({ where, error: check.error }).toEqual({ where, error: null })
    expect((await it.run('DEL')).status, where).toBe(0)
    expect(await stateOf(it), where).toEqual(fresh)
    await reset(it)
  }
  expect(unmet.length, unmet.join('\n')).toBeLessThan(calls.length / 20)
  const all = [...reached].join('\n')
  for (const sign of [
    /eth0.*alias hd0/,
    /host-device\/[0-9a-f]{40}\.json/,
    /networks\/net\/10\./,
    /default via/,
  ])
    expect(all).toMatch(sign)
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

const names = [
  ...['sendto', 'recvmsg', 'socket', 'setsockopt', 'setns', 'clone3', 'flock'],
  ...['openat', 'read', 'pread64', 'write', 'pwrite64', 'mkdir', 'link', 'unlink', 'rename', 'getdents64'],
]

/** Calls that an ADD can do without; see refused-calls.test.ts. */
const dispensable = ({ name, text }: Call): boolean =>
  name === 'setns' ||
  (name === 'openat' && text.includes('/proc/thread-self/ns/net')) ||
  /networks\/\.linkwright\//.test(text) ||
  (name === 'openat' && /last_reserved_ip\.\d", O_RDONLY/.test(text)) ||
  (name === 'unlink' && /\.linkwright-new/.test(text))

test('an ADD with a call that fails is undone', { timeout: 300_000 }, async () => {
  const it = await withDevice()
  const fresh = await stateOf(it)
  const calls = await it.trace(names)
  await it.run('DEL')
  await reset(it)
  expect(calls.length).toBeGreaterThan(40)
  const unmet: string[] = []
  for (const call of calls) {
    const where = `${call.name} ${call.count} ${call.text}`
    const add = await it.tampered(call, 'error=ENOMEM')
    if (add.status === 0) {
      if (!it.met()) unmet.push(where)
      else expect(dispensable(call), `ADD succeeds without ${where}`).toBe(true)
    } else {
      expect({ where, status: add.status, error: add.error }).toEqual({
        where,
        status: 1,
        error: expect.objectContaining({
          code: expect.any(Number),
          msg: expect.stringMatching(/^(?!\w+: ENOMEM|ENOMEM).*(ENOMEM|not enough memory)/),
        }),
      })
      expect(await stateOf(it), where).toEqual(fresh)
    }
    expect((await it.run('DEL')).error, where).toBeNull()
    expect(await stateOf(it), where).toEqual(fresh)
    await reset(it)
  }
  expect(unmet.length, unmet.join('\n')).toBeLessThan(calls.length / 20)
})

test('a DEL with a call that fails can be done again', { timeout: 180_000 }, async () => {
  const it = await withDevice()
  const fresh = await stateOf(it)
  expect((await it.run('ADD')).error).toBeNull()
  const calls = await it.trace(names, 'DEL')
  for (const call of calls) {
    const where = `${call.name} ${call.count} ${call.text}`
    expect((await it.run('ADD')).error, where).toBeNull()
    await it.tampered(call, 'error=ENOMEM', 'DEL')
    expect((await it.run('DEL')).error, where).toBeNull()
    expect(await stateOf(it), where).toEqual(fresh)
    await reset(it)
  }
})
