/** A network that a crash has left many attachments of: one GC, against a DEL of each by the Go plugin. */
import { type Added, dispatch, type OpenHost } from '../../cni/index.ts'
import { Netns } from '../../netlink/netns.ts'
import { pathOf, rounds } from '../contestant.ts'
import type { Launcher } from '../launcher.ts'
import type { Row } from '../row.ts'
import { classic, type Setting, withPrevious } from '../setting.ts'
import { Samples } from '../stats.ts'

const COUNT = 500
const ROUNDS = 3
const TARGET = 0.05

const confOf = (name: string, net: number) => ({
  ...classic({ name, bridge: name, subnet: `10.${net}.0.0/16`, ipMasq: false }),
  cniVersion: '1.1.0',
})

/** @param env how launchers find the daemon */
export const stale = async (
  setting: Setting,
  launcher: Launcher,
  host: OpenHost,
  env: Readonly<Record<string, string>>,
): Promise<Row[]> => {
  const { ours, peers, quick } = setting
  const count = quick ? COUNT / 10 : COUNT
  const bridge = host.plugins.get('bridge')!
  /** Attachments whose containers have not ended: the hardest, for their interfaces are there. */
  const attach = async (conf: ReturnType<typeof confOf>): Promise<Added[]> => {
    const added: Added[] = []
    for (let i = 0; i < count; i++) {
      const containerId = `stale-${i}`
      const call = { verb: 'ADD' as const, conf, containerId, ifName: 'eth0', netnsPath: pathOf(containerId) }
      added.push((await dispatch(bridge, call, host))!)
    }
    return added
  }
  const names = Array.from({ length: count }, (_, i) => `stale-${i}`)
  const inNamespaces = async <T>(work: () => Promise<T>): Promise<T> => {
    for (const name of names) Netns.createNamed(pathOf(name)).close()
    try {
      return await work()
    } finally {
      for (const name of names) Netns.deleteNamed(pathOf(name))
    }
  }
  const samples = new Samples()
  const collect = () =>
    inNamespaces(async () => {
      const conf = confOf('stale-ours', 45)
      await attach(conf)
      const collecting = { ...conf, 'cni.dev/valid-attachments': [] }
      const call = { binDir: ours, type: 'bridge', command: 'GC', conf: collecting, env }
      samples.add('collected', (await launcher.run(call)).took)
    })
  const deleteEach = () =>
    inNamespaces(async () => {
      // Debian's plugins end with 1.0.0.
      const conf = { ...confOf('stale-peer', 46), cniVersion: '1.0.0' }
      const added = await attach(conf)
      let total = 0
      for (const [i, { json }] of added.entries()) {
        const own = withPrevious(conf, json)
        const call = { binDir: peers!, type: 'bridge', command: 'DEL', conf: own }
        const { took } = await launcher.run({ ...call, containerId: names[i], netns: pathOf(names[i]!) })
        total += took
      }
      samples.add('deleted', total)
    })
  await rounds([collect, deleteEach], quick ? 1 : ROUNDS, (one) => one())
  return [
    {
      group: 'daemon',
      case: `GC of ${count} attachments, through launcher and daemon`,
      ours: samples.of('collected'),
      peer: `${count} Go DELs`,
      theirs: samples.of('deleted'),
      target: TARGET,
    },
  ]
}
