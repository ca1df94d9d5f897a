/** The daemon as an operator runs it: its options, its status, its metrics, its log and its end. */
import { closeSync, constants, existsSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { request } from 'node:http'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { DaemonStatus } from '../../../daemon/status.ts'
import { binding } from '../../../native/binding.ts'
import { ask, launch } from '../../support/daemon/client.ts'
import { temporaryFolder } from '../../support/dhcp/ending.ts'
import { must } from '../../support/program.ts'
import { type PrivateHost, privateHost } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'
import { closing } from '../../unit/native/support.ts'
import { call, linkwright, Resident, SOCKET } from './resident.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'

const scrape = (socketPath: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const asked = request({ socketPath, path: '/metrics' }, (response) => {
      let text = ''
      response.on('data', (chunk) => {
        text += chunk
      })
      response.on('end', () => resolve(text))
    })
    asked.on('error', reject)
    asked.end()
  })

const links = async (host: PrivateHost): Promise<string[]> =>
  (await host.ipJson<{ ifname: string }>('link')).map(({ ifname }) => ifname)

test('a life: ready, an ADD and a DEL, what it says of them, SIGTERM', async () => {
  const host = await privateHost()
  const container = await host.container()
  const daemon = new Resident(host)
  const metrics = '/run/linkwright/metrics.sock'
  await daemon.start([
    '--metrics',
    `unix:${metrics}`,
    '--pidfile',
    '/run/pid',
    '--dhcp-socket',
    '/run/d/dhcp.sock',
  ])
  expect(statSync(daemon.path).mode & 0o777).toBe(0o600)
  expect(statSync(host.file('/run/d/dhcp.sock')).isSocket()).toBe(true)
  expect(existsSync(host.file('/run/cni'))).toBe(false)
  expect(readFileSync(host.file('/run/pid'), 'utf8')).toBe(`${daemon.pid}`)

  const environment = {
    TRACEPARENT: `00-${TRACE}-00f067aa0ba902b7-01`,
    CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAME=hunter2',
  }
  const added = await launch(daemon.path, call(host, container, 'ADD', { environment }))
  expect(added).toMatchObject({ status: 0, stderr: '' })
  expect(await container.ping('10.77.0.1')).toBe(true)
  const deleted = await launch(daemon.path, call(host, container, 'DEL'))
  expect(deleted).toMatchObject({ status: 0, stdout: '' })
  const failed = await launch(
    daemon.path,
    call(host, container, 'ADD', { conf: { name: 'pods', type: 'ptp' } }),
  )
  expect(failed.status).toBe(1)

  const [add, del, bad] = await eventually('three lines', () =>
    daemon.operations().length === 3 ? daemon.operations() : undefined,
  )
  expect(add).toMatchObject({
    level: 'info',
    trace: TRACE,
    parent: '00f067aa0ba902b7',
    container: 'c1',
    network: 'pods',
    plugin: 'ptp',
    verb: 'ADD',
    code: 0,
  })
  const { work, queued } = add!.ms as Record<string, number>
  expect(work).toBeGreaterThan(0.1)
  expect(queued).toBeLessThan(1000)
  expect(del).toMatchObject({ verb: 'DEL', code: 0, trace: expect.stringMatching(/^[0-9a-f]{32}$/) })
  expect(del!.trace).not.toBe(TRACE)
  expect(bad).toMatchObject({ verb: 'ADD', level: 'error' })
  expect(daemon.log.lines.join('\n')).not.toMatch('hunter2')

  const json = JSON.parse((await daemon.ask('--json')).stdout) as DaemonStatus
  expect(json).toMatchObject({ pid: daemon.pid, running: 0, queued: 0, connections: 1, leases: 0 })
  expect(json.operations).toContainEqual({ plugin: 'ptp', verb: 'ADD', code: '0', count: 1 })
  expect(json.uptime).toBeGreaterThan(0)
  const { status, stdout } = await daemon.ask()
  expect(status).toBe(0)
  expect(stdout).toMatch(new RegExp(`^linkwright \\S+ \\(Node v\\S+\\), pid ${daemon.pid}, up `))
  expect(stdout).toMatch(/^ptp +DEL +0 +1$/m)

  const text = await scrape(host.file(metrics))
  expect(text).toMatch(/^linkwright_operations_total\{plugin="ptp",verb="ADD",code="0"\} 1$/m)
  expect(text).toMatch(/^linkwright_operation_duration_seconds_count\{plugin="ptp",verb="DEL"\} 1$/m)
  expect(text).toMatch(/^linkwright_operations_running 0$/m)
  expect(text).toMatch(/^linkwright_dhcp_leases 0$/m)
  expect(text).toMatch(/^process_resident_memory_bytes [1-9]\d{7,}$/m)

  await daemon.stop()
  expect(await daemon.ended()).toBe('exit 0')
  expect(daemon.log.lines.join('\n')).toMatch(/"stopping: SIGTERM"[\s\S]*"stopped"/)
  for (const path of [SOCKET, metrics, '/run/pid', '/run/d/dhcp.sock'])
    expect(existsSync(host.file(path))).toBe(false)
})

