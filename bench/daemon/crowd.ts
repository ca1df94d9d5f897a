/** Many containers at the same moment, as when a node starts. */
import { Netns } from '../../netlink/netns.ts'
import { pathOf, verbs } from '../contestant.ts'
import type { Execution, Launcher } from '../launcher.ts'
import type { Row } from '../row.ts'
import { classic, type Setting } from '../setting.ts'
import { Samples } from '../stats.ts'

const COUNT = 200
const ROUNDS = 5
const TARGET = 0.33

/** @param env how launchers find the daemon */
export const crowd = async (
  setting: Setting,
  launcher: Launcher,
  env: Readonly<Record<string, string>>,
): Promise<Row[]> => {
  const { ours, peers, quick } = setting
  const count = quick ? COUNT / 10 : COUNT
  const samples = new Samples()
  const names = Array.from({ length: count }, (_, i) => `crowd-${i}`)
  const racers = [
    { name: 'served', binDir: ours, env, net: 43 },
    { name: 'peer', binDir: peers!, env: {}, net: 44 },
  ]
  for (let round = 0; round < (quick ? 1 : ROUNDS); round++)
    for (const { name, binDir, env, net } of round % 2 ? racers.toReversed() : racers) {
      for (const one of names) Netns.createNamed(pathOf(one)).close()
      try {
        const conf = classic({
          name: `crowd-${name}`,
          bridge: `crowd-${name}`,
          subnet: `10.${net}.0.0/16`,
          ipMasq: false,
        })
        const executions = (command: string): Execution[] =>
          names.map((one) => ({
            ...{ binDir, type: 'bridge', command, conf, env },
            ...{ containerId: one, netns: pathOf(one) },
          }))
        for (const verb of verbs) samples.add(`${verb} ${name}`, await launcher.runAll(executions(verb)))
      } finally {
        for (const one of names) Netns.deleteNamed(pathOf(one))
      }
    }
  return verbs.map((verb) => ({
    group: 'daemon',
    case: `${count} ${verb}s at once, through launcher and daemon`,
    ours: samples.of(`${verb} served`),
    peer: 'Go, executed',
    theirs: samples.of(`${verb} peer`),
    target: verb === 'ADD' ? TARGET : undefined,
  }))
}
