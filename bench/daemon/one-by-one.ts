/** One ADD or DEL after the other through launcher and daemon, against the Go plugins. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cases } from '../cases.ts'
import { verbs } from '../contestant.ts'
import { type Course, race, versusGo } from '../race.ts'
import type { Row } from '../row.ts'

const TARGET = 0.33
/** Attachments before they are counted: a daemon has served others before. */
const WARM_UP = 200

/** @param env how launchers find the daemon */
export const oneByOne = async (course: Course, env: Readonly<Record<string, string>>): Promise<Row[]> => {
  const { setting } = course
  const peers = setting.peers!
  // Names of their own: what others of the bench have made is on the host, too.
  const racers = [
    { name: 'served', net: 41, binDir: setting.ours, env, warmUp: WARM_UP },
    { name: 'other', net: 42, binDir: peers, env: undefined },
  ]
  const rows: Row[] = []
  for (const one of cases.filter(({ type }) => existsSync(join(peers, type)))) {
    setting.progress(`daemon, ${one.name}`)
    const samples = await race(course, one, racers)
    for (const verb of verbs) {
      const names = [`${verb} served`, `${verb} other`] as const
      const target = verb === 'ADD' ? TARGET : undefined
      rows.push(
        versusGo('daemon', samples, `${verb} ${one.name}, through launcher and daemon`, names, target),
      )
    }
  }
  return rows
}
