import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Scheduler } from '../../../daemon/scheduler.ts'
import { RemoteKeeper } from '../../../ipam/dhcp/rpc/remote.ts'
import { ask, Client, type Launch, launch } from '../../support/daemon/client.ts'
import { buildDaemon, descriptorsOf, folder, inProcess, ownProcess } from '../../support/daemon/start.ts'
import { type Container, type PrivateHost, privateHost } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'

const ipam = (dataDir: string) => ({ type: 'host-local', dataDir, subnet: '10.77.0.0/24' })
const bridge = (dataDir: string) => ({
  cniVersion: '1.1.0',
  name: 'net',
  type: 'bridge',
  bridge: 'br0',
  isGateway: true,
  ipam: ipam(dataDir),
})
const ptp = (dataDir: string) => ({ cniVersion: '1.1.0', name: 'net', type: 'ptp', ipam: ipam(dataDir) })

/** How a runtime of `host` calls a plugin for `container`. */
const at =
  (host: PrivateHost, container: Container) =>
  (verb: string, conf: { type: string }, more: Partial<Launch> = {}): Launch => ({
    type: conf.type,
    verb,
    conf,
    netns: container.sandbox,
    opened: container.path,
    from: host.path,
    ...more,
  })

const reservations = (dataDir: string): string[] =>
  existsSync(join(dataDir, 'net'))
    ? readdirSync(join(dataDir, 'net')).filter((name) => name.startsWith('10.'))
    : []

const names = async (host: PrivateHost): Promise<string[]> =>
  (await host.ipJson<{ ifname: string }>('link')).map(({ ifname }) => ifname).sort()

describe('in a namespace that is not the daemon’s own', () => {
  test.each([bridge, ptp])('%o: ADD, CHECK and DEL', async (conf) => {
    const { path, operations } = await inProcess()
    const host = await privateHost()
    const container = await host.container()
    const dataDir = folder()
    const call = at(host, container)
    const before = await names(host)
    const added = await launch(path, call('ADD', conf(dataDir)))
    expect(added).toMatchObject({ status: 0, acknowledge: true, stderr: '' })
    const result = JSON.parse(added.stdout)
    expect(result.interfaces.at(-1)).toMatchObject({ name: 'eth0', sandbox: container.sandbox })
    expect((await names(host)).length).toBeGreaterThan(before.length)
    expect(await container.ping('10.77.0.1')).toBe(true)
    const checked = await launch(path, call('CHECK', { ...conf(dataDir), prevResult: result } as never))
    expect(checked).toEqual({ status: 0, acknowledge: false, stdout: '', stderr: '' })
    const deleted = await launch(path, call('DEL', conf(dataDir)))
    expect(deleted).toMatchObject({ status: 0, stdout: '' })
    expect(await container.ipJson('link')).toHaveLength(1)
    expect(reservations(dataDir)).toEqual([])
    expect(operations.map(({ verb, code, network, container: id }) => [verb, code, network, id])).toEqual([
      ['ADD', 0, 'net', 'c1'],
      ['CHECK', 0, 'net', 'c1'],
      ['DEL', 0, 'net', 'c1'],
    ])
  })

  test('a failed CHECK is answered as the plugin words it', async () => {
    const { path, operations } = await inProcess()
    const host = await privateHost()
    const container = await host.container()
    const prevResult = { cniVersion: '1.1.0', interfaces: [], ips: [] }
    const conf = { ...bridge(folder()), prevResult }
    const { status, stdout } = await launch(path, at(host, container)('CHECK', conf))
    expect(status).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ cniVersion: '1.1.0', code: expect.any(Number) })
    expect(operations).toMatchObject([{ verb: 'CHECK', code: JSON.parse(stdout).code }])
  })

  test('DEL works where the namespace is gone: by its path, or what is there now is none', async () => {
    const { path } = await inProcess()
    const host = await privateHost()
    const dataDir = folder()
    const file = join(folder(), 'plain')
    writeFileSync(file, '')
    for (const opened of [join(file, 'nothing'), `${file}-missing`, file]) {
      const container = await host.container(`c${opened.length}`)
      const call = at(host, container)
      expect(await launch(path, call('ADD', bridge(dataDir)))).toMatchObject({ status: 0 })
      const del = await launch(path, call('DEL', bridge(dataDir), { opened }))
      expect(del).toMatchObject({ status: 0, stdout: '' })
      expect(reservations(dataDir)).toEqual([])
      expect(await names(host)).toEqual(['br0', 'lo'])
      await container.close()
    }
  })

  test('ADD into a namespace that is gone is refused with code 8, and what opening it gave', async () => {
    const { path } = await inProcess()
    const host = await privateHost()
    const container = await host.container()
    const call = at(host, container)('ADD', ptp(folder()), { opened: '/nowhere/at/all' })
    const { status, stdout } = await launch(path, call)
    expect(status).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({
      code: 8,
      msg: `failed to open netns "${container.sandbox}": open: ENOENT`,
    })
  })

  test('a container in the host’s own namespace is refused, though both came as descriptors', async () => {
    const { path } = await inProcess()
    const host = await privateHost()
    const container = await host.container()
    const call = at(host, container)('ADD', ptp(folder()), { opened: host.path })
    expect(JSON.parse((await launch(path, call)).stdout)).toMatchObject({ code: 8 })
    expect(await names(host)).toEqual(['lo'])
  })
})

