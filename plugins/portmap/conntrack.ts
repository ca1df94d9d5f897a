/**
 * Flows of UDP, which the kernel sends on to where they went first for as long as they go on: one that is older than
 * its mapping to the host itself or to a container before, one of a removed mapping to a container that is gone.
 */
import type { Attachment } from '../../cni/plugin.ts'
import {
  address,
  type Connection,
  type ConntrackEntry,
  type ConntrackFamily,
  conntrack,
} from '../../netlink/index.ts'
import type { Forwarding, PortMapping } from './forwarding.ts'

const isOf = (ip: string, family: ConntrackFamily): boolean => ip.includes(':') === (family === 'ip6')

const everywhere = { ip: '0.0.0.0', ip6: '::' } as const

/** Whether a flow is about one of the mappings, whatever becomes of it. */
const concerns = (
  mappings: readonly PortMapping[],
  families: readonly ConntrackFamily[],
): ((entry: ConntrackEntry) => boolean) => {
  const places = new Set(mappings.map(({ hostPort, hostIp = '' }) => `${hostIp} ${hostPort}`))
  return ({ family, original: { destination, destinationPort } }) =>
    families.includes(family) &&
    ['', everywhere[family], destination].some((ip) => places.has(`${ip} ${destinationPort}`))
}

const isLoopback = (ip: string): boolean => ip === '::1' || ip.startsWith('127.')

/** Entries that are sooner read than the kernel's table is gone through once more. */
const FEW = 1000

/** All flows of UDP to one of the ports. */
const flowsTo = async (
  connection: Connection,
  mappings: readonly PortMapping[],
  families: readonly ConntrackFamily[],
): Promise<ConntrackEntry[]> => {
  const entries = await connection.run(conntrack.count())
  if (entries === 0) return []
  if (entries <= FEW) return connection.run(conntrack.list({ protocol: 'udp' }))
  const ports = new Set(mappings.map(({ hostPort }) => hostPort))
  const found: ConntrackEntry[] = []
  for (const family of families) {
    const originalDestinationPort = ports.size === 1 ? mappings[0]!.hostPort : undefined
    found.push(
      ...(await connection.run(conntrack.list({ family, protocol: 'udp', originalDestinationPort }))),
    )
  }
  return found
}

/**
 * Ends the flows of UDP to mapped ports of this host, so that their next packet goes by the rules of now. Flows that
 * pass this host to the same port of another one stay. Equivalent, but for that:
 * `conntrack -D -p udp --orig-port-dst PORT --orig-dst ADDRESS`.
 * @throws NetlinkError: EINVAL or EOPNOTSUPP in a kernel that does not tell about connections
 */
export const flushUdp = async (
  { hostNftables: connection, host }: Pick<Attachment<unknown>, 'host' | 'hostNftables'>,
  { mappings, addresses }: Pick<Forwarding, 'mappings' | 'addresses'>,
): Promise<void> => {
  const udp = mappings.filter(({ protocol }) => protocol === 'udp')
  if (udp.length === 0) return
  // Where the addresses are not known any more, both.
  const families = (['ip', 'ip6'] as const).filter(
    (family) => addresses.length === 0 || addresses.some((cidr) => isOf(cidr, family)),
  )
  const found = (await flowsTo(connection, udp, families)).filter(concerns(udp, families))
  if (found.length === 0) return
  const local = new Set((await host.run(address.list())).map(({ ip }) => ip))
  const stale = found.filter(
    ({ original: { destination } }) => isLoopback(destination) || local.has(destination),
  )
  for (const outcome of await connection.batch(stale.map(conntrack.remove)))
    if (!outcome.ok && outcome.code !== 'ENOENT') throw outcome.error
}
