import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import {
  ActivationError,
  inheritedSockets,
  Notifier,
  notifyAddress,
  watchdogTime,
} from '../../../daemon/systemd.ts'
import { binding } from '../../../native/binding.ts'
import { Netns } from '../../../netlink/netns.ts'
import { eventually } from '../../support/wait.ts'

const PID = 4711
const folder = mkdtempSync(join(tmpdir(), 'linkwright-notify-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What a service manager hears: a unix datagram socket. */
const manager = (name: string) => {
  const socket = Netns.current().open({ domain: 1, type: 2, protocol: 0 })
  onTestFinished(() => socket.close())
  binding().bind(socket, notifyAddress(name)!)
  return {
    name,
    socket,
    hear: () => {
      const received = binding().receive(socket, 4096)
      return received && Buffer.from(received.data).toString()
    },
  }
}

const notifier = (environment: Record<string, string>, warnings: string[] = []) => {
  const nothing = (): void => {}
  const log = {
    debug: nothing,
    info: nothing,
    warn: (text: string) => void warnings.push(text),
    error: nothing,
  }
  const one = new Notifier({ environment, pid: PID, log })
  onTestFinished(() => one.close())
  return one
}

describe('sockets that are handed over', () => {
  const of = (names: string | undefined, count: number | string, pid = `${PID}`) =>
    Object.fromEntries(
      inheritedSockets({ LISTEN_PID: pid, LISTEN_FDS: `${count}`, LISTEN_FDNAMES: names }, PID),
    )

  test.each([
    ['linkwright', 1, { linkwright: 3 }],
    ['dhcp', 1, { dhcp: 3 }],
    [undefined, 1, { linkwright: 3 }],
    ['unknown', 1, { linkwright: 3 }],
    ['connection', 1, { linkwright: 3 }],
    ['linkwright:dhcp', 2, { linkwright: 3, dhcp: 4 }],
    ['dhcp:linkwright', 2, { dhcp: 3, linkwright: 4 }],
    ['linkwright-dhcp.socket:linkwright.socket', 2, { dhcp: 3, linkwright: 4 }],
    ['linkwright', 0, {}],
  ])('%s, %i', (names, count, sockets) => {
    expect(of(names, count)).toEqual(sockets)
  })

  test('those of another process, or none', () => {
    expect(of('linkwright', 1, '4712')).toEqual({})
    expect(of('linkwright', 1, '04711')).toEqual({})
    expect(inheritedSockets({}, PID).size).toBe(0)
    expect(inheritedSockets({ LISTEN_PID: `${PID}` }, PID).size).toBe(0)
  })

  test.each([
    ['linkwright:what', 2, 'a socket named "what"'],
    [undefined, 2, 'a socket named "unknown"'],
    ['linkwright', 2, 'a socket named "unknown"'],
    ['toString:linkwright', 2, 'a socket named "toString"'],
    ['linkwright:linkwright', 2, 'two sockets for linkwright'],
    ['linkwright', 17, 'no number of sockets'],
    ['linkwright', 'x', 'no number of sockets'],
    ['linkwright', '-1', 'no number of sockets'],
  ])('%s, %s: refused', (names, count, why) => {
    expect(() => of(names, count)).toThrow(ActivationError)
    expect(() => of(names, count)).toThrow(why)
  })
})

describe('the watchdog', () => {
  test.each([
    [{ WATCHDOG_USEC: '30000000' }, 30_000],
    [{ WATCHDOG_USEC: '30000000', WATCHDOG_PID: `${PID}` }, 30_000],
    [{ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '1' }, null],
    [{ WATCHDOG_USEC: '0' }, null],
    [{ WATCHDOG_USEC: '-5' }, null],
    [{ WATCHDOG_USEC: '30s' }, null],
    [{}, null],
  ])('%j: %s ms', (environment, time) => {
    expect(watchdogTime(environment, PID)).toBe(time)
  })
})

describe('where the service manager listens', () => {
  test('a path ends with a zero, an abstract name begins with one and has none', () => {
    expect(Buffer.from(notifyAddress('/run/n')!).subarray(2).toString()).toBe('/run/n\0')
    expect(Buffer.from(notifyAddress('@a/b')!).subarray(2).toString()).toBe('\0a/b')
    expect(notifyAddress(`/${'x'.repeat(106)}`)).toHaveLength(110)
    expect(notifyAddress(`@${'x'.repeat(107)}`)).toHaveLength(110)
  })

  test.each(['', '/', '@', 'relative', 'vsock:2:1', '/a\0b', `/${'x'.repeat(107)}`, `@${'x'.repeat(108)}`])(
    '%j is nowhere',
    (name) => {
      expect(notifyAddress(name)).toBeNull()
    },
  )
})

describe('what it is told', () => {
  test.each(['path', 'abstract'])('READY, STATUS, STOPPING by %s', async (kind) => {
    const name = kind === 'path' ? join(folder, 'notify') : `@linkwright-test-${process.pid}`
    const { hear } = manager(name)
    const one = notifier({ NOTIFY_SOCKET: name })
    expect(one.enabled).toBe(true)
    await one.ready('ready')
    expect(hear()).toBe('READY=1\nSTATUS=ready\n')
    await one.status('a\nREADY=0\r\nb')
    expect(hear()).toBe('STATUS=a READY=0 b\n')
    await one.stopping('soon')
    expect(hear()).toBe('STOPPING=1\nSTATUS=soon\n')
    one.close()
    one.close()
    await one.status('late')
    expect(hear()).toBeNull()
  })

  test.each([
    [`${PID}`, ''],
    ['12', `MAINPID=${PID}\n`],
  ])('MAINPID where another process was started: SYSTEMD_EXEC_PID=%s', async (started, line) => {
    const { name, hear } = manager(join(folder, `main${started}`))
    await notifier({ NOTIFY_SOCKET: name, SYSTEMD_EXEC_PID: started }).ready('ready')
    expect(hear()).toBe(`READY=1\nSTATUS=ready\n${line}`)
  })

  test('WATCHDOG=1 at half of the time, from READY on until it is closed', async () => {
    const { name, hear } = manager(join(folder, 'dog'))
    const one = notifier({ NOTIFY_SOCKET: name, WATCHDOG_USEC: '100000', WATCHDOG_PID: `${PID}` })
    await one.ready('ready')
    await one.ready('ready again')
    expect([hear(), hear(), hear()]).toEqual([
      'READY=1\nSTATUS=ready\n',
      'READY=1\nSTATUS=ready again\n',
      null,
    ])
    const beats: number[] = []
    await eventually('four beats', () => {
      if (hear() === 'WATCHDOG=1\n') beats.push(performance.now())
      return beats.length === 4
    })
    expect(beats[3]! - beats[0]!).toBeGreaterThan(100)
    one.close()
    while (hear() !== null);
    const end = performance.now() + 120
    await eventually('the time of two beats', () => performance.now() > end)
    expect(hear()).toBeNull()
  })

  test('no service manager: nothing, and no word about it', async () => {
    const warnings: string[] = []
    const one = notifier({ WATCHDOG_USEC: '1000' }, warnings)
    expect(one.enabled).toBe(false)
    await one.ready('ready')
    await one.stopping('soon')
    expect(warnings).toEqual([])
  })

  test('one that is gone, or speaks by other means: a warning, once', async () => {
    const warnings: string[] = []
    const one = notifier({ NOTIFY_SOCKET: join(folder, 'nobody') }, warnings)
    await one.ready('ready')
    await one.status('again')
    expect(warnings).toEqual(['the service manager could not be told'])
    const { hear } = manager(join(folder, 'nobody'))
    await one.status('there it is')
    expect(hear()).toBe('STATUS=there it is\n')
    notifier({ NOTIFY_SOCKET: 'vsock:2:1234' }, warnings)
    expect(warnings[1]).toMatch('NOTIFY_SOCKET is no unix socket')
  })

  test('one whose queue is full is waited for, but not with a sign of life', async () => {
    const { name, socket, hear } = manager(join(folder, 'full'))
    const warnings: string[] = []
    const one = notifier({ NOTIFY_SOCKET: name, WATCHDOG_USEC: '20000' }, warnings)
    const filler = Netns.current().open({ domain: 1, type: 2, protocol: 0 })
    onTestFinished(() => filler.close())
    const address = notifyAddress(name)!
    while (binding().send(filler, Buffer.from('x'), address) >= 0);
    let told = false
    const ready = one.ready('ready').then(() => {
      told = true
    })
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
    expect(told).toBe(false)
    while (hear() !== null);
    await ready
    expect(hear()).toBe('READY=1\nSTATUS=ready\n')
    while (binding().send(filler, Buffer.from('x'), address) >= 0);
    await eventually('a beat is lost', () => warnings.length > 0)
    expect(socket.fd).toBeGreaterThan(0)
  })
})
