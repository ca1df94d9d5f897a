/** A whole chain, ours against the reference plugins executed one after another. */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type OpenHost, openHost } from '../../cni/index.ts'
import { Netns } from '../../netlink/netns.ts'
import { plugins } from '../../plugins/index.ts'
import type { Owner } from '../cases.ts'
import { type Contestant, pathOf, rounds, verbs } from '../contestant.ts'
import { serve } from '../daemon/server.ts'
import { type Execution, Launcher } from '../launcher.ts'
import type { Findings, Row } from '../row.ts'
import type { Setting } from '../setting.ts'
import { Samples } from '../stats.ts'
import { calling, executing } from './contestants.ts'
import { manyRows } from './many.ts'
import { pluginsOf } from './network.ts'
import { traced } from './traced.ts'

const TARGET = 0.1
/** Attachments before those in process and by the daemon are measured. */
const WARM_UP = 200
const PEER = 'Go, executed'
const CHAIN = 'bridge + ipMasq + portmap + firewall'

const owners = {
  call: { name: 'chain-call', net: 31 },
  ours: { name: 'chain-ours', net: 32 },
  peer: { name: 'chain-peer', net: 33 },
  served: { name: 'chain-serv', net: 35 },
} as const satisfies Record<string, Owner>
type Who = keyof typeof owners

interface Racer {
  readonly who: Who
  readonly contestant: Contestant
  /** Whose system calls are its own. */
  readonly pid: number
}

const timed = async (setting: Setting, racers: readonly Racer[]): Promise<Row[]> => {
  const samples = new Samples()
  await rounds(racers, setting.quick ? 5 : 40, async ({ who, contestant }) => {
    for (const verb of verbs) samples.add(`${verb} ${who}`, await contestant.run(verb))
  })
  for (let i = 0; i < (setting.quick ? 2 : 10); i++)
    for (const { who, contestant } of racers) {
      for (const verb of verbs) await contestant.run(verb)
      samples.add(`at once ${who}`, await contestant.run('ADD'))
      await contestant.run('DEL')
    }
  const theirs = (verb: string) => samples.of(`${verb} peer`)
  const atOnce: Row = {
    group: 'chain',
    case: `ADD right after a DEL of ${CHAIN}, in process`,
    ours: samples.of('at once call'),
    peer: PEER,
    theirs: theirs('at once'),
  }
  const each = verbs.flatMap((verb): Row[] => [
    {
      group: 'chain',
      case: `${verb} ${CHAIN}, in process`,
      ours: samples.of(`${verb} call`),
      peer: PEER,
      theirs: theirs(verb),
      target: verb === 'ADD' ? TARGET : undefined,
    },
    {
      group: 'chain',
      case: `${verb} ${CHAIN}, through launcher and daemon`,
      ours: samples.of(`${verb} served`),
      peer: PEER,
      theirs: theirs(verb),
    },
    {
      group: 'chain',
      case: `${verb} ${CHAIN}, standalone`,
      ours: samples.of(`${verb} ours`),
      peer: PEER,
      theirs: theirs(verb),
    },
  ])
  return [...each, atOnce]
}

/** Not timed: a traced program is slow. */
const counted = async (setting: Setting, racers: readonly Racer[]): Promise<Row[]> => {
  const samples = new Samples()
  for (let i = 0; i < 3; i++)
    for (const { who, contestant, pid } of racers) {
      const { processes, calls } = await traced(setting.scratch, pid, () => contestant.run('ADD'))
      samples.add(`processes ${who}`, processes)
      samples.add(`system calls ${who}`, calls)
      await contestant.run('DEL')
    }
  return (['processes', 'system calls'] as const).flatMap((unit) =>
    (['call', 'ours'] as const).map(
      (who): Row => ({
        group: 'chain',
        unit,
        case: `ADD ${CHAIN}, ${who === 'call' ? 'in process' : 'standalone'}: ${unit}`,
        ours: samples.of(`${unit} ${who}`),
        peer: PEER,
        theirs: samples.of(`${unit} peer`),
      }),
    ),
  )
}

const chained = async (
  setting: Setting,
  peers: string,
  launcher: Launcher,
  host: OpenHost,
  env: Execution['env'],
): Promise<Row[]> => {
  const cacheDir = join(setting.scratch, 'chain-cache')
  mkdirSync(cacheDir, { recursive: true })
  const made: string[] = []
  const container = (name: string): string => {
    Netns.createNamed(pathOf(name)).close()
    made.push(name)
    return name
  }
  const racerOf = (who: Who, name: string): Racer => {
    const owner = owners[who]
    if (who === 'call')
      return { who, contestant: calling(host, owner, container(name), cacheDir), pid: process.pid }
    const binDir = who === 'peer' ? peers : setting.ours
    const variables = who === 'served' ? env : undefined
    const contestant = executing(launcher, binDir, owner, container(name), variables)
    return { who, contestant, pid: launcher.pid }
  }
  try {
    const racers = (['call', 'served', 'ours', 'peer'] as const).map((who) => racerOf(who, `chained-${who}`))
    const resident = racers.filter(({ who }) => who === 'call' || who === 'served')
    for (let i = 0; i < (setting.quick ? WARM_UP / 10 : WARM_UP); i++)
      for (const { contestant } of resident) for (const verb of verbs) await contestant.run(verb)
    // Bridges, tables and chains stay: a host has had containers before.
    for (const { contestant } of racers) for (const verb of verbs) await contestant.run(verb)
    const rows = await timed(setting, racers)
    // What the daemon does is not the launchers' work.
    const countable = racers.filter(({ who }) => who !== 'served')
    return [...rows, ...(await counted(setting, countable))]
  } finally {
    for (const name of made) Netns.deleteNamed(pathOf(name))
  }
}

export const chainRows = async (setting: Setting): Promise<Findings> => {
  const { peers } = setting
  if (!peers) return { rows: [], notes: [] }
  const missing = pluginsOf(owners.peer).find(({ type }) => !existsSync(join(peers, String(type))))
  if (missing) return { rows: [], notes: [`chain left out: there is no ${missing.type} in ${peers}`] }
  const launcher = new Launcher(setting)
  const { service, env } = await serve(setting, 'chain')
  using host = openHost({ plugins, sync: true })
  try {
    setting.progress('chain')
    const rows = await chained(setting, peers, launcher, host, env)
    setting.progress('chain, portmap among many')
    return {
      rows: [...rows, ...(await manyRows(setting, peers, launcher, host.connections!.rtnetlink))],
      notes: [
        'chain: what a runtime does between executed plugins is not counted; in process it is, and so is its cache',
      ],
    }
  } finally {
    await launcher.close()
    await service.stop()
  }
}
