/** Our executables without a daemon against the reference ones, each with the host-local of its own folder; and the same in process. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { openHost } from '../cni/index.ts'
import { plugins } from '../plugins/index.ts'
import { type Case, cases } from './cases.ts'
import { type Verb, verbs } from './contestant.ts'
import { Launcher } from './launcher.ts'
import { type Course, type Racer, race, versusGo } from './race.ts'
import type { Findings, Row } from './row.ts'
import type { Setting } from './setting.ts'

const TARGET = 3
/** Attachments before those in process are measured. */
const WARM_UP = 100

/** One case: ours and the peer's executed, and ours in process. */
const measure = async (course: Course, owners: readonly Racer[], one: Case): Promise<Row[]> => {
  const call = { name: 'call', net: 26, binDir: null, warmUp: WARM_UP }
  const samples = await race(course, one, one.inProcess ? [...owners, call] : owners)
  const versus = (what: string, ours: string, verb: Verb, target?: number): Row =>
    versusGo('executed', samples, `${verb} ${one.name}, ${what}`, [`${verb} ${ours}`, `${verb} peer`], target)
  return verbs.flatMap((verb) => [
    versus('standalone', 'ours', verb, verb === 'ADD' ? TARGET : undefined),
    ...(one.inProcess ? [versus('in process', 'call', verb)] : []),
  ])
}

export const executed = async (setting: Setting): Promise<Findings> => {
  const { peers } = setting
  if (!peers) return { rows: [], notes: [] }
  const launcher = new Launcher(setting)
  using host = openHost({ plugins, sync: true })
  const owners = [
    { name: 'ours', binDir: setting.ours, net: 24 },
    { name: 'peer', binDir: peers, net: 25 },
  ]
  const rows: Row[] = []
  const notes = ['with ipMasq: the Go plugins run iptables, ours ask nf_tables themselves']
  try {
    for (const one of cases) {
      setting.progress(`executed, ${one.name}`)
      if (existsSync(join(peers, one.type)))
        rows.push(...(await measure({ setting, launcher, host }, owners, one)))
      else notes.push(`${one.type} left out: there is none in ${peers}`)
    }
  } finally {
    await launcher.close()
  }
  return { rows, notes }
}
