import { randomUUID } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { Connection, type ConnectionOptions } from '../../../daemon/connection.ts'
import type { StartOptions } from '../../../daemon/daemon.ts'
import { Deadlines } from '../../../daemon/deadlines.ts'
import { encodeGreeting, encodeRequest, limits, ProtocolError } from '../../../daemon/protocol.ts'
import { Turnstile } from '../../../daemon/turnstile.ts'
import { binding, type Descriptor } from '../../../native/binding.ts'
import { ask, Client, exchange, type Launch, launch, requestOf } from '../../support/daemon/client.ts'
import { descriptorsOf, inProcess } from '../../support/daemon/start.ts'
import { eventually } from '../../support/wait.ts'
import { address, type FakeOptions, fakePlugin } from '../../unit/cni/fake.ts'
import { AF_UNIX, closing, native, SOCK_STREAM, socket, unixAddress } from '../../unit/native/support.ts'

/** Of `sys/socket.h`. */
const MSG_CTRUNC = 8
const conf = { cniVersion: '1.0.0', name: 'net', type: 'fake' }
/** A call for a container in the test's own namespace, which nothing is done to. */
const call = (verb: string, more: Partial<Launch> = {}): Launch => ({
  type: 'fake',
  verb,
  conf,
  netns: '/proc/self/ns/net',
  environment: { CNI_NETNS_OVERRIDE: '1' },
  ...more,
})

const start = async (fake: FakeOptions = {}, options: Partial<StartOptions> = {}) => {
  const plugin = fakePlugin(fake)
  const started = await inProcess({ plugins: new Map([['fake', plugin]]), ...options })
  return { ...started, journal: plugin.journal, refused: () => started.daemon.metrics.refusals() }
}

/** An ADD that waits until it is told to go on, or is aborted. */
const waiting = () => {
  let go: () => void = () => {}
  const free = new Promise<void>((resolve) => {
    go = resolve
  })
  const fake: FakeOptions = {
    add: async ({ signal }) => {
      await Promise.race([
        free,
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      ])
      return address
    },
  }
  return { fake, go }
}

/** Two ends of a connection. */
const pair = (): [client: Descriptor, server: Descriptor] => {
  const address = unixAddress(`connection-${randomUUID()}`)
  const listener = socket(AF_UNIX, SOCK_STREAM)
  native.bind(listener, address)
  native.listen(listener, 1)
  const client = socket(AF_UNIX, SOCK_STREAM)
  native.connect(client, address)
  return [client, native.accept(listener)!]
}

/** What a connection needs that has nothing to serve. */
const connecting = (refused: (error: Error) => void): ConnectionOptions => ({
  open: () => true,
  turnstile: new Turnstile(),
  refused,
  idle: new Deadlines(60_000),
  printing: new Deadlines(60_000),
  serve: async () => null,
})

/** Nothing else happens in this process for so many milliseconds. */
const pause = (milliseconds: number): void => {
  for (const end = performance.now() + milliseconds; performance.now() < end; );
}

const file = (path: string): Descriptor => closing(binding().open(path, 0, 0))

describe('greetings', () => {
  test.each([
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\n')],
    ['sixteen zeros', Buffer.alloc(16)],
  ])('%s is closed without a word', async (_, said) => {
    const { path, refused } = await start()
    const client = Client.connect(path)
    await client.send(said)
    await client.closed()
    expect(refused()).toMatchObject({ protocol: 1 })
  })

  test('no version in common is said, and closed', async () => {
    const { path } = await start()
    const client = Client.connect(path)
    expect(await client.greet(2, 9)).toEqual({ version: 0, flags: 0 })
    await client.closed()
  })

  test('a launcher that speaks more gets what both speak', async () => {
    const { path } = await start()
    expect(await Client.connect(path).greet(0, 9)).toEqual({ version: 1, flags: 0 })
  })

  test('too many are told to do without', async () => {
    const { path, refused, daemon } = await start({}, { maxConnections: 1 })
    await Client.open(path)
    await eventually('it is counted', async () => (await daemon.metrics.read('connections')) === 1)
    const client = Client.connect(path)
    expect(await client.greet()).toEqual({ version: 1, flags: 1 })
    await client.closed()
    expect(refused()).toMatchObject({ limit: 1 })
  })

  test.each(['nothing', 'half a greeting', 'half a request'])(
    '%s is waited for, but not long',
    async (what) => {
      const { path, refused } = await start({}, { idleTimeout: 60 })
      const client = Client.connect(path)
      if (what === 'half a greeting') await client.send(encodeGreeting().subarray(0, 9))
      if (what === 'half a request') {
        await client.greet()
        await client.send(encodeRequest({ kind: 'status' }).subarray(0, 6))
      }
      await client.closed()
      expect(refused()).toMatchObject({ protocol: 1 })
    },
  )

  test('whoever only looks is nobody’s error', async () => {
    const { path, refused, said, daemon } = await start()
    Client.connect(path).close()
    await eventually('it is gone', async () => (await daemon.metrics.read('connections')) === 0)
    expect(refused()).toMatchObject({ protocol: 0 })
    expect(said).toEqual([])
  })
})

