/** A container on two networks of the same addresses, which only a VRF can tell apart. */
import type { JsonObject } from '../../../cni/types.ts'
import { type NodeCall, node } from '../../kernel/plugins/node.ts'
import type { PrintedResult } from '../../support/plugin.ts'
import { type Container, type Space, space } from '../../support/space.ts'
import { settled } from '../../support/wait.ts'

export const vrf = (vrfname: string, more: JsonObject = {}): JsonObject => ({ type: 'vrf', vrfname, ...more })

/** Commands of `ip`, by one process: an emulated machine takes its time to start another. */
export const batch = async (there: Space, ...commands: string[]): Promise<void> => {
  await there.must('ip', ['-batch', '-'], { input: `${commands.join('\n')}\n` })
}

/** What an interface plugin would have made: addresses, and routes by a gateway. */
export const plugIn = async (container: Container, ifName: string, far: number): Promise<Space> => {
  const router = await space()
  await batch(
    router,
    'link set lo up',
    `address add 203.0.113.${far}/32 dev lo`,
    `address add fd00:99::${far}/128 dev lo nodad`,
    `link add wire0 type veth peer name ${ifName} netns ${container.pid}`,
    'address add 10.9.0.1/24 dev wire0',
    'address add fd09::1/64 dev wire0 nodad',
    'link set wire0 up',
  )
  await batch(
    container,
    `address add 10.9.0.2/24 broadcast + dev ${ifName}`,
    `address add fd09::2/64 dev ${ifName} nodad`,
    `link set ${ifName} up`,
    `route append default via 10.9.0.1 dev ${ifName} metric ${far}`,
    `route append default via fd09::1 dev ${ifName} metric ${far}`,
  )
  await settled(container)
  return router
}

export const resultOf = (
  sandbox: string,
  ifName: string,
  more: Partial<PrintedResult> = {},
): PrintedResult => ({
  cniVersion: '1.1.0',
  interfaces: [{ name: ifName, sandbox }],
  ips: [
    { address: '10.9.0.2/24', gateway: '10.9.0.1', interface: 0 },
    { address: 'fd09::2/64', gateway: 'fd09::1', interface: 0 },
  ],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  ...more,
})

export const attach = (container: Container, ifName = 'eth0'): NodeCall => ({
  container,
  ifName,
  prevResult: resultOf(container.path, ifName),
})

/** A node with a container whose `eth0` is plugged in. */
export const plugged = async () => {
  const it = await node()
  const container = await it.host.container()
  // Duplicate address detection is over at once.
  await container.must('sh', ['-ec', 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad; ip link set lo up'])
  await plugIn(container, 'eth0', 1)
  return { it, container }
}

/** Links, addresses and routes, one line each, without what differs from run to run. One shell: an emulated machine is slow. */
export const look = async (there: Space): Promise<string[]> => {
  const { stdout } = await there.run('sh', [
    '-c',
    'ip -o link; ip -o addr; ip -4 route show table all; ip -6 route show table all',
  ])
  return stdout
    .split('\n')
    .map((line) =>
      line
        .trim()
        .replace(/^(\d+): /, '')
        .replace(/(valid_lft|preferred_lft|expires) \d+sec/g, '$1 N')
        .replace(/ pref medium$/, '')
        // A flag that says that nobody was asked whether the address is free.
        .replace(/ nodad /, ' '),
    )
    .filter((line) => line !== '')
    .sort()
}

/** Routes of a table. */
export const tableRoutes = async (there: Space, table: number): Promise<string[]> => {
  const { stdout } = await there.run('sh', [
    '-c',
    `ip -4 route show table ${table}; ip -6 route show table ${table}`,
  ])
  return stdout
    .split('\n')
    .map((line) => line.trim().replace(/ pref medium$/, ''))
    .filter((line) => line !== '')
}
