/** A container on two networks that only answer what comes from their own addresses. */
import type { JsonObject } from '../../../cni/types.ts'
import type { PrintedResult } from '../../support/plugin.ts'
import { type Container, type Space, space } from '../../support/space.ts'
import { type Node, type NodeCall, node } from './node.ts'

export const sbr = (more: JsonObject = {}): JsonObject => ({ type: 'sbr', ...more })

/** One of the container's interfaces, and the network behind it. */
export interface Wire {
  readonly ifName: string
  readonly ip: string
  readonly ip6: string
  readonly gateway: string
  readonly gateway6: string
}

const wire = (ifName: string, net: number): Wire => ({
  ifName,
  ...{ ip: `10.${net}.0.2`, ip6: `fd00:${net}::2`, gateway: `10.${net}.0.1`, gateway6: `fd00:${net}::1` },
})
export const wires = [wire('eth0', 1), wire('net1', 2)] as const

/** What both networks lead to. */
export const service = {
  ip: '203.0.113.9',
  ip6: 'fd00:99::9',
  /** Whether it answers a packet from `source`. */
  async reaches(from: Space, source: string, target: string): Promise<boolean> {
    const { status } = await from.run('ping', ['-n', '-c1', '-w1', '-I', source, target])
    return status === 0
  },
}

/**
 * A wire to a router of its own. The first one's routes are the preferred ones, as they were to be in a pod. The router
 * answers for the service, and lets nothing through that has another network's source.
 */
const plugIn = async (container: Container, own: Wire, first: boolean): Promise<Space> => {
  const router = await space()
  const metric = first ? '' : ' metric 2000'
  const peer = `r-${own.ifName}`
  await container.ip(
    'link',
    'add',
    own.ifName,
    'type',
    'veth',
    'peer',
    'name',
    peer,
    'netns',
    `${router.pid}`,
  )
  const inRouter = [
    'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad',
    `echo 0 >/proc/sys/net/ipv6/conf/${peer}/accept_dad`,
    'ip link set lo up',
    `ip address add ${service.ip}/32 dev lo`,
    `ip address add ${service.ip6}/128 dev lo nodad`,
    `ip address add ${own.gateway}/24 dev ${peer}`,
    `ip address add ${own.gateway6}/64 dev ${peer} nodad`,
    `ip link set ${peer} up`,
    // No way back to others: what comes from them is dropped (rp_filter), or can not be answered.
    `echo 1 >/proc/sys/net/ipv4/conf/${peer}/rp_filter`,
  ]
  await router.must('sh', ['-ec', inRouter.join('\n')])
  const inContainer = [
    `echo 0 >/proc/sys/net/ipv6/conf/${own.ifName}/accept_dad`,
    `ip address add ${own.ip}/24 broadcast + dev ${own.ifName}`,
    `ip address add ${own.ip6}/64 dev ${own.ifName} nodad`,
    `ip link set ${own.ifName} up`,
    `ip route add default via ${own.gateway}${metric}`,
    `ip -6 route add default via ${own.gateway6}${metric}`,
  ]
  await container.must('sh', ['-ec', inContainer.join('\n')])
  return router
}

export interface TwoNetworks {
  readonly it: Node
  readonly container: Container
  readonly routers: readonly Space[]
}

export const twoNetworks = async (): Promise<TwoNetworks> => {
  const it = await node()
  const container = await it.host.container()
  await container.ip('link', 'set', 'lo', 'up')
  const routers = [await plugIn(container, wires[0], true), await plugIn(container, wires[1], false)]
  return { it, container, routers }
}

/** What an interface plugin would have told of a wire. */
export const resultOf = (
  container: Container,
  own: Wire,
  more: Partial<PrintedResult> = {},
): PrintedResult => ({
  cniVersion: '1.1.0',
  interfaces: [{ name: own.ifName, sandbox: container.path }],
  ips: [
    { address: `${own.ip}/24`, gateway: own.gateway, interface: 0 },
    { address: `${own.ip6}/64`, gateway: own.gateway6, interface: 0 },
  ],
  ...more,
})

/** The call of a wire. */
export const attach = (container: Container, own: Wire, prevResult = resultOf(container, own)): NodeCall => ({
  container,
  ifName: own.ifName,
  prevResult,
})

const linesOf = async (there: Space, ...arguments_: string[]): Promise<string[]> => {
  const { stdout } = await there.run('sh', ['-c', arguments_.map((one) => `ip ${one}`).join('; ')])
  return stdout
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
}

/** Without their priorities, and without those that every namespace has. */
const toRules = (lines: readonly string[]): string[] =>
  lines.map((line) => line.replace(/^\d+:\s*/, '')).filter((line) => !line.startsWith('from all'))
const toRoutes = (lines: readonly string[]): string[] =>
  lines.map((line) => line.replace(/ pref medium$/, ''))

/** Rules that somebody made, as `from 10.1.0.2 lookup 100`. */
export const rulesOf = async (there: Space): Promise<string[]> =>
  toRules(await linesOf(there, '-4 rule', '-6 rule'))

const routesOf = async (there: Space, table: string): Promise<string[]> =>
  toRoutes(await linesOf(there, `-4 route show table ${table}`, `-6 route show table ${table}`))

/** Routes of a table, IPv4 before IPv6, in the kernel's order. */
export const tableRoutes = (there: Space, table: number): Promise<string[]> => routesOf(there, `${table}`)
/** Those of the main table, without the link-local ones of IPv6. */
export const mainRoutes = async (there: Space): Promise<string[]> =>
  (await routesOf(there, 'main')).filter((line) => !line.startsWith('fe80::/64'))

/** All rules and routes, the kernel's own included. */
export const everything = async (there: Space) => {
  const lines = await linesOf(
    there,
    '-4 rule',
    '-6 rule',
    '-4 route show table all',
    '-6 route show table all',
  )
  const isRule = (line: string): boolean => /^\d+:\s/.test(line)
  return { rules: toRules(lines.filter(isRule)), routes: toRoutes(lines.filter((line) => !isRule(line))) }
}
