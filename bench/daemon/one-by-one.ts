/** One ADD or DEL after the other through launcher and daemon, against the Go plugins. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cases } from '../cases.ts'
import { verbs } from '../contestant.ts'
import { type Course, race, versusGo } from '../race.ts'
import type { Findings, Row } from '../row.ts'
import { workOf } from './logged.ts'
import type { Server } from './server.ts'

const TARGET = 0.33
/** Attachments before they are counted: a daemon has served others before. */
const WARM_UP = 200

export const oneByOne = async (course: Course, { service, env }: Server): Promise<Findings> => {
  const { setting } = course
  const peers = setting.peers!
  // Names of their own: what others of the bench have made is on the host, too.
  const served = { name: 'served', net: 41, binDir: setting.ours, env, warmUp: WARM_UP }
  const racers = [served, { name: 'other', net: 42, binDir: peers, env: undefined }]
  const rows: Row[] = []
  const notes: string[] = []
  for (const one of cases.filter(({ type }) => existsSync(join(peers, type)))) {
    setting.progress(`daemon, ${one.name}`)
    const samples = await race(course, one, racers)
    const shares: string[] = []
    for (const verb of verbs) {
      const names = [`${verb} served`, `${verb} other`] as const
      const target = verb === 'ADD' ? TARGET : undefined
      const row = versusGo(
        'daemon',
        samples,
        `${verb} ${one.name}, through launcher and daemon`,
        names,
        target,
      )
      rows.push(row)
      const work = workOf(service.printed, String(one.conf(served).name), verb)
      if (work !== null) shares.push(`${verb} ${work.toFixed(2)} of ${row.ours.median.toFixed(2)} ms`)
    }
    notes.push(
      `${one.name}, work in the daemon by its log, the rest is launcher and connection: ${shares.join(', ')}`,
    )
  }
  return { rows, notes }
}
