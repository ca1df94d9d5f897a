/** What the daemon keeps in memory: when it has done nothing yet, and after many attachments. */
import { setTimeout as pause } from 'node:timers/promises'
import { Netns } from '../../netlink/netns.ts'
import { executing, pathOf, verbs } from '../contestant.ts'
import type { Launcher } from '../launcher.ts'
import type { Row } from '../row.ts'
import { type Memory, Service } from '../service.ts'
import { classic, type Setting } from '../setting.ts'
import { stats } from '../stats.ts'
import { serve } from './server.ts'

/** MiB. */
const IDLE = 60
const AFTER = 90
const COUNT = 1000
/** Milliseconds in which what has begun with the process is over. */
const SETTLED = 2000

export const memory = async (setting: Setting, launcher: Launcher): Promise<Row[]> => {
  const { ours: binDir, program, quick } = setting
  const count = quick ? COUNT / 10 : COUNT
  const { service, env } = await serve(setting, 'memory')
  const bare = await Service.start(
    program.node,
    ['-e', 'setInterval(() => {}, 1e6); console.log("ready")'],
    (printed) => printed.includes('ready'),
  )
  const name = 'memory'
  Netns.createNamed(pathOf(name)).close()
  try {
    await pause(SETTLED)
    const nothing = bare.memory()
    const idle = service.memory()
    const conf = classic({ name, bridge: 'cni-memory', subnet: '10.47.0.0/16', ipMasq: true })
    const contestant = executing(launcher, { binDir, conf, name, env })
    const attach = async (): Promise<Memory> => {
      for (let i = 0; i < count; i++) for (const verb of verbs) await contestant.run(verb)
      await pause(SETTLED)
      return service.memory()
    }
    const once = await attach()
    const twice = await attach()
    const states = [
      {
        when: 'idle',
        ours: idle,
        peer: `Node ${program.version} that does nothing`,
        theirs: nothing,
        limit: IDLE,
      },
      { when: `after ${count} ADDs and DELs`, ours: once, peer: 'idle', theirs: idle, limit: AFTER },
      { when: `after ${count} more`, ours: twice, peer: `after ${count}`, theirs: once, limit: AFTER },
    ] as const
    const kinds = [
      { kind: 'rss', words: 'RSS' },
      { kind: 'anonymous', words: 'anonymous' },
    ] as const
    return kinds.flatMap(({ kind, words }) =>
      states.map(
        ({ when, ours, peer, theirs, limit }): Row => ({
          group: 'daemon',
          unit: 'MiB',
          case: `daemon, ${words} ${when}`,
          ours: stats([ours[kind]]),
          peer,
          theirs: stats([theirs[kind]]),
          limit: kind === 'rss' ? limit : undefined,
        }),
      ),
    )
  } finally {
    Netns.deleteNamed(pathOf(name))
    await bare.stop()
    await service.stop()
  }
}
