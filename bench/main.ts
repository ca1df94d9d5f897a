/**
 * The measuring itself: bundled and started by scripts/bench.mjs in namespaces of its own, where this process's network
 * namespace plays the host. Takes one argument, what to do, as JSON.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { chainRows } from './chain/index.ts'
import { daemonRows } from './daemon/index.ts'
import { dhcpRows } from './dhcp/index.ts'
import { executed } from './executed.ts'
import { hostLocalRows } from './host-local.ts'
import { inProcess } from './in-process.ts'
import { machine } from './machine.ts'
import { asJson, asText, type Report, type Results } from './report.ts'
import type { Findings } from './row.ts'
import type { Setting } from './setting.ts'
import { startUp } from './start-up.ts'
import { fillTables } from './tables.ts'

/** What scripts/bench.mjs asks for, where nothing is to be measured. */
interface Refresh {
  /** The page whose tables are to be written. */
  readonly page: string
  readonly results: string
}

/** What it asks for else. */
interface Order extends Omit<Setting, 'progress'> {
  /** What each of the peers is. */
  readonly introductions: readonly string[]
  /** Where there are no peers: the folder where they were looked for. */
  readonly missing: string | null
  /** Names of the groups to run. */
  readonly only: readonly string[]
  readonly json: boolean
  /** Where the report goes as JSON too; null: nowhere. */
  readonly results: string | null
}

const groups: Readonly<Record<string, (setting: Setting) => Promise<Findings>>> = {
  'in-process': inProcess,
  'start-up': startUp,
  executed,
  'host-local': hostLocalRows,
  daemon: daemonRows,
  chain: chainRows,
  dhcp: dhcpRows,
}

const main = async (): Promise<void> => {
  const asked = JSON.parse(process.argv[2] ?? '') as Order | Refresh
  if ('page' in asked) {
    const report = JSON.parse(readFileSync(asked.results, 'utf8')) as Results
    writeFileSync(asked.page, fillTables(readFileSync(asked.page, 'utf8'), report))
    return
  }
  const order = asked
  const { missing, introductions } = order
  const notes = missing
    ? [`no peers in ${missing}: what is compared with them is left out (PEER_CNI_PATH names another folder)`]
    : []
  const setting: Setting = { ...order, progress: (text) => console.error(`bench: ${text}`) }
  const load = loadavg()[0]!
  const found: Findings[] = []
  for (const name of order.only) found.push(await groups[name]!(setting))
  const report: Report = {
    date: new Date().toISOString(),
    quick: order.quick,
    machine: machine(load, order.program, introductions),
    rows: found.flatMap(({ rows }) => rows),
    notes: [...notes, ...found.flatMap((one) => one.notes)],
  }
  console.log(order.json ? asJson(report).trimEnd() : asText(report))
  if (order.results) writeFileSync(order.results, asJson(report))
}

main().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
