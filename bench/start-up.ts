/** What each mode costs before it does anything: VERSION, which reads a configuration and answers. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { rounds } from './contestant.ts'
import { serve } from './daemon/server.ts'
import { type Execution, Launcher } from './launcher.ts'
import { versusGo } from './race.ts'
import type { Findings, Row } from './row.ts'
import type { Setting } from './setting.ts'
import { Samples } from './stats.ts'

/** Runs before they count: files are in memory then, and a daemon has served others before. */
const WARM_UP = 20

/** Programs that do nothing, in a folder: of C, an empty script of each Node. */
const idlers = ({ scratch, nothing, program }: Setting): string => {
  const folder = join(scratch, 'start-up')
  mkdirSync(folder, { recursive: true })
  symlinkSync(nothing, join(folder, 'process'))
  for (const [name, node] of [
    ['own', program.node],
    ['host', process.execPath],
  ] as const)
    writeFileSync(join(folder, name), `#!${node}\n`, { mode: 0o755 })
  return folder
}

export const startUp = async (setting: Setting): Promise<Findings> => {
  const { ours, scripts, peers, program, quick } = setting
  if (!peers) return { rows: [], notes: [] }
  setting.progress('start-up')
  const launcher = new Launcher(setting)
  const { service, env } = await serve(setting, 'start-up')
  const samples = new Samples()
  const idle = idlers(setting)
  const bridge = (binDir: string, variables?: Execution['env']) => ({
    binDir,
    type: 'bridge',
    env: variables,
  })
  const contestants = [
    { name: 'peer', ...bridge(peers) },
    { name: 'served', ...bridge(ours, env) },
    { name: 'standalone', ...bridge(ours) },
    ...(program.kind === 'archive' ? [{ name: 'script', ...bridge(scripts) }] : []),
    ...['process', 'own', 'host'].map((name) => ({ name, binDir: idle, type: name })),
  ]
  const conf = { cniVersion: '1.0.0' }
  const run = async ({ name: _, ...execution }: (typeof contestants)[number]): Promise<number> =>
    (await launcher.run({ ...execution, command: 'VERSION', conf })).took
  try {
    for (let i = 0; i < (quick ? 2 : WARM_UP); i++) for (const one of contestants) await run(one)
    await rounds(contestants, quick ? 10 : 100, async (one) => samples.add(one.name, await run(one)))
  } finally {
    await launcher.close()
    await service.stop()
  }
  const versus = (what: string, name: string): Row =>
    versusGo('start-up', samples, `VERSION, ${what}`, [name, 'peer'])
  const [nothing, host] = ['process', 'host'].map((name) => samples.of(name).median.toFixed(2))
  return {
    rows: [
      versus('through launcher and daemon', 'served'),
      versus('standalone', 'standalone'),
      ...(samples.has('script') ? [versus('standalone script of the npm package', 'script')] : []),
      {
        ...versus('standalone', 'standalone'),
        peer: `Node ${program.version}, empty script`,
        theirs: samples.of('own'),
      },
    ],
    notes: [
      `start-up: a C program that does nothing takes ${nothing} ms, an empty script of Node ${process.version} ${host} ms`,
    ],
  }
}
