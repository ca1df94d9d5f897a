/** The keeper as a process, killed: no lease that a container uses is lost, and none is left behind after DEL. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { dnsmasq } from '../../../support/dhcp/dnsmasq.ts'
import { kea4 } from '../../../support/dhcp/kea4.ts'
import { eventually } from '../../../support/wait.ts'
import { daemonNode } from './daemon.ts'
import { ipv4Of, kept } from './node.ts'
import { listen } from './wire.ts'

const ipOf = (address: string): string => address.split('/')[0]!

test('SIGKILL at every renewal: the container keeps its address, and its server the lease', {
  timeout: 60_000,
}, async () => {
  const { host, segment, daemon, run } = await daemonNode()
  const [server, ear, container] = await Promise.all([
    kea4(segment.space, { leaseTime: 12, renew: 1, rebind: 9, routers: ['10.77.0.1'] }),
    listen(segment),
    host.container(),
  ])
  await daemon.start()
  const { result } = await run('ADD', { container })
  const address = result!.ips![0]!.address
  for (let round = 0; round < 4; round++) {
    const from = ear.length
    await ear.next('REQUEST', { from })
    // Before, while and after the answer is dealt with.
    if (round % 2 === 1)
      await server.log.waitFor('DHCP4_LEASE_ALLOC', { from: server.log.length }).catch(() => {})
    await daemon.kill()
    expect(daemon.noted()).toHaveLength(1)
    await daemon.start()
    expect(await daemon.keeper.list()).toMatchObject([{ address }])
    expect(await ipv4Of(container)).toEqual([address])
  }
  const [{ expiresAt } = { expiresAt: 0 }] = await daemon.keeper.list()
  await kept(daemon.keeper, (lease) => lease.state === 'BOUND' && lease.expiresAt! > expiresAt!)
  expect(ear.of('DISCOVER')).toHaveLength(1)
  expect(ear.of('RELEASE')).toHaveLength(0)
  expect((await run('DEL', { container, prevResult: result })).status).toBe(0)
  await server.released(ipOf(address))
  expect(daemon.noted()).toEqual([])
})

test('SIGTERM gives nothing back, and the next keeper has all leases', async () => {
  const { host, segment, daemon, run } = await daemonNode()
  const [server, ear] = await Promise.all([dnsmasq(segment.space), listen(segment)])
  await daemon.start()
  const containers = await Promise.all(['one', 'two', 'three'].map((name) => host.container(name)))
  for (const [i, container] of containers.entries())
    expect((await run('ADD', { container, containerId: `cid-${i}` })).error).toBeNull()
  const before = await daemon.keeper.list()
  await daemon.stop()
  expect(ear.of('RELEASE')).toEqual([])
  expect(server.leases()).toHaveLength(3)
  await daemon.start()
  const after = await daemon.keeper.list()
  const key = ({ containerId, address, state }: (typeof after)[number]) =>
    `${containerId} ${address} ${state}`
  expect(after.map(key).sort()).toEqual(before.map(key).sort())
})

/** System calls that change anything outside of the process. */
const changing = [
  'sendto',
  'sendmsg',
  'write',
  'rename',
  'unlink',
  'fsync',
  'bind',
  'openat',
  'mkdir',
  'flock',
  'ioctl',
]
const TRACE = '/run/trace'

interface Traced {
  readonly name: string
  /** Its number among those of its name. */
  readonly count: number
  readonly text: string
}

/** What strace has seen of the main thread so far, without those that only wake threads or read. */
const tracedOf = (
  text: string,
): { readonly calls: Traced[]; readonly counts: ReadonlyMap<string, number> } => {
  const lines = text.split('\n')
  const main = /^\d+/.exec(lines[0] ?? '')?.[0]
  const counts = new Map<string, number>()
  const calls: Traced[] = []
  for (const line of lines) {
    const [, pid, name, rest] = /^(\d+) +(\w+)(\(.*)$/.exec(line) ?? []
    if (pid !== main || name === undefined || rest === undefined) continue
    const count = (counts.get(name) ?? 0) + 1
    counts.set(name, count)
    calls.push({ name, count, text: rest.slice(0, 80) })
  }
  return { calls, counts }
}
const matters = ({ name, text }: Traced): boolean =>
  name === 'openat' ? /O_CREAT/.test(text) : name !== 'write' || !text.includes('"\\1\\0\\0\\0\\0\\0\\0\\0"')

test('SIGKILL at every system call of an ADD that changes anything', { timeout: 240_000 }, async () => {
  const { host, segment, daemon, run } = await daemonNode()
  const [server, other] = await Promise.all([dnsmasq(segment.space), host.container('old')])
  // -D: the keeper is the test's own child, and strace ends with it.
  const strace = (how: readonly string[]) => ['strace', '-D', '-f', '-qq', '-o', TRACE, ...how]
  const trace = () => tracedOf(readFileSync(host.file(TRACE), 'utf8'))

  // A container that has its lease from before, and keeps it through all of this.
  await daemon.start()
  const old = await run('ADD', { container: other, containerId: 'old' })
  const oldAddress = old.result!.ips![0]!.address
  await daemon.kill()

  const container = await host.container()
  await daemon.start(strace(['-e', `trace=${changing.join(',')}`]))
  const { counts: before } = trace()
  const whole = await run('ADD', { container })
  expect(whole.error).toBeNull()
  const calls = trace().calls.filter((call) => call.count > (before.get(call.name) ?? 0) && matters(call))
  await run('DEL', { container, prevResult: whole.result })
  await daemon.stop()
  // The link is brought up, three messages or more, two notes with a draft, a rename and two fsyncs each, the answer.
  expect(calls.length).toBeGreaterThan(12)
  const names = new Set(calls.map(({ name }) => name))
  for (const name of ['rename', 'fsync']) expect(names).toContain(name)

  let met = 0
  for (const [round, call] of calls.entries()) {
    const where = `${call.name} ${call.count} ${call.text}`
    await daemon.start(
      strace(['-e', `trace=${call.name}`, '-e', `inject=${call.name}:signal=SIGKILL:when=${call.count}`]),
    )
    const added = await run('ADD', { container })
    // Killed at its last word it may still be dying when the plugin has heard it.
    const killed = await eventually('it is dead', () => daemon.pid === null, 500).catch(() => false)
    if (killed) met++
    else await daemon.kill()
    if (added.error) {
      // It went away; or before it had said what it is.
      expect([11, 50], where).toContain(added.error.code)
      expect(await ipv4Of(container), where).toBeNull()
    }
    const restart = round % 2 === 0
    if (restart) {
      await daemon.start()
      const all = await daemon.keeper.list()
      expect(
        all.filter(({ containerId }) => containerId === 'old'),
        where,
      ).toMatchObject([{ address: oldAddress }])
      if (added.result)
        expect(
          all.filter(({ containerId }) => containerId === 'cid-1'),
          where,
        ).toMatchObject([{ address: added.result.ips![0]!.address, state: 'BOUND' }])
    }
    const deleted = await run('DEL', { container, prevResult: added.result })
    expect(deleted, where).toMatchObject({ status: 0 })
    await eventually(
      `${where}: the server has no more than the old lease`,
      () => server.leases().length === 1,
    )
    expect(daemon.noted(), where).toHaveLength(1)
    await daemon.kill()
  }
  expect(met).toBeGreaterThan(calls.length * 0.7)
  expect(await ipv4Of(other)).toEqual([oldAddress])
})
