/** Leases: our plugins and daemon against Go's, with one dnsmasq. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Netns } from '../../netlink/netns.ts'
import type { Findings } from '../row.ts'
import type { Setting } from '../setting.ts'
import { attachmentRows } from './attachments.ts'
import { atOnceRows, memoryRows } from './keepers.ts'
import { Lan } from './lan.ts'

const leftOut = (why: string): Findings => ({ rows: [], notes: [`dhcp left out: ${why}`] })

export const dhcpRows = async (setting: Setting): Promise<Findings> => {
  const { ours, peers } = setting
  if (!peers) return { rows: [], notes: [] }
  if (!existsSync(join(peers, 'dhcp'))) return leftOut(`there is none in ${peers}`)
  if (spawnSync('dnsmasq', ['--version'], { stdio: 'ignore' }).error) return leftOut('there is no dnsmasq')
  const owners = [
    { name: 'ours', binDir: ours },
    { name: 'peer', binDir: peers },
  ] as const
  const lan = await Lan.open(Netns.current())
  try {
    const all = [
      await attachmentRows(setting, lan, peers),
      await atOnceRows(setting, lan, owners),
      await memoryRows(setting, lan, owners),
    ]
    return { rows: all.flatMap(({ rows }) => rows), notes: all.flatMap(({ notes }) => notes) }
  } finally {
    await lan.close()
  }
}
