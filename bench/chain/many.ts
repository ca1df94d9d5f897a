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

/** Of other containers, before the mapping that is measured is made. */
const LEVELS = [0, 100, 5_000] as const
/** Of each container. */
const EACH = 10
const FIRST_PORT = 20_000
const BRIDGE = '10.34.0.1'
const CONTAINER = '10.34.0.9'
const PEER = 'Go, executed'

/** The address of one of the others. */
const addressOf = (n: number): string => `10.34.${(n >> 8) + 1}.${n & 255}`

/** What an interface plugin would have printed: portmap only looks at the result. */
const resultOf = (address: string): JsonObject => ({
  cniVersion,
  interfaces: [{ name: 'eth0', sandbox: '/run/netns/many' }],
  ips: [{ address: `${address}/16`, gateway: BRIDGE, interface: 0 }],
})

const confOf = (address: string, hostPorts: readonly number[]): JsonObject => ({
  cniVersion,
  name: 'many',
  type: 'portmap',
  snat: true,
  runtimeConfig: {
    portMappings: hostPorts.map((hostPort) => ({ hostPort, containerPort: 80, protocol: 'tcp' })),
  },
  prevResult: resultOf(address),
})

const portsOf = (n: number): number[] => Array.from({ length: EACH }, (_, i) => FIRST_PORT + n * EACH + i)

/** The rules that the reference plugin makes for containers, in the form of iptables-restore. */
const peerRules = (first: number, end: number): string => {
  const chains: string[] = []
  const rules: string[] = []
  for (let n = first; n < end; n++) {
    const chain = `CNI-DN-${n.toString(16).padStart(21, '0')}`
    const address = addressOf(n)
    const entry = `-p tcp -m comment --comment "dnat name: \\"many\\" id: \\"${n}\\""`
    chains.push(`:${chain} - [0:0]`)
    rules.push(
      `-A CNI-HOSTPORT-DNAT ${entry} -m multiport --dports ${portsOf(n).join(',')} -j ${chain}`,
      ...portsOf(n).flatMap((port) => [
        `-A ${chain} -s ${address}/16 -p tcp -m tcp --dport ${port} -j CNI-HOSTPORT-SETMARK`,
        `-A ${chain} -s 127.0.0.1/32 -p tcp -m tcp --dport ${port} -j CNI-HOSTPORT-SETMARK`,
        `-A ${chain} -p tcp -m tcp --dport ${port} -j DNAT --to-destination ${address}:80`,
      ]),
    )
  }
  return ['*nat', ...chains, ...rules, 'COMMIT', ''].join('\n')
}

/**
 * The bridge that containers' addresses are behind. The container's own is the node's: what is sent to the mapping
 * comes back to it.
 */
const plug = async (connection: Connection): Promise<void> => {
  await connection.run(link.set('lo', { up: true }))
  await connection.run(link.add({ name: 'cni-many', kind: 'bridge', up: true }))
  const { index } = await connection.run(link.get('cni-many'))
  await connection.run(address.add({ index, address: `${BRIDGE}/16` }))
  await connection.run(address.add({ index, address: `${CONTAINER}/32` }))
}

/** One who maps ports, on a node of its own. */
interface Mapper extends Contestant {
  readonly hostPort: number
  /** The node's network namespace. */
  readonly node: string
  /** Mappings of containers from one number to another. */
  populate(first: number, end: number): Promise<void>
}

const called = (host: OpenHost, name: string, node: string): Mapper => {
  const call = { ifName: 'eth0', netnsPath: pathOf(name) }
  const hostPort = 8000
  const conf = confOf(CONTAINER, [hostPort])
  return {
    name,
    node,
    hostPort,
    async run(verb) {
      const start = performance.now()
      await dispatch(portmap, { verb, conf, containerId: name, ...call }, host)
      return performance.now() - start
    },
    async populate(first, end) {
      for (let n = first; n < end; n++) {
        const own = confOf(addressOf(n), portsOf(n))
        await dispatch(portmap, { verb: 'ADD', conf: own, containerId: `many-${n}`, ...call }, host)
      }
    },
  }
}