describe('a plugin of somebody else’s', () => {
  test('is executed with the environment of the request, and knows its turn', async () => {
    const bin = folder()
    const notes = join(bin, 'notes')
    const result = { cniVersion: '1.1.0', ips: [{ address: '10.9.9.9/24', gateway: '10.9.9.1' }] }
    writeFileSync(
      join(bin, 'foreign'),
      `#!/bin/sh\ncat >/dev/null\nenv >>${notes}\necho '${JSON.stringify(result)}'\n`,
      {
        mode: 0o755,
      },
    )
    const { path } = await inProcess()
    const host = await privateHost()
    const container = await host.container()
    const conf = { cniVersion: '1.1.0', name: 'net', type: 'ptp', ipam: { type: 'foreign' } }
    const environment = { CNI_PATH: bin, PATH: '/usr/bin:/bin', MARK: 'mine' }
    const call = at(host, container)
    const added = await launch(path, call('ADD', conf, { environment }))
    expect(added).toMatchObject({ status: 0, stderr: '' })
    expect(JSON.parse(added.stdout).ips).toMatchObject([{ address: '10.9.9.9/24' }])
    const noted = Object.fromEntries(
      readFileSync(notes, 'utf8')
        .split('\n')
        .map((line) => line.split('=', 2)),
    )
    expect(noted).toMatchObject({
      CNI_COMMAND: 'ADD',
      CNI_NETNS: container.sandbox,
      CNI_PATH: bin,
      MARK: 'mine',
      LINKWRIGHT_TURN: expect.stringMatching(/./),
    })
    expect(noted).not.toHaveProperty('VITEST')
    await launch(path, call('DEL', conf, { environment }))
  })

  test('may call ours again for the same container, within its turn', async () => {
    const { path } = await inProcess({ scheduler: new Scheduler({ concurrency: 1 }) })
    const host = await privateHost()
    const container = await host.container()
    const [bin, dataDir] = [folder(), folder()]
    const [turn, answer] = [join(bin, 'turn'), join(bin, 'answer')]
    // It waits for the other call to be over, which waits for no turn of its own.
    const script = `#!/bin/sh
cat >/dev/null
echo $LINKWRIGHT_TURN >${turn}.next && mv ${turn}.next ${turn}
until [ -e ${answer} ]; do sleep 0.01; done
cat ${answer}
`
    writeFileSync(join(bin, 'foreign'), script, { mode: 0o755 })
    const call = at(host, container)
    const conf = { cniVersion: '1.1.0', name: 'net', type: 'ptp', ipam: { type: 'foreign' } }
    const outer = launch(path, call('ADD', conf, { environment: { CNI_PATH: bin } }))
    const own = await eventually('it runs', () => existsSync(turn) && readFileSync(turn, 'utf8').trim())
    const inner = await launch(path, {
      ...call('ADD', bridge(dataDir)),
      type: 'host-local',
      environment: { CNI_PATH: bin, LINKWRIGHT_TURN: `${own}` },
    })
    expect(inner).toMatchObject({ status: 0 })
    writeFileSync(`${answer}.next`, inner.stdout)
    renameSync(`${answer}.next`, answer)
    const added = await outer
    expect(added).toMatchObject({ status: 0 })
    expect(JSON.parse(added.stdout).ips).toMatchObject(JSON.parse(inner.stdout).ips)
  })

  test('that never ends is ended with the caller', async () => {
    const bin = folder()
    const notes = join(bin, 'pid')
    writeFileSync(join(bin, 'foreign'), `#!/bin/sh\necho $$ >${notes}\nexec sleep 1000\n`, { mode: 0o755 })
    const { path, operations } = await inProcess()
    const host = await privateHost()
    const container = await host.container()
    const conf = { cniVersion: '1.1.0', name: 'net', type: 'ptp', ipam: { type: 'foreign' } }
    const client = await Client.open(path)
    await ask(client, at(host, container)('ADD', conf, { environment: { CNI_PATH: bin } }))
    const pid = await eventually('it runs', () => existsSync(notes) && readFileSync(notes, 'utf8').trim())
    // Its DEL must not hang as well.
    writeFileSync(join(bin, 'next'), '#!/bin/sh\ncat >/dev/null\n', { mode: 0o755 })
    renameSync(join(bin, 'next'), join(bin, 'foreign'))
    client.close()
    await eventually('it is over', () => operations.length === 1)
    expect(existsSync(`/proc/${pid}`)).toBe(false)
    expect(await names(host)).toEqual(['lo'])
  })
})