describe('requests', () => {
  test('come byte by byte', async () => {
    const { path, journal } = await start()
    const client = Client.connect(path)
    for (const byte of encodeGreeting()) {
      await client.send(Uint8Array.of(byte))
      await turn()
    }
    expect(await client.welcome()).toEqual({ version: 1, flags: 0 })
    const { request, descriptors } = requestOf(call('DEL'))
    const bytes = encodeRequest(request)
    await client.send(bytes.subarray(0, 1), descriptors)
    for (const descriptor of descriptors) descriptor.close()
    for (const byte of bytes.subarray(1)) {
      await client.send(Uint8Array.of(byte))
      if (byte % 8 === 0) await turn()
    }
    expect(await client.answer()).toMatchObject({ status: 0 })
    expect(journal).toEqual(['fake DEL'])
  })

  test('without descriptors may come with the greeting', async () => {
    const { path } = await start()
    const client = Client.connect(path)
    await client.send(Buffer.concat([encodeGreeting(), encodeRequest({ kind: 'status' })]))
    expect(await client.welcome()).toEqual({ version: 1, flags: 0 })
    expect(await client.answer()).toMatchObject({ status: 0 })
    await client.closed()
  })

  test('the largest is served', async () => {
    const { path } = await start()
    const text = JSON.stringify({ ...conf, pad: '' })
    const big = text.replace('""', `"${'x'.repeat(limits.stdin - text.length)}"`)
    expect(await launch(path, call('DEL', { conf: big }))).toMatchObject({ status: 0 })
  })

  test.each([
    [
      'descriptors with the greeting',
      async (client: Client) => client.send(encodeGreeting(), [file('/dev/null')]),
      false,
    ],
    [
      'a length that nothing may have',
      async (client: Client) => client.send(Buffer.from(Uint32Array.of(1 << 30).buffer)),
      true,
    ],
    [
      'a descriptor that nobody announced',
      async (client: Client) => client.send(encodeRequest({ kind: 'status' }), [file('/dev/null')]),
      true,
    ],
    [
      'three descriptors',
      async (client: Client) =>
        client.send(
          encodeRequest(requestOf(call('DEL')).request),
          ['/dev/null', '/dev/null', '/dev/null'].map(file),
        ),
      true,
    ],
    [
      'no descriptors',
      async (client: Client) => client.send(encodeRequest(requestOf(call('DEL')).request)),
      true,
    ],
  ] as const)('%s: closed, and nothing stays open', async (_, act, greeted) => {
    const { path, journal, refused, daemon } = await start()
    await launch(path, call('DEL'))
    const before = descriptorsOf()
    const client = Client.connect(path)
    if (greeted) await client.greet()
    await act(client)
    await client.closed()
    expect(refused()).toMatchObject({ protocol: 1 })
    expect(journal).toEqual(['fake DEL'])
    client.close()
    await eventually('it is gone', async () => (await daemon.metrics.read('connections')) === 0)
    // Those that requestOf has opened for the test itself are collected in their own time.
    expect(descriptorsOf().filter((target) => target.startsWith('socket:'))).toEqual(
      before.filter((target) => target.startsWith('socket:')),
    )
  })

  test.each([
    ['without the launcher’s namespace', { hasOwnNetns: false, hasCniNetns: true }, ['/proc/self/ns/net']],
    ['with a file in its place', { hasOwnNetns: true, hasCniNetns: false }, ['/dev/null']],
  ] as const)('%s: closed, so that the launcher goes on alone', async (_, which, paths) => {
    const { path, journal } = await start()
    const client = await Client.open(path)
    const request = { ...requestOf(call('DEL')).request, ...which }
    await client.send(encodeRequest(request), paths.map(file))
    await client.closed()
    expect(journal).toEqual([])
  })

  test('a plugin that is not ours', async () => {
    const { path } = await start()
    const { status, stdout } = await launch(path, call('DEL', { type: 'cilium' }))
    expect(status).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({
      code: 999,
      msg: 'unknown plugin "cilium"',
      details: 'there are fake',
    })
  })

  test('VERSION, and the text of a plugin that is asked nothing', async () => {
    const { path, operations } = await start()
    const version = await launch(path, call('VERSION', { conf: '' }))
    expect(JSON.parse(version.stdout)).toMatchObject({ cniVersion: '1.1.0' })
    const about = await launch(path, call('', { conf: '' }))
    expect(about).toMatchObject({ status: 0, stdout: '' })
    expect(about.stderr).toMatch(/^CNI fake plugin v1\.2\.3\nCNI protocol versions supported: 0\.1\.0, /)
    expect(operations.map(({ verb }) => verb)).toEqual(['VERSION', 'other'])
  })

  test('what is wrong with them is answered in the configuration’s version', async () => {
    const { path } = await start()
    const wrong = await launch(path, call('ADD', { conf: { ...conf, name: '' } }))
    expect(wrong.status).toBe(1)
    expect(JSON.parse(wrong.stdout)).toMatchObject({
      cniVersion: '1.0.0',
      code: 7,
      msg: 'missing network name',
    })
    const id = await launch(path, call('ADD', { containerId: '../x' }))
    expect(JSON.parse(id.stdout)).toMatchObject({ code: 4 })
  })

  test('remarks of a plugin are printed by the launcher, and said by the daemon', async () => {
    const { path, said } = await start({
      add: async ({ log }) => {
        log.warn('odd', { mtu: 1 })
        log.debug('unsaid')
        return address
      },
    })
    expect(await launch(path, call('ADD'))).toMatchObject({ status: 0, stderr: 'fake: odd mtu=1\n' })
    expect(said).toEqual(['odd {"mtu":1,"plugin":"fake"}'])
  })

  test('what they quote is for the launcher alone', async () => {
    const { path, said } = await start({
      del: async ({ log }) => log.warn('odd', { mtu: 1, quoted: 'key: hunter2' }),
    })
    const answer = await launch(
      path,
      call('DEL', { conf: { ...conf, prevResult: 'hunter2', mtu: 'hunter2' } }),
    )
    expect(answer.stderr).toMatch('fake: odd mtu=1 quoted="key: hunter2"\n')
    expect(answer.stderr).toMatch(/prevResult.*hunter2/)
    expect(said).toContain('odd {"mtu":1,"plugin":"fake"}')
    expect(said.join('\n')).not.toMatch('hunter2')
  })

  test('whose descriptors find no room are closed, and that is said', async () => {
    const [, server] = pair()
    const refused: Error[] = []
    const lost = { data: Buffer.of(0), address: Buffer.alloc(0), descriptors: [], flags: MSG_CTRUNC }
    const connection = new Connection(server, true, {
      ...connecting((error) => refused.push(error)),
      native: { ...native, receive: () => lost },
    })
    connection.start()
    await connection.closed
    expect(refused).toMatchObject([{ message: 'descriptors that came along were lost: too many are open' }])
    expect(refused[0]).not.toBeInstanceOf(ProtocolError)
  })

  test('STATUS tells what goes on', async () => {
    const { path } = await start()
    await launch(path, call('DEL'))
    const { status, stdout } = await exchange(path, { kind: 'status' })
    expect(status).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      version: '1.2.3',
      running: 0,
      queued: 0,
      connections: 1,
      leases: null,
      operations: [{ plugin: 'fake', verb: 'DEL', code: '0', count: 1 }],
    })
  })
})

