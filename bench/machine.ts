import { spawnSync } from 'node:child_process'
import { realpathSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { join } from 'node:path'
import type { Machine } from './report.ts'

const ask = (file: string, args: readonly string[]): { readonly stdout: string; readonly stderr: string } => {
  const { stdout, stderr } = spawnSync(file, args, { encoding: 'utf8' })
  return { stdout: stdout ?? '', stderr: stderr ?? '' }
}

/** A CNI plugin says what it is when it is asked nothing. Where it does not know, Debian may. */
const introduce = (folder: string, type: string): string => {
  const file = realpathSync(join(folder, type))
  const [said = ''] = ask(file, []).stderr.split('\n')
  if (said !== '' && !said.includes('unknown')) return said
  const [owner = ''] = ask('dpkg-query', ['--search', file]).stdout.split(':')
  const version = owner && ask('dpkg-query', ['--show', owner]).stdout.trim().replace('\t', ' ')
  return `CNI ${type} plugin (${version || 'of unknown version'})`
}

/** @param before the load when the bench began */
export const machine = (before: number, peers: string | null): Machine => ({
  kernel: release(),
  cpu: cpus()[0]?.model ?? 'unknown processor',
  cores: cpus().length,
  memoryMiB: Math.round(totalmem() / 2 ** 20),
  node: process.version,
  peers: peers ? ['bridge', 'host-local'].map((type) => introduce(peers, type)) : [],
  load: [before, loadavg()[0]!],
})