describe('DHCP', () => {
  test('is kept in process, behind its socket too; other sockets are other keepers’', async () => {
    const socketPath = join(folder(), 'dhcp.sock')
    const { path, daemon } = await inProcess({ dhcp: { socketPath } })
    const status = (daemonSocketPath: string) =>
      launch(path, {
        type: 'dhcp',
        verb: 'STATUS',
        conf: { cniVersion: '1.1.0', name: 'net', type: 'ptp', ipam: { type: 'dhcp', daemonSocketPath } },
      })
    expect(await status(socketPath)).toMatchObject({ status: 0, stdout: '' })
    const { leases } = await new RemoteKeeper(socketPath).status()
    expect(leases).toBe(0)
    expect(await daemon.metrics.read('leases')).toBe(0)
    const other = await status(join(folder(), 'nobody.sock'))
    expect(JSON.parse(other.stdout)).toMatchObject({ code: 50 })
    await daemon.close(0)
    expect(existsSync(socketPath)).toBe(false)
  })
})

describe('what an ADD leaves', () => {
  /** Until nothing of an ADD is left. */
  const clean = async (host: PrivateHost, container: Container, dataDir: string): Promise<void> => {
    await eventually('nothing is left', async () => {
      const links = [...(await names(host)), ...(await container.ipJson('link'))]
      return links.length === 2 && reservations(dataDir).length === 0
    })
  }

  test('nothing, where the daemon ends before the acknowledgement: it waits for what it undoes', async () => {
    const { path, daemon } = await inProcess()
    const host = await privateHost()
    const container = await host.container()
    const dataDir = folder()
    const client = await Client.open(path)
    await ask(client, at(host, container)('ADD', bridge(dataDir)))
    expect(await client.answer()).toMatchObject({ status: 0, acknowledge: true })
    await daemon.close(0)
    expect([...(await names(host)), ...(await container.ipJson('link'))]).toHaveLength(2)
    expect(reservations(dataDir)).toEqual([])
  })

  test('nothing, without an acknowledgement', async () => {
    const { path, operations } = await inProcess()
    const host = await privateHost()
    const container = await host.container()
    const dataDir = folder()
    const client = await Client.open(path)
    await ask(client, at(host, container)('ADD', bridge(dataDir)))
    expect(await client.answer()).toMatchObject({ status: 0, acknowledge: true })
    expect(reservations(dataDir)).toHaveLength(1)
    client.close()
    await clean(host, container, dataDir)
    await eventually('it is logged', () => operations.length === 1)
    expect(operations).toMatchObject([{ verb: 'ADD', code: 5 }])
  })

  test('all, where it is acknowledged after a cancellation that came too late', async () => {
    const { path } = await inProcess()
    const host = await privateHost()
    const container = await host.container()
    const dataDir = folder()
    const client = await Client.open(path)
    await ask(client, at(host, container)('ADD', bridge(dataDir)))
    expect(await client.answer()).toMatchObject({ acknowledge: true })
    await client.cancel()
    await client.acknowledge()
    await client.closed()
    expect(reservations(dataDir)).toHaveLength(1)
    expect(await container.ipJson('link')).toHaveLength(2)
  })

  test.each(['cancelled', 'hung up'])('nothing, %s at any point', async (how) => {
    // An ADD that is alone is over before anybody can say anything.
    const scheduler = new Scheduler()
    let end = (): void => {}
    const other = scheduler.run(
      'other',
      'ADD',
      new AbortController().signal,
      () =>
        new Promise<void>((resolve) => {
          end = resolve
        }),
    )
    const { path, operations } = await inProcess({ scheduler })
    const host = await privateHost()
    const container = await host.container()
    let answered = 0
    for (let turn = 0; turn < 12; turn++) {
      const dataDir = folder()
      const client = await Client.open(path)
      await ask(client, at(host, container)('ADD', bridge(dataDir), { containerId: `c${turn}` }))
      // As many turns of the loop as it takes to be somewhere else each time.
      for (let i = 0; i < turn * 2; i++) await new Promise((resolve) => setImmediate(resolve))
      if (how === 'cancelled') {
        await client.cancel()
        const answer = await client.answer()
        if (answer.status !== 0) {
          answered++
          expect(JSON.parse(answer.stdout)).toMatchObject({
            code: 999,
            msg: 'stopped before it was done: by the caller',
          })
        }
      }
      client.close()
      await eventually('it is over', () => operations.length === turn + 1)
      await clean(host, container, dataDir)
    }
    if (how === 'cancelled') expect(answered).toBeGreaterThan(0)
    end()
    await other
  })
})

