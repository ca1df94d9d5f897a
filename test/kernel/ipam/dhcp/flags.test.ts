/** `dhcp daemon` and `dhcp leases` as an operator runs them. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { expect, test } from 'vitest'
import { RemoteKeeper } from '../../../../ipam/dhcp/rpc/remote.ts'
import { dnsmasq } from '../../../support/dhcp/dnsmasq.ts'
import { Server } from '../../../support/dhcp/server.ts'
import { binDirs } from '../../../support/plugin.ts'
import { type PrivateHost, privateHost } from '../../../support/space.ts'
import { eventually } from '../../../support/wait.ts'
import { daemonNode, SOCKET } from './daemon.ts'
import { listen } from './wire.ts'

const DHCP = `${binDirs.ours}/dhcp`

/** The daemon with flags of the test's choice. */
class Flagged extends Server {
  constructor(host: PrivateHost) {
    super(host, 'dhcp-daemon')
  }
  run(args: readonly string[]): Promise<void> {
    return this.launch({ file: DHCP, args: ['daemon', ...args], ready: /DHCP: ready/ })
  }
}

/** What systemd does for a socket unit. */
class Activator extends Server {
  constructor(host: PrivateHost) {
    super(host, 'systemd-socket-activate')
  }
  run(): Promise<void> {
    const args = ['-l', SOCKET, DHCP, 'daemon']
    return this.launch({ file: 'systemd-socket-activate', args, ready: /Listening on/ })
  }
}

test('-pidfile and -hostprefix: everything is below the prefix, and the pid file goes with the daemon', async () => {
  const host = await privateHost()
  await host.must('mkdir', ['/run/host'])
  const daemon = new Flagged(host)
  await daemon.run(['-pidfile', '/run/dhcp.pid', '--hostprefix=/run/host', '-socketpath', SOCKET])
  const socket = host.file(`/run/host${SOCKET}`)
  expect(statSync(socket).isSocket()).toBe(true)
  expect(statSync(socket).mode & 0o777).toBe(0o660)
  const { pid } = await new RemoteKeeper(socket).status()
  expect(readFileSync(host.file('/run/dhcp.pid'), 'utf8')).toBe(String(pid))
  expect(existsSync(host.file(SOCKET))).toBe(false)
  await daemon.stop()
  expect(existsSync(host.file('/run/dhcp.pid'))).toBe(false)
  expect(existsSync(socket)).toBe(false)
})

test('-hostprefix is put before the path of a namespace, -timeout and -resendtimeout are kept', async () => {
  const { host, segment, run } = await daemonNode()
  const [ear, container] = await Promise.all([listen(segment), host.container()])
  // The host's root, seen from the daemon below /run/host, as a container of a DaemonSet sees it.
  await host.must('sh', ['-ec', 'mkdir -p /run/host/run && mount --rbind /run /run/host/run'])
  const daemon = new Flagged(host)
  const flags = ['-timeout', '200ms', '-resendmax', '400ms', '-resendtimeout', '2s']
  await daemon.run(['-hostprefix', '/run/host', ...flags])
  const { error } = await run('ADD', { container, ipam: { daemonSocketPath: SOCKET } })
  expect(error).toMatchObject({ code: 11, msg: 'error calling DHCP.Allocate: no more tries' })
  expect(error?.details).toMatch('within 2 s')
  // 0, 200, 600, 1000, 1400 and 1800 ms, each a quarter more or less; with 4 s there would be one.
  expect(ear.of('DISCOVER').length).toBeGreaterThanOrEqual(4)
  const server = await dnsmasq(segment.space)
  const { result } = await run('ADD', { container })
  expect(result?.ips).toHaveLength(1)
  expect((await run('DEL', { container, prevResult: result })).status).toBe(0)
  await eventually('the lease is given back', () => server.leases().length === 0, 5000)
  await daemon.stop()
  await host.must('umount', ['-l', '/run/host/run'])
})

test('systemd hands the socket over, and callers wait while nobody runs', async () => {
  const { host, segment, run } = await daemonNode()
  const [, container] = await Promise.all([dnsmasq(segment.space), host.container()])
  await host.must('mkdir', ['-p', '/run/cni'])
  const activator = new Activator(host)
  await activator.run()
  const { result } = await run('ADD', { container })
  expect(result?.ips).toHaveLength(1)
  expect((await run('DEL', { container, prevResult: result })).status).toBe(0)
  await activator.stop()
  // It was inherited, and is not the daemon's to remove.
  expect(statSync(host.file(SOCKET)).isSocket()).toBe(true)
})

test('a second daemon is refused, a stale socket is not', async () => {
  const host = await privateHost()
  const [first, second] = [new Flagged(host), new Flagged(host)]
  await first.run([])
  const refused = await host.run(DHCP, ['daemon'])
  expect(refused).toMatchObject({ status: 1 })
  expect(refused.stderr).toMatch('another DHCP daemon keeps the leases in /run/cni/dhcp.leases')
  await first.kill()
  expect(statSync(host.file(SOCKET)).isSocket()).toBe(true)
  await second.run([])
  expect((await new RemoteKeeper(host.file(SOCKET)).status()).leases).toBe(0)
})

test.each([
  [['-nope'], 2, 'flag provided but not defined: -nope'],
  [['-pidfile', 'relative'], 2, 'is no absolute path'],
  [['-timeout', '0'], 2, 'must be longer than nothing'],
  [['-pidfile', '/run/no/such/folder/pid'], 1, 'ENOENT'],
])('wrong flags: %j', async (args, status, message) => {
  const host = await privateHost()
  const refused = await host.run(DHCP, ['daemon', ...args])
  expect(refused.status).toBe(status)
  expect(refused.stderr).toMatch(message)
  expect(existsSync(host.file(SOCKET))).toBe(false)
})

test('dhcp leases: a table for people, JSON for programs, 1 where no keeper runs', async () => {
  const { host, segment, daemon, run } = await daemonNode()
  const nobody = await host.run(DHCP, ['leases'])
  expect(nobody.status).toBe(1)
  expect(nobody.stderr).toMatch('there is no such socket')
  const [, container] = await Promise.all([dnsmasq(segment.space), host.container()])
  await daemon.start()
  const { result } = await run('ADD', { container })
  const address = result!.ips![0]!.address
  const table = await host.must(DHCP, ['leases'])
  expect(table.split('\n')[1]).toMatch(
    new RegExp(`^net +cid-1 +eth0 +${address} +BOUND +10\\.77\\.0\\.1 +\\d+s +\\d+s$`),
  )
  expect(table).toMatch(/keeper .*, pid \d+: bound 1\n$/)
  const json = JSON.parse(await host.must(DHCP, ['leases', '-json', '-socketpath', SOCKET]))
  expect(json).toMatchObject({ counters: { bound: 1 }, leases: [{ containerId: 'cid-1', address }] })
})
