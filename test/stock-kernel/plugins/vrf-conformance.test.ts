/** The Go plugin vrf, and ours: the same results and kernel state, and each ends what the other began. Calls that fail. */
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { address, type Connection, link, Netns, route } from '../../../netlink/index.ts'
import { comparedOf, goDir, mustPeerOf } from '../../conformance/bridge/sides.ts'
import { FaultyTransport } from '../../kernel/faults/transport.ts'
import { binDirs, type PluginRun, runPlugin } from '../../support/plugin.ts'
import { eventually } from '../../support/wait.ts'
import { attach, look, plugged, resultOf, vrf } from './vrf.ts'

const scene = async () => {
  const { it, container } = await plugged()
  await container.ip('route', 'add', '198.51.100.0/24', 'via', '10.9.0.1', 'metric', '7', 'mtu', '1300')
  const prevResult = { ...resultOf(container.sandbox, 'eth0'), cniVersion: '1.0.0' }
  const call = (binDir: string, command: string, conf: JsonObject = {}): Promise<PluginRun> =>
    runPlugin({
      ...{ host: it.host, binDir, type: 'vrf', command, netns: container, timeout: 60_000 },
      conf: { cniVersion: '1.0.0', name: 'net', ...vrf('red'), prevResult: prevResult as never, ...conf },
    })
  return { container, call }
}

/** Random MACs, and what is made of them; our alias. */
const steady = (lines: readonly string[]): string[] =>
  lines.map((line) =>
    line
      .replace(/\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b/g, 'MAC')
      .replace(/fe80::[0-9a-f:]+[0-9a-f](?=[/ ])/g, 'LL')
      .replace(/\\\s+alias linkwright:vrf/, '')
      .replace(/link-netnsid \d+/, 'link-netnsid N')
      .replace(/@if\d+/, '@ifN')
      .trim(),
  )

const play = async (begins: string, ends: string): Promise<unknown[]> => {
  const { container, call } = await scene()
  const said: unknown[] = []
  for (const [command, binDir] of [
    ['ADD', begins],
    ['CHECK', ends],
    ['DEL', ends],
  ] as const) {
    const { status, result, error } = await call(binDir, command)
    // Debian's Go plugins print a dns that is empty.
    said.push([command, status, result && { dns: {}, ...result }, error])
    if (command !== 'CHECK') said.push(steady(await look(container)))
  }
  return said
}

// Debian's plugin of 2022 loses every route.
const peers = comparedOf([{ title: 'the newer Go', conf: { type: 'vrf' }, newer: true }])

test.each(peers)('both do the same, and each checks and ends what the other began: $title', async (peer) => {
  const theirs = mustPeerOf(peer)
  const [go, ours] = await Promise.all([play(theirs, binDirs.ours), play(binDirs.ours, theirs)])
  expect(JSON.stringify(go)).toMatch(/default via 10\.9\.0\.1 dev eth0 table \w+ metric 1/)
  expect(ours).toEqual(go)
})

test("Debian's ends what ours began, and the other way round", async () => {
  const ends = async (begins: string, other: string) => {
    const { container, call } = await scene()
    for (const [command, binDir] of [
      ['ADD', begins],
      ['DEL', other],
    ] as const)
      expect((await call(binDir, command)).error).toBeNull()
    expect(await container.must('ip', ['link', 'show', 'type', 'vrf'])).toBe('')
  }
  await Promise.all([ends(goDir, binDirs.ours), ends(binDirs.ours, goDir)])
})

/** Links, addresses and routes by the library: `ip` many times over would take an emulated machine minutes. */
const facts = async (connection: Connection): Promise<unknown> => {
  const links = await connection.run(link.list())
  const addresses = await connection.run(address.list())
  const routes = await connection.run(route.list())
  return {
    links: links.map(({ name, kind, master, up, alias }) => ({ name, kind, master, up, alias })),
    addresses: addresses.map((one) => `${one.index} ${one.address} ${one.flags.tentative}`).sort(),
    routes: routes.map((one) => JSON.stringify(route.restate(one))).sort(),
  }
}

test('every request of an ADD that is refused', async () => {
  const { it, container } = await plugged()
  await container.ip('route', 'add', '198.51.100.0/24', 'via', '10.9.0.1', 'metric', '7', 'mtu', '1300')
  using netns = Netns.open(container.path)
  using connection = netns.connect()
  const before = await facts(connection)
  for (let number = 1; ; number++) {
    const faulty = new FaultyTransport('refused', number)
    faulty.install()
    const error = await it.add(vrf('red'), attach(container)).then(
      () => undefined,
      (failure: Error) => failure,
    )
    faulty.uninstall()
    if (!faulty.struck) {
      expect(error).toBeUndefined()
      expect(number).toBeGreaterThan(10)
      break
    }
    expect(error?.message, `${number}`).toContain('ENOMEM')
    expect(error?.message, `${number}`).not.toContain('could not be undone')
    // The kernel makes the routes of IPv6 addresses in its own time.
    await eventually(`${number}: ${error?.message}`, async () => {
      expect(await facts(connection)).toEqual(before)
      return true
    })
  }
})
