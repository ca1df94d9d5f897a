/** One ADD or DEL after the other through the launcher: with the daemon and without, against the Go plugins. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Connection } from '../../netlink/connection.ts'
import { Netns } from '../../netlink/netns.ts'
import { type Case, cases, type Owner } from '../cases.ts'
import { type Contestant, type Executable, executing, pathOf, rounds, verbs } from '../contestant.ts'
import type { Launcher } from '../launcher.ts'
import type { Row } from '../row.ts'
import type { Setting } from '../setting.ts'
import { Samples } from '../stats.ts'

const TARGET = 0.33
/** Attachments before they are counted: a daemon has served others before. */
const WARM_UP = 200

interface Racer extends Owner, Pick<Executable, 'binDir' | 'env'> {}

const row = (name: string, samples: Samples, ours: string, theirs: string, target?: number): Row => ({
  group: 'daemon',
  case: name,
  ours: samples.of(ours),
  peer: 'Go, executed',
  theirs: samples.of(theirs),
  target,
})

const measure = async (
  setting: Setting,
  launcher: Launcher,
  host: Connection,
  racers: readonly Racer[],
  one: Case,
): Promise<Row[]> => {
  const samples = new Samples()
  const made: string[] = []
  const container = (name: string): string => {
    const unique = `daemon-${name}`
    Netns.createNamed(pathOf(unique)).close()
    made.push(unique)
    return unique
  }
  const contestants: { readonly key: string; readonly contestant: Contestant }[] = []
  try {
    for (const racer of racers) {
      for (const request of one.prepare?.(racer) ?? []) await host.run(request)
      const call = { ...racer, conf: one.conf(racer) }
      contestants.push({
        key: racer.name,
        contestant: executing(launcher, { ...call, name: container(racer.name) }),
      })
      // A host has other containers: bridges are up.
      if (one.type === 'bridge')
        await executing(launcher, { ...call, name: container(`${racer.name}-standing`) }).run('ADD')
    }
    for (let i = 0; i < (setting.quick ? WARM_UP / 10 : WARM_UP); i++)
      for (const verb of verbs) await contestants[0]!.contestant.run(verb)
    await rounds(contestants, setting.quick ? 6 : 40, async ({ key, contestant }) => {
      for (const verb of verbs) samples.add(`${verb} ${key}`, await contestant.run(verb))
    })
  } finally {
    for (const name of made) Netns.deleteNamed(pathOf(name))
  }
  return verbs.map((verb) =>
    row(
      `${verb} ${one.name}, through launcher and daemon`,
      samples,
      `${verb} served`,
      `${verb} peer`,
      verb === 'ADD' ? TARGET : undefined,
    ),
  )
}

/** @param env how launchers find the daemon */
export const oneByOne = async (
  setting: Setting,
  launcher: Launcher,
  host: Connection,
  env: Readonly<Record<string, string>>,
): Promise<Row[]> => {
  const { ours, peers } = setting
  const racers: readonly Racer[] = [
    { name: 'served', net: 41, binDir: ours, env },
    { name: 'peer', net: 42, binDir: peers! },
  ]
  const rows: Row[] = []
  for (const one of cases)
    if (existsSync(join(peers!, one.type))) {
      setting.progress(`daemon, ${one.name}`)
      rows.push(...(await measure(setting, launcher, host, racers, one)))
    }
  const samples = new Samples()
  await rounds(racers, setting.quick ? 6 : 40, async ({ name, binDir, env }) => {
    const conf = { cniVersion: '1.0.0' }
    const { took } = await launcher.run({ binDir, type: 'bridge', command: 'VERSION', conf, env })
    samples.add(name, took)
  })
  return [...rows, row('VERSION, through launcher and daemon', samples, 'served', 'peer')]
}
