/** portmap on a node that has thousands of mappings already. */
import { spawnSync } from 'node:child_process'
import { dispatch, type OpenHost, openHost } from '../../cni/index.ts'
import type { JsonObject } from '../../cni/types.ts'
import { address, type Connection, link, Netns } from '../../netlink/index.ts'
import { plugins, portmap } from '../../plugins/index.ts'
import { type Contestant, pathOf, rounds, verbs } from '../contestant.ts'
import { type Launcher, path } from '../launcher.ts'
import type { Row } from '../row.ts'
import type { Setting } from '../setting.ts'
import { Samples } from '../stats.ts'
import { cniVersion } from './network.ts'

const MAPPINGS = 5_000
/** Of each container. */
const EACH = 10
const FIRST_PORT = 20_000

const addressOf = (n: number): string => `10.34.${n >> 8}.${n & 255}`

/** What an interface plugin would have printed: portmap only looks at the result. */
const resultOf = (address: string): JsonObject => ({
  cniVersion,
  interfaces: [{ name: 'eth0', sandbox: '/run/netns/many' }],
  ips: [{ address: `${address}/16`, gateway: '10.34.0.1', interface: 0 }],
})

const confOf = (name: string, address: string, hostPorts: readonly number[]): JsonObject => ({
  cniVersion,
  name,
  type: 'portmap',
  snat: true,
  runtimeConfig: {
    portMappings: hostPorts.map((hostPort) => ({ hostPort, containerPort: 80, protocol: 'tcp' })),
  },
  prevResult: resultOf(address),
})

const portsOf = (n: number): number[] => Array.from({ length: EACH }, (_, i) => FIRST_PORT + n * EACH + i)

/** The rules that the reference plugin makes for as many containers, in the form of iptables-restore. */
const peerRules = (): string => {
  const chains: string[] = []
  const rules: string[] = []
  for (let n = 0; n < MAPPINGS / EACH; n++) {
    const chain = `CNI-DN-${n.toString(16).padStart(21, '0')}`
    const address = addressOf(n + 256)
    chains.push(`:${chain} - [0:0]`)
    rules.push(
      `-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"many\\" id: \\"${n}\\"" -m multiport --dports ${portsOf(n).join(',')} -j ${chain}`,
      ...portsOf(n).flatMap((port) => [
        `-A ${chain} -s ${address}/16 -p tcp -m tcp --dport ${port} -j CNI-HOSTPORT-SETMARK`,
        `-A ${chain} -s 127.0.0.1/32 -p tcp -m tcp --dport ${port} -j CNI-HOSTPORT-SETMARK`,
        `-A ${chain} -p tcp -m tcp --dport ${port} -j DNAT --to-destination ${address}:80`,
      ]),
    )
  }
  return ['*nat', ...chains, ...rules, 'COMMIT', ''].join('\n')
}
/** The bridge that containers' addresses are behind: what is sent to loopback has to find its way there. */
const plug = async (connection: Connection): Promise<void> => {
  await connection.run(link.add({ name: 'cni-many', kind: 'bridge', up: true }))
  const { index } = await connection.run(link.get('cni-many'))
  await connection.run(address.add({ index, address: '10.34.0.1/16' }))
}

/** Ours, in a namespace with mappings that ours have made. */
const called = async (host: OpenHost, name: string): Promise<Contestant> => {
  await plug(host.connections!.rtnetlink)
  const call = { ifName: 'eth0', netnsPath: pathOf(name) }
  for (let n = 0; n < MAPPINGS / EACH; n++) {
    const conf = confOf('many', addressOf(n + 256), portsOf(n))
    await dispatch(portmap, { verb: 'ADD', conf, containerId: `many-${n}`, ...call }, host)
  }
  const conf = confOf('many', '10.34.0.9', [8000])
  return {
    name,
    async run(verb) {
      const start = performance.now()
      await dispatch(portmap, { verb, conf, containerId: name, ...call }, host)
      return performance.now() - start
    },
  }
}

/** The peer's, among rules like those it would have made. */
const executed = async (
  launcher: Launcher,
  binDir: string,
  connection: Connection,
  name: string,
): Promise<Contestant> => {
  await plug(connection)
  const call = { binDir, type: 'portmap', containerId: name, netns: pathOf(name) }
  const conf = confOf('many', '10.34.0.9', [8001])
  // Its own chains come with its first container.
  for (const command of ['ADD', 'DEL']) await launcher.run({ ...call, command, conf })
  const { status, stderr } = spawnSync('iptables-restore', ['--noflush'], {
    input: peerRules(),
    encoding: 'utf8',
    env: { PATH: path },
  })
  if (status !== 0) throw new Error(`iptables-restore: ${stderr}`)
  return { name, run: async (verb) => (await launcher.run({ ...call, command: verb, conf })).took }
}

/** @returns rows of ADD and DEL of one mapping among {@link MAPPINGS} */
export const manyRows = async (
  setting: Setting,
  peers: string,
  launcher: Launcher,
  connection: Connection,
): Promise<Row[]> => {
  const names = ['many-host', 'many-call', 'many-peer'] as const
  for (const name of names) Netns.createNamed(pathOf(name)).close()
  const hostNetns = Netns.open(pathOf('many-host'))
  using host = openHost({ plugins, sync: true, hostNetns })
  try {
    const contestants = [
      await called(host, 'many-call'),
      await executed(launcher, peers, connection, 'many-peer'),
    ]
    const samples = new Samples()
    await rounds(contestants, setting.quick ? 5 : 30, async (contestant) => {
      for (const verb of verbs) samples.add(`${verb} ${contestant.name}`, await contestant.run(verb))
    })
    return verbs.map((verb) => ({
      group: 'chain',
      case: `${verb} portmap among ${MAPPINGS} mappings, in process`,
      ours: samples.of(`${verb} many-call`),
      peer: 'Go, executed',
      theirs: samples.of(`${verb} many-peer`),
    }))
  } finally {
    hostNetns.close()
    for (const name of names) Netns.deleteNamed(pathOf(name))
  }
}
