/** A case's ADDs and DELs by several at once: executed, in one way or another, and in process. */
import type { OpenHost } from '../cni/index.ts'
import { Netns } from '../netlink/netns.ts'
import type { Case, Owner } from './cases.ts'
import { type Contestant, executing, Ours, pathOf, rounds, verbs } from './contestant.ts'
import type { Launcher } from './launcher.ts'
import type { Row } from './row.ts'
import type { Setting } from './setting.ts'
import { Samples } from './stats.ts'

/** An owner who takes part. */
export interface Racer extends Owner {
  /** Folder of the plugins; null: in process. */
  readonly binDir: string | null
  /** Further variables of those that are executed. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Attachments before those that are measured. Default 0. */
  readonly warmUp?: number | undefined
}

/** Who executes, where, and for how long. */
export interface Course {
  readonly setting: Setting
  readonly launcher: Launcher
  readonly host: OpenHost
}

/** @returns durations by `ADD NAME` and `DEL NAME` */
export const race = async (
  { setting, launcher, host }: Course,
  one: Case,
  racers: readonly Racer[],
): Promise<Samples> => {
  const samples = new Samples()
  const made: string[] = []
  const container = (name: string): string => {
    const unique = `race-${name}`
    Netns.createNamed(pathOf(unique)).close()
    made.push(unique)
    return unique
  }
  const enter = (racer: Racer, name: string): Contestant => {
    const { binDir, env } = racer
    const conf = one.conf(racer)
    return binDir === null
      ? new Ours(container(name), host, conf)
      : executing(launcher, { binDir, conf, name: container(name), env })
  }
  try {
    const contestants: { readonly key: string; readonly contestant: Contestant }[] = []
    for (const racer of racers) {
      for (const request of one.prepare?.(racer) ?? []) await host.connections!.rtnetlink.run(request)
      const contestant = enter(racer, racer.name)
      // A host has other containers: bridges are up.
      if (one.type === 'bridge') await enter(racer, `${racer.name}-standing`).run('ADD')
      const { warmUp = 0 } = racer
      for (let i = 0; i < (setting.quick ? warmUp / 10 : warmUp); i++)
        for (const verb of verbs) await contestant.run(verb)
      contestants.push({ key: racer.name, contestant })
    }
    await rounds(contestants, setting.quick ? 6 : 40, async ({ key, contestant }) => {
      for (const verb of verbs) samples.add(`${verb} ${key}`, await contestant.run(verb))
    })
  } finally {
    for (const name of made) Netns.deleteNamed(pathOf(name))
  }
  return samples
}

/** Ours against the Go plugins, by the names of their samples. */
export const versusGo = (
  group: string,
  samples: Samples,
  what: string,
  [ours, theirs]: readonly [string, string],
  target?: number,
): Row => ({
  group,
  case: what,
  ours: samples.of(ours),
  peer: 'Go, executed',
  theirs: samples.of(theirs),
  target,
})
