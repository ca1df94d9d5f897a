/** tuning, killed or refused at its calls: DEL gives back what was, and an ADD that fails has done so itself. */
import { describe, expect, test } from 'vitest'
import { errorOf } from '../plugins/node.ts'
import { everything, tuned } from '../plugins/tuning.ts'
import { type Call, type Patient, patient } from './executed.ts'
import { changes } from './sweep.ts'
import { type Fault, FaultyTransport } from './transport.ts'

const conf = { ...everything, sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1', 'net.ipv4.ip_forward': '1' } }

const onLink = async (): Promise<Patient> => {
  const it = await patient({ conf: { type: 'tuning', prevResult: { cniVersion: '1.0.0' }, ...conf } })
  const { container } = it
  await container.must('sh', ['-c', 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'])
  await container.ip(
    'link',
    'add',
    'eth0',
    'address',
    '02:00:00:00:00:02',
    'type',
    'veth',
    'peer',
    'name',
    'eth1',
  )
  await container.ip('link', 'set', 'eth0', 'up')
  return it
}

/** Without sockets and threads: only what these calls do can be found half done. */
const effects = ['sendto', 'pwrite64', 'write', 'mkdir', 'rename', 'unlink', 'openat']

const stateOf = async (it: Patient): Promise<string[]> => [
  ...(await it.state()),
  `arp_filter ${await it.container.sysctl('net/ipv4/conf/eth0/arp_filter')}`,
  `ip_forward ${await it.container.sysctl('net/ipv4/ip_forward')}`,
]

const succeeds = async (it: Patient, command: string, where: string): Promise<void> => {
  const { status, error } = await it.run(command)
  expect({ where, status, error }).toEqual({ where, status: 0, error: null })
}

const signs = [
  ...[/02:11:22:33:44:55/, /mtu 1400/, /PROMISC/, /qlen 77/, /arp_filter 1/, /ip_forward 1/],
  ...[/cid-1_eth0\.json /, /cid-1_eth0\.json\.new /],
]

test('an ADD that is killed anywhere: DEL gives back all there was', { timeout: 120_000 }, async () => {
  const it = await onLink()
  const fresh = await stateOf(it)
  const calls = (await it.trace(effects)).filter(changes)
  await succeeds(it, 'DEL', 'at first')
  expect(calls.length).toBeGreaterThan(7)
  const reached = new Set<string>()
  for (const call of calls) {
    const where = `${call.name} ${call.count} ${call.text}`
    // The folder included: each run has the same calls then.
    await it.host.must('rm', ['-rf', '/run/cni'])
    expect((await it.tampered(call, 'signal=SIGKILL')).signal, where).toBe('SIGKILL')
    for (const line of await stateOf(it)) if (!fresh.includes(line)) reached.add(line)
    await succeeds(it, 'DEL', where)
    expect(await stateOf(it), where).toEqual(fresh)
  }
  for (const sign of signs) expect([...reached].join('\n')).toMatch(sign)
  for (const command of ['ADD', 'CHECK', 'DEL']) await succeeds(it, command, 'at last')
  expect(await stateOf(it)).toEqual(fresh)
})

test('a DEL that is killed anywhere can be done again', { timeout: 60_000 }, async () => {
  const it = await onLink()
  const fresh = await stateOf(it)
  await succeeds(it, 'ADD', 'at first')
  const calls = (await it.trace(effects, 'DEL')).filter(changes)
  expect(calls.length).toBeGreaterThan(3)
  for (const call of calls) {
    const where = `${call.name} ${call.count} ${call.text}`
    await succeeds(it, 'ADD', where)
    expect((await it.tampered(call, 'signal=SIGKILL', 'DEL')).signal, where).toBe('SIGKILL')
    await succeeds(it, 'DEL', where)
    expect(await stateOf(it), where).toEqual(fresh)
  }
})

test('an ADD that can not keep what was changes nothing', { timeout: 60_000 }, async () => {
  const it = await onLink()
  await it.host.must('mkdir', ['-p', '/run/cni/tuning'])
  const fresh = await stateOf(it)
  const ofFile = ({ name, text }: Call): boolean =>
    text.includes('_eth0.json') || (name === 'write' && text.includes('\\"mac'))
  const calls = (await it.trace(['openat', 'write', 'rename'])).filter(ofFile)
  await succeeds(it, 'DEL', 'at first')
  expect(calls.length).toBeGreaterThan(3)
  for (const call of calls) {
    const where = `${call.name} ${call.count} ${call.text}`
    const { status, error } = await it.tampered(call, 'error=ENOSPC')
    expect({ where, status, error }).toMatchObject({ where, status: 1, error: { code: 5 } })
    expect(error?.msg, where).toContain('no space left on device')
    expect(await stateOf(it), where).toEqual(fresh)
  }
})

describe('an exchange of an ADD', () => {
  test.each<Fault>(['unsent', 'unanswered', 'refused'])('%s', async (fault) => {
    const it = await tuned()
    const look = async () => [await it.link(), await it.sysctl('net/ipv4/conf/eth0/arp_filter'), it.kept()]
    const before = await look()
    let number = 1
    for (; ; number++) {
      const faulty = new FaultyTransport(fault, number)
      faulty.install()
      const adding = it.add(everything)
      if (
        !(await adding.then(
          () => faulty.struck,
          () => true,
        ))
      )
        break
      const error = await errorOf(adding)
      faulty.uninstall()
      expect(error.message, `${fault} ${number}`).toContain('ENOMEM')
      expect(error.message, `${fault} ${number}`).not.toContain('could not be undone')
      expect(await look(), `${fault} ${number}`).toEqual(before)
    }
    expect(number).toBeGreaterThan(fault === 'refused' ? 6 : 2)
  })

  test.each<Fault>(['unsent', 'unanswered', 'refused'])(
    'of a DEL %s: it can be done again',
    async (fault) => {
      const it = await tuned()
      const before = await it.link()
      for (let number = 1; ; number++) {
        await it.add(everything)
        const faulty = new FaultyTransport(fault, number)
        faulty.install()
        const deleting = it.del()
        const failed = await deleting.then(
          () => false,
          () => true,
        )
        faulty.uninstall()
        expect(failed).toBe(faulty.struck)
        if (!failed) break
        expect((await errorOf(deleting)).msg).toMatch(/^give back .*ENOMEM/)
        expect(it.kept()).toEqual(['cid-1_eth0.json'])
        await it.del()
        expect(await it.link()).toEqual(before)
      }
      expect(await it.link()).toEqual(before)
    },
  )
})