const executed = (launcher: Launcher, binDir: string, name: string, node: string): Mapper => {
  const call = { binDir, type: 'portmap', containerId: name, netns: pathOf(name) }
  const hostPort = 8001
  const conf = confOf(CONTAINER, [hostPort])
  return {
    name,
    node,
    hostPort,
    run: async (verb) => (await launcher.run({ ...call, command: verb, conf })).took,
    async populate(first, end) {
      if (first === end) return
      const { status, stderr } = spawnSync('iptables-restore', ['--noflush'], {
        input: peerRules(first, end),
        encoding: 'utf8',
        env: { PATH: path },
      })
      if (status !== 0) throw new Error(`iptables-restore: ${stderr}`)
    },
  }
}

/** In a Node of its own, in the node's namespace: a server at the container's address, and who connects to the mapping. */
const connecting = `
const net = require('node:net')
const [host, port, container, count] = process.argv.slice(1)
const server = net.createServer((socket) => socket.end()).listen(80, container, async () => {
  const times = []
  for (let i = 0; i < Number(count); i++) {
    const start = performance.now()
    await new Promise((resolve, reject) => {
      const socket = net.connect({ host, port: Number(port) }, () => {
        times.push(performance.now() - start)
        socket.resume().on('close', resolve)
      })
      socket.on('error', reject)
    })
  }
  console.log(JSON.stringify(times))
  server.close()
})`

/** Milliseconds of connections, each a new flow that has to find the mapping. */
const connect = ({ node, hostPort }: Mapper, count: number): number[] => {
  const args = ['-e', connecting, BRIDGE, String(hostPort), CONTAINER, String(count)]
  const { status, stdout, stderr } = spawnSync(
    'nsenter',
    [`--net=${node}`, '--', process.execPath, ...args],
    {
      encoding: 'utf8',
      env: { PATH: path },
      timeout: 60_000,
    },
  )
  if (status !== 0) throw new Error(`connections to a mapped port: ${stderr}`)
  return JSON.parse(stdout) as number[]
}

/** @returns rows of ADD and DEL of one mapping among others, and of connections to it */
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
  const samples = new Samples()
  const mappers = [
    called(host, 'many-call', pathOf('many-host')),
    executed(launcher, peers, 'many-peer', `/proc/${process.pid}/ns/net`),
  ]
  try {
    for (const each of [host.connections!.rtnetlink, connection]) await plug(each)
    // The chains that all share come with the first container.
    for (const mapper of mappers) for (const verb of verbs) await mapper.run(verb)
    let before = 0
    for (const level of LEVELS) {
      for (const mapper of mappers) await mapper.populate(before / EACH, level / EACH)
      before = level
      for (const mapper of mappers) await mapper.run('ADD')
      await rounds(mappers, setting.quick ? 2 : 6, async (mapper) => {
        for (const took of connect(mapper, setting.quick ? 50 : 200))
          samples.add(`${level} ${mapper.name}`, took)
      })
      for (const mapper of mappers) await mapper.run('DEL')
    }
    await rounds(mappers, setting.quick ? 5 : 30, async (mapper) => {
      for (const verb of verbs) samples.add(`${verb} ${mapper.name}`, await mapper.run(verb))
    })
  } finally {
    hostNetns.close()
    for (const name of names) Netns.deleteNamed(pathOf(name))
  }
  const row = (what: string, key: string | number): Row => ({
    group: 'chain',
    case: what,
    ours: samples.of(`${key} many-call`),
    peer: PEER,
    theirs: samples.of(`${key} many-peer`),
  })
  return [
    ...verbs.map((verb) => row(`${verb} portmap among ${LEVELS.at(-1)} mappings, in process`, verb)),
    ...LEVELS.map((level) => row(`connection to a mapped port among ${level} others`, level)),
  ]
}
