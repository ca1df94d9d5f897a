/** Our executables against the reference ones, each with the host-local of its own folder; and the same in process. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type OpenHost, openHost } from '../cni/index.ts'
import { Netns } from '../netlink/netns.ts'
import { plugins } from '../plugins/index.ts'
import { type Case, cases, type Owner } from './cases.ts'
import { type Contestant, executing, Ours, pathOf, rounds, verbs } from './contestant.ts'
import { Launcher } from './launcher.ts'
import type { Findings, Row } from './row.ts'
import type { Setting } from './setting.ts'
import { Samples } from './stats.ts'

const TARGET = 3
/** Attachments before those in process are measured. */
const WARM_UP = 100

/** An owner whose plugins are executed. */
interface Executes extends Owner {
  readonly binDir: string
}

const row = (name: string, samples: Samples, ours: string, theirs: string, target?: number): Row => ({
  group: 'executed',
  case: name,
  ours: samples.of(ours),
  peer: 'Go, executed',
  theirs: samples.of(theirs),
  target,
})

/** One case: ours and the peer's executed, and ours in process. */
const measure = async (
  setting: Setting,
  launcher: Launcher,
  host: OpenHost,
  owners: readonly Executes[],
  one: Case,
): Promise<Row[]> => {
  const samples = new Samples()
  const netns: string[] = []
  const prepare = async (owner: Owner): Promise<void> => {
    for (const request of one.prepare?.(owner) ?? []) await host.connections!.rtnetlink.run(request)
  }
  const container = (name: string): string => {
    const unique = `executed-${name}`
    Netns.createNamed(pathOf(unique)).close()
    netns.push(unique)
    return unique
  }
  try {
    const contestants: { readonly key: string; readonly contestant: Contestant }[] = []
    for (const owner of owners) {
      await prepare(owner)
      const { binDir } = owner
      const conf = one.conf(owner)
      contestants.push({
        key: owner.name,
        contestant: executing(launcher, { binDir, conf, name: container(owner.name) }),
      })
      // A host has other containers: bridges are up.
      if (one.type === 'bridge')
        await executing(launcher, { binDir, conf, name: container(`${owner.name}-standing`) }).run('ADD')
    }
    if (one.inProcess) {
      const owner = { name: 'call', net: 26 }
      await prepare(owner)
      const contestant = new Ours(container(owner.name), host, one.conf(owner))
      for (let i = 0; i < (setting.quick ? WARM_UP / 10 : WARM_UP); i++)
        for (const verb of verbs) await contestant.run(verb)
      contestants.push({ key: 'call', contestant })
    }
    await rounds(contestants, setting.quick ? 6 : 40, async ({ key, contestant }) => {
      for (const verb of verbs) samples.add(`${verb} ${key}`, await contestant.run(verb))
    })
  } finally {
    for (const name of netns) Netns.deleteNamed(pathOf(name))
  }
  return verbs.flatMap((verb) => [
    row(
      `${verb} ${one.name}, executed`,
      samples,
      `${verb} ours`,
      `${verb} peer`,
      verb === 'ADD' ? TARGET : undefined,
    ),
    ...(one.inProcess
      ? [row(`${verb} ${one.name}, in process`, samples, `${verb} call`, `${verb} peer`)]
      : []),
  ])
}

export const executed = async (setting: Setting): Promise<Findings> => {
  const { peers } = setting
  if (!peers) return { rows: [], notes: [] }
  const launcher = new Launcher(setting)
  using host = openHost({ plugins, sync: true })
  const owners: readonly Executes[] = [
    { name: 'ours', binDir: setting.ours, net: 24 },
    { name: 'peer', binDir: peers, net: 25 },
  ]
  const rows: Row[] = []
  const notes = ['with ipMasq, executed: the Go plugins run iptables, ours ask nf_tables themselves']
  try {
    for (const one of cases) {
      setting.progress(`executed, ${one.name}`)
      if (existsSync(join(peers, one.type)))
        rows.push(...(await measure(setting, launcher, host, owners, one)))
      else notes.push(`${one.type} left out: there is none in ${peers}`)
    }
    setting.progress('executed, VERSION')
    const samples = new Samples()
    await rounds(owners, setting.quick ? 6 : 40, async ({ name, binDir }) => {
      const conf = { cniVersion: '1.0.0' }
      const { took } = await launcher.run({ binDir, type: 'bridge', command: 'VERSION', conf })
      samples.add(`VERSION ${name}`, took)
    })
    rows.push(row('VERSION, executed', samples, 'VERSION ours', 'VERSION peer'))
  } finally {
    await launcher.close()
  }
  return { rows, notes }
}
