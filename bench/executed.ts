/** Our bridge executable against the reference one, each with the host-local of its own folder. */
import { Netns } from '../netlink/netns.ts'
import { Launcher } from './launcher.ts'
import type { Findings, Row } from './row.ts'
import { classic, type Setting, withPrevious } from './setting.ts'
import { Samples } from './stats.ts'

const TARGET = 3

export const executed = async (setting: Setting): Promise<Findings> => {
  if (!setting.peers) return { rows: [], notes: [] }
  const launcher = new Launcher(setting)
  const samples = new Samples()
  const contestants = [
    { name: 'ours', binDir: setting.ours, subnet: '10.24.0.0/16' },
    { name: 'peer', binDir: setting.peers, subnet: '10.25.0.0/16' },
  ]
  const netns = (name: string): string => `/run/netns/executed-${name}`
  const names = contestants.flatMap(({ name }) => [name, `${name}-standing`])
  for (const name of names) Netns.createNamed(netns(name)).close()

  type Contestant = (typeof contestants)[number]
  const attachment = ({ name, binDir, subnet }: Contestant, ipMasq: boolean, container: string) => ({
    binDir,
    type: 'bridge',
    containerId: container,
    netns: netns(container),
    conf: classic({ name: `${name}${ipMasq ? '-masq' : ''}`, bridge: `cni-${name}`, subnet, ipMasq }),
  })
  const pair = async (contestant: Contestant, ipMasq: boolean): Promise<void> => {
    const { name } = contestant
    const call = attachment(contestant, ipMasq, name)
    const label = `${ipMasq ? 'with' : 'without'} ipMasq`
    const added = await launcher.run({ ...call, command: 'ADD' })
    samples.add(`ADD ${label} ${name}`, added.took)
    const conf = withPrevious(call.conf, added.json ?? {})
    samples.add(`DEL ${label} ${name}`, (await launcher.run({ ...call, command: 'DEL', conf })).took)
  }
  const version = async ({ name, binDir }: Contestant): Promise<void> => {
    const conf = { cniVersion: '1.0.0' }
    const { took } = await launcher.run({ binDir, type: 'bridge', command: 'VERSION', conf })
    samples.add(`VERSION ${name}`, took)
  }
  /** Everybody in each round; who begins changes. */
  const rounds = async (each: (contestant: Contestant) => Promise<void>): Promise<void> => {
    for (let i = 0; i < (setting.quick ? 6 : 40); i++)
      for (const contestant of i % 2 ? contestants.toReversed() : contestants) await each(contestant)
  }

  try {
    // A host has other containers: the bridges are up.
    for (const contestant of contestants)
      await launcher.run({ ...attachment(contestant, false, `${contestant.name}-standing`), command: 'ADD' })
    for (const ipMasq of [true, false]) {
      setting.progress(`executed, ${ipMasq ? 'with' : 'without'} ipMasq`)
      await rounds((contestant) => pair(contestant, ipMasq))
    }
    setting.progress('executed, VERSION')
    await rounds(version)
  } finally {
    await launcher.close()
    for (const name of names) Netns.deleteNamed(netns(name))
  }
  const row = (what: string, target?: number): Row => ({
    group: 'executed',
    case: `${what}, executed`,
    ours: samples.of(`${what} ours`),
    peer: 'Go, executed',
    theirs: samples.of(`${what} peer`),
    target,
  })
  return {
    rows: [
      row('ADD with ipMasq', TARGET),
      row('ADD without ipMasq', TARGET),
      row('DEL with ipMasq'),
      row('DEL without ipMasq'),
      row('VERSION'),
    ],
    notes: ['with ipMasq, executed: the Go bridge runs iptables, ours asks nf_tables itself'],
  }
}