describe('cancelling', () => {
  test('is answered, after everything is undone', async () => {
    const { fake } = waiting()
    const { path, journal } = await start(fake)
    const client = await Client.open(path)
    await ask(client, call('ADD'))
    await eventually('it is at work', () => journal.length > 0)
    await client.cancel()
    const { status, acknowledge, stdout } = await client.answer()
    expect({ status, acknowledge }).toEqual({ status: 1, acknowledge: false })
    expect(JSON.parse(stdout)).toMatchObject({ code: 999, msg: 'stopped before it was done: by the caller' })
    expect(journal).toEqual(['fake ADD', 'fake undo'])
    await client.closed()
  })

  test.each([
    ['hanging up', async (client: Client) => client.close()],
    ['garbage', async (client: Client) => client.send(Buffer.from('x'))],
  ])('%s undoes what has been done', async (_, act) => {
    const { fake } = waiting()
    const { path, journal, daemon } = await start(fake)
    const client = await Client.open(path)
    await ask(client, call('ADD'))
    await eventually('it is at work', () => journal.length > 0)
    await act(client)
    await eventually('it is undone', () => journal.includes('fake undo'))
    await eventually('it is over', async () => (await daemon.metrics.read('connections')) === 0)
  })

  test('whoever waits for their turn leaves the queue', async () => {
    const { fake, go } = waiting()
    const { path, journal, daemon } = await start(fake)
    const [first, second] = [await Client.open(path), await Client.open(path)]
    await ask(first, call('ADD'))
    await eventually('it is at work', () => journal.length === 1)
    await ask(second, call('DEL'))
    await eventually('it waits', () => daemon.scheduler.queued === 1)
    await second.cancel()
    expect((await second.answer()).status).toBe(1)
    expect(journal).toEqual(['fake ADD'])
    go()
    expect((await first.answer()).status).toBe(0)
    await first.acknowledge()
    await first.closed()
  })
})