describe('the end', () => {
  test('is not held up by a log that nobody reads', async () => {
    const host = await privateHost()
    const daemon = new Resident(host)
    const pipe = temporaryFolder('log')
    await must('mkfifo', [`${pipe}/log`])
    const held = openSync(`${pipe}/log`, constants.O_RDWR | constants.O_NONBLOCK)
    onTestFinished(() => closeSync(held))
    await daemon.startUnread(`${pipe}/log`)
    await eventually('it listens', () => existsSync(daemon.path))
    try {
      for (;;) writeSync(held, Buffer.alloc(4096))
    } catch (error) {
      expect(error).toMatchObject({ code: 'EAGAIN' })
    }
    daemon.signal('SIGTERM')
    expect(await daemon.ended()).toBe('exit 0')
    expect(existsSync(daemon.path)).toBe(false)
  })

  test('may come before it is ready: while somebody is at work on the leases without a keeper', async () => {
    const host = await privateHost()
    const daemon = new Resident(host)
    await host.must('mkdir', ['-p', '-m', '0700', '/run/cni/dhcp.leases'])
    const lock = host.file('/run/cni/dhcp.leases/lock')
    const file = closing(binding().open(lock, 0o100, 0o600))
    expect(binding().tryFlock(file, 1)).toBe(true)
    await daemon.startUnready()
    await eventually('it waits', () =>
      new RegExp(`-> FLOCK +ADVISORY +WRITE ${daemon.pid} `).test(readFileSync('/proc/locks', 'utf8')),
    )
    daemon.signal('SIGTERM')
    expect(await daemon.ended()).toBe('exit 0')
    expect(daemon.log.lines.join('\n')).toMatch('"stopped: SIGTERM, before it was ready"')
    expect(existsSync(daemon.path)).toBe(false)
  })

  const begun = async () => {
    const host = await privateHost()
    const container = await host.container()
    const daemon = new Resident(host)
    await daemon.start(['--no-dhcp'])
    const client = await daemon.connect()
    await ask(client, call(host, container, 'ADD'))
    // Made, and the launcher has yet to say that it has printed it.
    expect((await client.answer()).acknowledge).toBe(true)
    return { host, daemon, client }
  }
  const stopping = (daemon: Resident) =>
    daemon.log.find('it is stopping', (line) => line.includes('"stopping: '))

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('%s: what runs may finish', async (signal) => {
    const { host, daemon, client } = await begun()
    daemon.signal(signal)
    await stopping(daemon)
    await eventually('nobody new finds it', () => !existsSync(daemon.path))
    expect((await daemon.ask()).status).toBe(1)
    await client.acknowledge()
    expect(await daemon.ended()).toBe('exit 0')
    expect(await links(host)).toHaveLength(2)
  })

  test('a second signal: what is not done is undone, and it ends', async () => {
    const host = await privateHost()
    const container = await host.container()
    // An IPAM plugin of somebody else's that hangs.
    const hanging = '#!/bin/sh\n[ "$CNI_COMMAND" = ADD ] || exit 0\ntouch /run/hangs\nexec sleep 1000\n'
    const script = 'mkdir /run/bin && printf %s "$1" >/run/bin/hanging && chmod 755 /run/bin/hanging'
    await host.must('sh', ['-ec', script, 'sh', hanging])
    const daemon = new Resident(host)
    await daemon.start(['--no-dhcp'])
    const client = await daemon.connect()
    const conf = { cniVersion: '1.1.0', name: 'pods', type: 'ptp', ipam: { type: 'hanging' } }
    await ask(client, call(host, container, 'ADD', { conf, environment: { CNI_PATH: '/run/bin' } }))
    await eventually('it hangs', () => existsSync(host.file('/run/hangs')))
    daemon.signal('SIGTERM')
    await stopping(daemon)
    const since = performance.now()
    daemon.signal('SIGTERM')
    const answer = await client.answer()
    expect(answer).toMatchObject({ status: 1, acknowledge: false })
    expect(JSON.parse(answer.stdout)).toMatchObject({ code: 11 })
    expect(await daemon.ended()).toBe('exit 0')
    expect(performance.now() - since).toBeLessThan(5000)
    expect(await links(host)).toEqual(['lo'])
  })
})

