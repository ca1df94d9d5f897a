/** How late the daemon's event loop gets while many containers go at the same moment. */
import { existsSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { Netns } from '../../netlink/netns.ts'
import { pathOf } from '../contestant.ts'
import type { Execution, Launcher } from '../launcher.ts'
import type { Row } from '../row.ts'
import { Service } from '../service.ts'
import { classic, type Setting } from '../setting.ts'
import { Samples } from '../stats.ts'

const COUNT = 200
const ROUNDS = 10
/** Milliseconds. */
const LIMIT = 10

/** Milliseconds between two looks at the event loop. */
const RESOLUTION = 1

/**
 * Loaded into the daemon before it begins: answers on a socket of its own with the longest time in milliseconds, since it
 * was last asked, that the loop was late. What its thread waited for a processor (proc_pid_schedstat(5)) is not counted:
 * that is the doing of 200 launchers, and of the machine.
 */
const probe = (socket: string): string => `
const { openSync, readSync } = require('node:fs')
const statistics = openSync('/proc/self/schedstat')
const bytes = Buffer.alloc(128)
const waited = () => Number(bytes.latin1Slice(0, readSync(statistics, bytes, 0, 128, 0)).split(' ')[1]) / 1e6
let longest = 0
let last = [performance.now(), waited()]
setInterval(() => {
  const now = [performance.now(), waited()]
  longest = Math.max(longest, now[0] - last[0] - ${RESOLUTION} - (now[1] - last[1]))
  last = now
}, ${RESOLUTION})
require('node:net').createServer((caller) => {
  caller.end(String(longest))
  longest = 0
}).listen(${JSON.stringify(socket)})
`

/** Its Node scripts, on the Node of the program that is shipped: nothing can be loaded into that itself. */
export const stall = async (setting: Setting, launcher: Launcher): Promise<Row[]> => {
  const { ours, program, scripts, scratch, quick } = setting
  const [socket, asked, script] = ['stall.sock', 'probe.sock', 'probe.cjs'].map((name) =>
    join(scratch, name),
  ) as [string, string, string]
  writeFileSync(script, probe(asked))
  const linkwright = join(scripts, '../../cli/linkwright.cjs')
  const args = ['--require', script, linkwright, 'daemon', '--no-dhcp', '--socket', socket]
  const service = await Service.start(program.node, args, () => existsSync(socket))
  const longest = async (): Promise<number> => Number(await text(connect(asked)))
  const names = Array.from({ length: quick ? COUNT / 10 : COUNT }, (_, i) => `stall-${i}`)
  const conf = classic({ name: 'stall', bridge: 'cni-stall', subnet: '10.48.0.0/16', ipMasq: false })
  const executions = (command: string): Execution[] =>
    names.map((one) => ({
      ...{ binDir: ours, type: 'bridge', command, conf, env: { LINKWRIGHT_SOCKET: socket } },
      ...{ containerId: one, netns: pathOf(one) },
    }))
  const samples = new Samples()
  try {
    // The first one finds code that has not been compiled.
    for (let round = quick ? 1 : 0; round <= (quick ? 2 : ROUNDS); round++) {
      for (const one of names) Netns.createNamed(pathOf(one)).close()
      try {
        for (const command of ['VERSION', 'ADD', 'DEL']) {
          await longest()
          await launcher.runAll(executions(command))
          const delay = await longest()
          if (round > 0) samples.add(command, delay)
        }
      } finally {
        for (const one of names) Netns.deleteNamed(pathOf(one))
      }
    }
  } finally {
    await service.stop()
  }
  return ['DEL', 'ADD'].map((command) => ({
    group: 'daemon',
    case: `daemon, longest delay of its event loop, ${names.length} ${command}s at once`,
    ours: samples.of(command),
    peer: `${names.length} VERSIONs at once`,
    theirs: samples.of('VERSION'),
    limit: command === 'DEL' ? LIMIT : undefined,
  }))
}
