/** What the resident daemon makes of executed plugins. */
import { openHost } from '../../cni/index.ts'
import { plugins } from '../../plugins/index.ts'
import { Launcher } from '../launcher.ts'
import type { Findings, Row } from '../row.ts'
import type { Setting } from '../setting.ts'
import { crowd } from './crowd.ts'
import { memory } from './memory.ts'
import { oneByOne } from './one-by-one.ts'
import { serve } from './server.ts'
import { stale } from './stale.ts'
import { stall } from './stall.ts'

export const daemonRows = async (setting: Setting): Promise<Findings> => {
  if (!setting.peers) return { rows: [], notes: [] }
  const launcher = new Launcher(setting)
  const server = await serve(setting, 'daemon')
  const { service, env } = server
  using host = openHost({ plugins, sync: true })
  const rows: Row[] = []
  const notes: string[] = []
  try {
    const single = await oneByOne({ setting, launcher, host }, server)
    rows.push(...single.rows)
    notes.push(...single.notes)
    setting.progress('daemon, many at once')
    rows.push(...(await crowd(setting, launcher, env)))
    setting.progress('daemon, GC')
    rows.push(...(await stale(setting, launcher, host, env)))
    setting.progress('daemon, event loop')
    rows.push(...(await stall(setting, launcher)))
    setting.progress('daemon, memory')
    rows.push(...(await memory(setting, launcher)))
  } finally {
    await launcher.close()
    await service.stop()
  }
  return { rows, notes }
}
