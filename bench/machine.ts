import { cpus, loadavg, release, totalmem } from 'node:os'
import type { Machine } from './report.ts'
import type { Program } from './setting.ts'

/** @param before the load when the bench began */
export const machine = (before: number, { kind, version }: Program, peers: readonly string[]): Machine => ({
  kernel: release(),
  cpu: cpus()[0]?.model ?? 'unknown processor',
  cores: cpus().length,
  memoryMiB: Math.round(totalmem() / 2 ** 20),
  node: process.version,
  program: { kind, version },
  peers,
  load: [before, loadavg()[0]!],
})
