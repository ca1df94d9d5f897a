/** Under a service manager: sockets that are handed over, what it is told, and the units. */
import { existsSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { notifyAddress } from '../../../daemon/systemd.ts'
import { RemoteKeeper } from '../../../ipam/dhcp/rpc/remote.ts'
import { binding } from '../../../native/binding.ts'
import { Netns } from '../../../netlink/netns.ts'
import { launch } from '../../support/daemon/client.ts'
import { temporaryFolder } from '../../support/dhcp/ending.ts'
import { must, run } from '../../support/program.ts'
import { type PrivateHost, privateHost } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'
import { call, linkwright, Resident, SOCKET } from './resident.ts'

const DHCP = '/run/cni/dhcp.sock'

/** The service manager's end of NOTIFY_SOCKET, a file of the host. */
const manager = (host: PrivateHost, path: string) => {
  const socket = Netns.current().open({ domain: 1, type: 2, protocol: 0 })
  onTestFinished(() => socket.close())
  binding().bind(socket, notifyAddress(host.file(path))!)
  const heard: string[] = []
  return () => {
    for (let one = binding().receive(socket, 4096); one; one = binding().receive(socket, 4096))
      heard.push(Buffer.from(one.data).toString())
    return heard
  }
}

test('both sockets are handed over; READY, WATCHDOG and STOPPING are told', async () => {
  const host = await privateHost()
  const container = await host.container()
  await host.must('mkdir', ['-p', '/run/linkwright', '/run/cni'])
  const heard = manager(host, '/run/notify')
  const daemon = new Resident(host)
  await daemon.listen('dhcp:linkwright', [DHCP, SOCKET], {
    NOTIFY_SOCKET: '/run/notify',
    WATCHDOG_USEC: '100000',
  })
  // The first caller waits until it has come up.
  expect(await launch(daemon.path, call(host, container, 'ADD'))).toMatchObject({ status: 0 })
  expect((await new RemoteKeeper(host.file(DHCP)).status()).pid).toBe(daemon.pid)
  expect(JSON.parse((await daemon.ask('--json')).stdout)).toMatchObject({ pid: daemon.pid, leases: 0 })
  await eventually(
    'it is ready, and lives',
    () => heard().filter((text) => text === 'WATCHDOG=1\n').length > 2,
  )
  expect(heard()[0]).toBe('READY=1\nSTATUS=ready\n')
  await daemon.stop()
  expect(await daemon.ended()).toBe('exit 0')
  expect(heard()).toContain('STOPPING=1\nSTATUS=what runs may finish\n')
  // They were inherited, and are not the daemon's to remove.
  for (const path of [DHCP, SOCKET]) expect(statSync(host.file(path)).isSocket()).toBe(true)
})

test.each([
  ['linkwright:what', [], 'a socket named "what"'],
  ['linkwright:dhcp', ['--no-dhcp'], 'a socket for dhcp was handed over'],
])('%s with %j is refused', async (names, args, why) => {
  const host = await privateHost()
  const daemon = new Resident(host)
  await host.must('mkdir', ['-p', '/run/linkwright'])
  await daemon.listen(names, [SOCKET, '/run/other.sock'], {}, args)
  await expect(daemon.connect()).rejects.toThrow()
  expect(await daemon.ended()).toBe('exit 1')
  expect(daemon.log.lines.join('\n')).toMatch(`linkwright daemon: socket activation with`.slice(0, 18))
  expect(daemon.log.lines.join('\n')).toMatch(why)
})

test('its log goes on without a reader, and so does its work', async () => {
  const host = await privateHost()
  const container = await host.container()
  // The reader ends after the first line.
  const script = '"$0" daemon --no-dhcp 2>&1 >/dev/null | head -n1 & wait'
  const finished = host.run(
    'setpriv',
    ['--pdeathsig', 'KILL', 'sh', '-c', `${script}; sleep 60`, linkwright],
    {
      timeout: 60_000,
      started: (pid) => onTestFinished(() => void stop(pid)),
    },
  )
  const stop = (pid: number): void => {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // Gone.
    }
  }
  finished.catch(() => {})
  const path = host.file(SOCKET)
  await eventually('it listens', () => existsSync(path))
  for (const verb of ['ADD', 'DEL', 'DEL']) {
    const answer = await launch(path, call(host, container, verb))
    expect(answer.status).toBe(0)
  }
  const { pid } = JSON.parse((await host.run(linkwright, ['daemon', '--status', '--json'])).stdout)
  process.kill(pid, 'SIGTERM')
  await eventually('it has ended', () => !existsSync(`/proc/${pid}`))
  expect(existsSync(path)).toBe(false)
})

const units = ['service', 'socket'].map((kind) =>
  fileURLToPath(new URL(`../../../deploy/systemd/linkwright.${kind}`, import.meta.url)),
)

test('systemd takes the units, and finds the service well protected', async () => {
  // The executable that the service names need not be installed here.
  const folder = temporaryFolder('units')
  const name = (path: string): string => `${folder}/${path.slice(path.lastIndexOf('/') + 1)}`
  for (const unit of units)
    await must('sh', [
      '-ec',
      'sed "s|/opt/linkwright/bin/linkwright|$1|" "$2" >"$3"',
      'sh',
      linkwright,
      unit,
      name(unit),
    ])
  const verified = await run('systemd-analyze', ['verify', '--man=no', ...units.map(name)])
  expect(verified).toMatchObject({ status: 0, stderr: '' })
  const rated = await run('systemd-analyze', [
    'security',
    '--offline=true',
    '--threshold=50',
    name(units[0]!),
  ])
  expect(rated.status).toBe(0)
})