describe('in a process of its own', () => {
  let script = ''
  let built = ''
  beforeAll(async () => {
    built = mkdtempSync(join(tmpdir(), 'linkwright-'))
    script = await buildDaemon(built)
  })
  afterAll(() => rmSync(built, { recursive: true, force: true }))

  test('50 ADDs and DELs at once, and nothing stays open', async () => {
    const host = await privateHost()
    const containers = await Promise.all(Array.from({ length: 50 }, (_, i) => host.container(`c${i}`)))
    const daemon = await ownProcess(host, script)
    const dataDir = '/var/lib/cni/networks'
    const all = (verb: string) =>
      Promise.all(
        containers.map((container, i) =>
          launch(daemon.path, at(host, container)(verb, bridge(dataDir), { containerId: `c${i}` })),
        ),
      )
    // The connections that stay open are opened by the first.
    const [first] = containers
    await launch(daemon.path, at(host, first!)('ADD', bridge(dataDir)))
    await launch(daemon.path, at(host, first!)('DEL', bridge(dataDir)))
    const before = descriptorsOf(daemon.pid)
    const added = await all('ADD')
    expect(added.filter(({ status }) => status !== 0)).toEqual([])
    const addresses = added.map(({ stdout }) => JSON.parse(stdout).ips[0].address)
    expect(new Set(addresses).size).toBe(50)
    expect((await all('DEL')).filter(({ status }) => status !== 0)).toEqual([])
    await eventually('everything is closed', () => descriptorsOf(daemon.pid).length <= before.length)
    expect(await names(host)).toEqual(['br0', 'lo'])
    expect(await daemon.end('SIGTERM')).toBe(0)
    expect(existsSync(daemon.path)).toBe(false)
  })

  test('killed in the middle of ADDs: another one’s DEL removes everything', async () => {
    const host = await privateHost()
    const containers = await Promise.all(Array.from({ length: 8 }, (_, i) => host.container(`c${i}`)))
    const dataDir = '/var/lib/cni/networks'
    const daemon = await ownProcess(host, script)
    const call = (verb: string, i: number) =>
      at(host, containers[i]!)(verb, bridge(dataDir), { containerId: `c${i}` })
    const clients = await Promise.all(
      containers.map(async (_, i) => {
        const client = await Client.open(daemon.path)
        await ask(client, call('ADD', i))
        return client
      }),
    )
    // The first is done, the others are anywhere.
    await clients[0]!.answer()
    expect(await daemon.end('SIGKILL')).toBe('SIGKILL')
    // The socket it left behind is replaced.
    expect(existsSync(daemon.path)).toBe(true)
    const other = await ownProcess(host, script)
    for (const i of containers.keys())
      expect(await launch(other.path, call('DEL', i))).toMatchObject({ status: 0, stdout: '' })
    expect((await names(host)).filter((name) => name !== 'br0')).toEqual(['lo'])
    expect(reservations(host.file(dataDir))).toEqual([])
    for (const client of clients) client.close()
    // Nothing is in the way of the next.
    expect(await launch(other.path, call('ADD', 0))).toMatchObject({ status: 0 })
  })

  test('a second one on the same socket is refused', async () => {
    const host = await privateHost()
    const daemon = await ownProcess(host, script)
    await expect(ownProcess(host, script)).rejects.toThrow(/address already in use/)
    expect(await launch(daemon.path, { type: 'ptp', verb: 'VERSION', conf: '' })).toMatchObject({ status: 0 })
  })
})