describe('delivering', () => {
  test('a result that is not printed in time is undone', async () => {
    const { path, journal, operations } = await start({}, { printTimeout: 50 })
    const client = await Client.open(path)
    await ask(client, call('ADD'))
    expect(await client.answer()).toMatchObject({ acknowledge: true })
    await client.closed()
    await eventually('it is undone', () => journal.includes('fake undo'))
    await eventually('it is logged', () => operations.length === 1)
    expect(operations).toMatchObject([{ code: 5 }])
  })

  test.each([
    ['when all is ended', 200_000, (connection: Connection) => connection.destroy()],
    ['when its time is over', 30, () => pause(60)],
  ])('an acknowledgement that is sent counts %s, though nobody has read it', async (_, printTime, end) => {
    const [client, server] = pair()
    const outcomes: string[] = []
    const connection = new Connection(server, true, {
      ...connecting((error) => outcomes.push(error.message)),
      printing: new Deadlines(printTime),
      serve: async (_request, _descriptors, { deliver }) => {
        await deliver({ status: 0, stdout: '{}', stderr: '' }).then(
          () => outcomes.push('kept'),
          () => outcomes.push('undone'),
        )
        return null
      },
    })
    native.send(client, encodeRequest({ kind: 'status' }))
    connection.start()
    await eventually('it is answered', () => native.receive(client, 1 << 10) !== null)
    // In one turn of the event loop, as far as this end is concerned.
    native.send(client, Buffer.from('A'))
    end(connection)
    await connection.closed
    expect(outcomes).toEqual(['kept'])
    // And none that is not read is ever sent.
    expect(() => native.send(client, Buffer.from('A'))).toThrow(/EPIPE|ECONNRESET/)
  })

  /** A result that no socket's buffer holds. */
  const large = {
    ...address,
    dns: {
      nameservers: Array.from({ length: 40_000 }, (_, i) => `2001:db8:${(i >> 8).toString(16)}::${i & 255}`),
    },
  }

  test('a slow reader gets all of it', async () => {
    const { path, journal } = await start({ add: async () => large })
    const { stdout, status } = await launch(path, call('ADD'))
    expect(status).toBe(0)
    expect(JSON.parse(stdout).dns.nameservers).toEqual(large.dns.nameservers)
    expect(journal).toEqual(['fake ADD'])
  })

  test('to somebody who takes nothing ends, and is undone', async () => {
    const { path, journal } = await start({ add: async () => large }, { stalled: 60 })
    const client = await Client.open(path)
    await ask(client, call('ADD'))
    await eventually('it is undone', () => journal.includes('fake undo'))
    await expect(client.answer()).rejects.toThrow('the daemon has closed')
  })
})

describe('the end', () => {
  test('what runs is finished, newcomers are told to do without, and the socket is gone', async () => {
    const { fake, go } = waiting()
    const { path, journal, daemon } = await start(fake)
    const [busy, late] = [await Client.open(path), Client.connect(path)]
    await ask(busy, call('ADD'))
    await eventually('it is at work', () => journal.length === 1)
    const closed = daemon.close()
    await eventually('nobody new finds it', () => {
      try {
        Client.connect(path).close()
        return false
      } catch (error) {
        return (error as { code: string }).code === 'ENOENT'
      }
    })
    expect(await late.greet()).toEqual({ version: 1, flags: 1 })
    go()
    expect(await busy.answer()).toMatchObject({ status: 0, acknowledge: true })
    await busy.acknowledge()
    await closed
    expect(journal).toEqual(['fake ADD'])
  })

  test.each(['by its grace', 'by a second, shorter one'])(
    'patience ends %s: aborted, undone and answered',
    async (how) => {
      const { fake } = waiting()
      const { path, journal, daemon } = await start(fake)
      const client = await Client.open(path)
      await ask(client, call('ADD'))
      await eventually('it is at work', () => journal.length === 1)
      const closed = how === 'by its grace' ? daemon.close(30) : [daemon.close(60_000), daemon.close(0)][1]!
      const { status, stdout } = await client.answer()
      expect(status).toBe(1)
      expect(JSON.parse(stdout)).toMatchObject({
        code: 11,
        msg: 'stopped before it was done: the daemon is stopping',
      })
      await closed
      expect(journal).toEqual(['fake ADD', 'fake undo'])
    },
  )

  test('is safe to repeat', async () => {
    const { daemon } = await start()
    await Promise.all([daemon.close(), daemon.close()])
    await daemon.close()
  })
})
