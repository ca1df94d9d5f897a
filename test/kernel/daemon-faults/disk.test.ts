/** Full disks: where reservations are, where plugins keep what was before them, where the log goes, where the socket is. */
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { type PrivateHost, privateHost } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'
import { linkwright, Resident, SOCKET } from '../daemon-command/resident.ts'
import { conf, Patient } from '../faults/executed.ts'
import { ServedHost } from './served.ts'

/** A small file system of its own at a path of the host. */
const mount = async (host: PrivateHost, path: string, options = 'size=64k') => {
  await host.must('mkdir', ['-p', path])
  await host.must('mount', ['-t', 'tmpfs', '-o', `mode=755,${options}`, 'tmpfs', path])
  const filler = `${path}/filler`
  return {
    /** Until nothing more goes there. */
    async fill(): Promise<void> {
      await host.run('dd', ['if=/dev/zero', `of=${filler}`, 'bs=1k'])
      expect((await host.run('sh', ['-c', `echo x >>${filler}`])).status).not.toBe(0)
    },
    empty: () => host.must('rm', [filler]),
  }
}

const full = /no space left on device$/

test('where reservations are: ADD is refused and undone, CHECK and DEL work', async () => {
  const host = await privateHost()
  const [first, second] = [await host.container('first'), await host.container('second')]
  const alone = new Patient(host, second)
  const it = new ServedHost(host, second, conf)
  const disk = await mount(host, '/var/lib/cni')
  await it.start()
  const { pid } = it
  const one = { container: first, containerId: 'one' }
  const { result: prevResult } = await it.byDaemon('ADD', {}, one)
  await disk.fill()
  const before = await alone.state()
  const refused = await it.byDaemon('ADD')
  expect(refused).toMatchObject({
    status: 1,
    error: { code: 5, msg: expect.stringMatching(full) },
  })
  expect(await alone.state()).toEqual(before)
  expect(await it.byDaemon('CHECK', { prevResult }, one)).toMatchObject({ status: 0 })
  // What a runtime does after an ADD that failed, and the one whose time has come.
  for (const which of [{}, one])
    expect(await it.byDaemon('DEL', {}, which)).toMatchObject({ status: 0, stdout: '' })
  expect((await alone.stateBesideBridge()).filter((line) => /veth|eth0|10\.22\./.test(line))).toEqual([])
  await disk.empty()
  expect(await it.byDaemon('ADD')).toMatchObject({ status: 0 })
  expect(it.pid).toBe(pid)
})

test('where tuning keeps what was before it: nothing is tuned, and DEL works', async () => {
  const host = await privateHost()
  const container = await host.container()
  const alone = new Patient(host, container)
  await new Resident(host).start(['--no-dhcp'])
  const it = new ServedHost(host, container, conf)
  const { result: prevResult } = await it.byDaemon('ADD')
  const disk = await mount(host, '/run/cni', 'size=16k')
  await disk.fill()
  const before = await alone.state()
  const tuning = { type: 'tuning', mtu: 1300, sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1' }, prevResult }
  const call = (verb: string) => it.byDaemon(verb, { ...tuning, ipam: {} }, { type: 'tuning' })
  expect(await call('ADD')).toMatchObject({
    status: 1,
    error: { code: 5, msg: expect.stringMatching(full) },
  })
  expect(await alone.state()).toEqual(before)
  expect(await call('DEL')).toMatchObject({ status: 0, stdout: '' })
  expect(await alone.state()).toEqual(before)
  await disk.empty()
  expect(await call('ADD')).toMatchObject({ status: 0 })
  expect(await container.must('ip', ['link', 'show', 'eth0'])).toContain('mtu 1300')
  await disk.fill()
  expect(await call('DEL')).toMatchObject({ status: 0 })
  expect(await container.must('ip', ['link', 'show', 'eth0'])).toContain('mtu 1500')
})

const LOG = '/run/log/daemon'

/** Its log goes to a file. */
class Written extends Resident {
  override async start(): Promise<void> {
    const script = 'exec 2>>"$0"; echo started; exec "$@"'
    const args = ['-c', script, LOG, linkwright, 'daemon', '--no-dhcp']
    await this.launch({ file: 'sh', args, ready: /started/ })
    await eventually('it serves', () => existsSync(this.path))
  }
}

test('where the log goes: the work goes on, and the log too when there is room', async () => {
  const host = await privateHost()
  const it = new ServedHost(host, await host.container(), conf, new Written(host))
  const disk = await mount(host, '/run/log')
  await it.start()
  const { pid } = it
  /** Each ADD's line; what has no end yet is none. */
  const logged = () =>
    readFileSync(host.file(LOG), 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { message: string; verb?: string })
      .filter(({ message, verb }) => message === 'operation' && verb === 'ADD')
  for (const verb of ['ADD', 'DEL']) expect(await it.byDaemon(verb)).toMatchObject({ status: 0 })
  await eventually('it is logged', () => logged().length === 1)
  await disk.fill()
  // The last page of the log has room for some lines yet.
  for (let round = 0; round < 20; round++)
    for (const verb of ['ADD', 'CHECK', 'DEL'])
      expect(await it.byDaemon(verb), `${round} ${verb}`).toMatchObject({
        status: verb === 'CHECK' ? 1 : 0,
      })
  expect(logged().length).toBeLessThan(21)
  await disk.empty()
  await eventually('all of it is there', () => logged().length === 21)
  expect(await it.byDaemon('ADD')).toMatchObject({ status: 0 })
  await eventually('the log goes on', () => logged().length === 22)
  expect(it.pid).toBe(pid)
})

describe('where the daemon begins', () => {
  test.each([
    ['the socket', '/run/linkwright', []],
    ['the pid file', '/run/pids', ['--pidfile', '/run/pids/pid']],
  ])('%s: it says so, and is not there', async (_, path, args) => {
    const host = await privateHost()
    // The root is one.
    await mount(host, path, 'nr_inodes=1')
    const { status, stderr } = await host.run(linkwright, ['daemon', '--no-dhcp', ...args])
    expect(status).toBe(1)
    expect(stderr).toMatch(/linkwright daemon: .*(no space left on device|ENOSPC)/)
    expect(existsSync(host.file(SOCKET))).toBe(false)
  })
})