describe('options', () => {
  let host: PrivateHost
  beforeAll(async () => {
    host = await privateHost()
  })

  test('--concurrency and --queue: one at a time, none waits', async () => {
    const own = await privateHost()
    const [first, second] = [await own.container('a'), await own.container('b')]
    const daemon = new Resident(own)
    await daemon.start(['--no-dhcp', '--concurrency', '1', '--queue', '0'])
    expect(existsSync(own.file('/run/cni'))).toBe(false)
    const client = await daemon.connect()
    await ask(client, call(own, first, 'ADD'))
    await client.answer()
    const refused = await launch(daemon.path, call(own, second, 'ADD', { containerId: 'c2' }))
    expect(refused.status).toBe(1)
    expect(JSON.parse(refused.stdout)).toMatchObject({
      code: 11,
      msg: 'too many operations: 1 run and 0 wait',
    })
    expect((await daemon.ask()).stdout).toMatch(
      /operations +1 running, 0 waiting, 2 connections\nleases +not kept here/,
    )
    await client.acknowledge()
    await client.closed()
    const after = await launch(daemon.path, call(own, second, 'ADD', { containerId: 'c2' }))
    expect(after.status).toBe(0)
  })

  test('LINKWRIGHT_SOCKET and --socket say where; a second daemon is refused, and leaves the first alone', async () => {
    const daemon = new Resident(host)
    const elsewhere = '/run/else/where.sock'
    await daemon.start(['--no-dhcp'], { LINKWRIGHT_SOCKET: elsewhere })
    expect((await daemon.ask('--socket', elsewhere)).status).toBe(0)
    const refused = await host.run(linkwright, ['daemon', '--no-dhcp', '--socket', elsewhere])
    expect(refused.status).toBe(1)
    expect(refused.stderr).toMatch(
      /linkwright daemon: listen unix .*address already in use; another process serves it/,
    )
    expect((await daemon.ask('--socket', elsewhere)).status).toBe(0)
    await daemon.stop()
  })

  test('what can not be set up ends it before anybody finds it: metrics, pid file', async () => {
    for (const [args, why] of [
      [['--metrics', '192.0.2.1:9123'], 'metrics: listen 192.0.2.1:9123: .*EADDRNOTAVAIL'],
      [['--pidfile', '/run/no/such/pid'], 'ENOENT'],
    ] as const) {
      const refused = await host.run(linkwright, ['daemon', '--no-dhcp', ...args])
      expect(refused).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(`linkwright daemon: .*${why}`),
      })
      expect(existsSync(host.file(SOCKET))).toBe(false)
    }
  })

  test('--help, and --status where there is none', async () => {
    expect(await host.must(linkwright, ['--help'])).toMatch(/^ +daemon +run the resident daemon/m)
    const { status, stderr } = await host.run(linkwright, ['daemon', '--status'])
    expect(status).toBe(1)
    expect(stderr).toBe(
      `linkwright daemon: no answer from the daemon at ${SOCKET}: there is no such socket\n`,
    )
  })
})
