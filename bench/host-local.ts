/** host-local with few and with many reservations in the network's directory, against the reference one. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { dispatch, openHost } from '../cni/index.ts'
import type { JsonObject } from '../cni/types.ts'
import { hostLocal } from '../ipam/index.ts'
import { Netns } from '../netlink/netns.ts'
import { plugins } from '../plugins/index.ts'
import { type Server, serve } from './daemon/server.ts'
import { Launcher } from './launcher.ts'
import type { Findings, Row } from './row.ts'
import type { Setting } from './setting.ts'
import { Samples } from './stats.ts'

const TARGET = 0.1
const MANY = 60_000
const netns = '/run/netns/ipam'
const network = 'bench'

const address = (n: number): string => `10.26.${n >> 8}.${n & 255}`

/** A directory as the plugins leave it after `count` ADDs: a file an address, with whose it is. */
const prepare = (dataDir: string, count: number): void => {
  const folder = join(dataDir, network)
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  // The first two are the network's and the gateway's.
  for (let n = 2; n < 2 + count; n++)
    writeFileSync(join(folder, address(n)), `${n.toString(16).padStart(64, '0')}\r\neth0`, { mode: 0o600 })
  writeFileSync(join(folder, 'lock'), '', { mode: 0o600 })
  if (count > 0) writeFileSync(join(folder, 'last_reserved_ip.0'), address(1 + count), { mode: 0o600 })
}

const confOf = (dataDir: string): JsonObject => ({
  cniVersion: '1.0.0',
  name: network,
  type: 'bridge',
  ipam: { type: 'host-local', subnet: '10.26.0.0/16', dataDir },
})

type Verb = 'ADD' | 'DEL'

interface Contestant {
  readonly name: string
  run(verb: Verb): Promise<number>
}

const modes = [
  { key: 'in process', words: 'in process' },
  { key: 'served', words: 'through launcher and daemon' },
  { key: 'ours', words: 'standalone' },
] as const

const measure = async (
  setting: Setting,
  launcher: Launcher,
  { env }: Server,
  count: number,
): Promise<Findings> => {
  const samples = new Samples()
  const folder = join(setting.scratch, 'reservations')
  const dirs = { ours: join(folder, 'ours'), peer: join(folder, 'peer') }
  using host = openHost({ plugins })
  const inProcess: Contestant = {
    name: 'in process',
    async run(verb) {
      const start = performance.now()
      await dispatch(
        hostLocal,
        { verb, conf: confOf(dirs.ours), containerId: 'in-process', ifName: 'eth0', netnsPath: netns },
        host,
      )
      return performance.now() - start
    },
  }
  const executed = (
    name: string,
    binDir: string,
    dataDir: string,
    variables?: Server['env'],
  ): Contestant => ({
    name,
    run: async (verb) =>
      (
        await launcher.run({
          binDir,
          type: 'host-local',
          command: verb,
          conf: confOf(dataDir),
          containerId: name,
          netns,
          env: variables,
        })
      ).took,
  })
  const contestants = [
    inProcess,
    executed('served', setting.ours, dirs.ours, env),
    executed('ours', setting.ours, dirs.ours),
    ...(setting.peers ? [executed('peer', setting.peers, dirs.peer)] : []),
  ]
  const note: string[] = []
  try {
    for (const dir of Object.values(dirs)) prepare(dir, count)
    // What the first ADD after a start of the host has to do more: it reads all reservations.
    const first = await inProcess.run('ADD')
    await inProcess.run('DEL')
    if (count > 0)
      note.push(`host-local, ${count} reservations: the first ADD of a network takes ${first.toFixed(1)} ms`)
    for (const { run } of contestants) for (const verb of ['ADD', 'DEL'] as const) await run(verb)
    const rounds = setting.quick ? (count === MANY ? 2 : 5) : count === MANY ? 15 : 40
    for (let i = 0; i < rounds; i++)
      for (let j = 0; j < contestants.length; j++) {
        const contestant = contestants[(i + j) % contestants.length]!
        for (const verb of ['ADD', 'DEL'] as const)
          samples.add(`${contestant.name} ${verb}`, await contestant.run(verb))
      }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  if (!setting.peers) return { rows: [], notes: note }
  const rows = (['ADD', 'DEL'] as const).flatMap((verb) =>
    modes.map(
      ({ key, words }): Row => ({
        group: 'host-local',
        case: `host-local ${verb}, ${count} reservations, ${words}`,
        ours: samples.of(`${key} ${verb}`),
        peer: 'Go, executed',
        theirs: samples.of(`peer ${verb}`),
        target: count === MANY && verb === 'ADD' ? TARGET : undefined,
      }),
    ),
  )
  return { rows, notes: note }
}

export const hostLocalRows = async (setting: Setting): Promise<Findings> => {
  const launcher = new Launcher(setting)
  const server = await serve(setting, 'host-local')
  Netns.createNamed(netns).close()
  const all: Findings[] = []
  try {
    for (const count of [0, 1_000, MANY]) {
      setting.progress(`host-local, ${count} reservations`)
      all.push(await measure(setting, launcher, server, count))
    }
  } finally {
    await launcher.close()
    await server.service.stop()
    Netns.deleteNamed(netns)
  }
  return { rows: all.flatMap(({ rows }) => rows), notes: all.flatMap(({ notes }) => notes) }
}
