/** The addresses and routes of both sides of a point-to-point link: planned, made, checked. */
import { CniError, codes, invalidConfig } from '../../cni/error.ts'
import type { Attachment } from '../../cni/plugin.ts'
import type { IpConfig } from '../../cni/types.ts'
import { apply } from '../../cni/undo.ts'
import {
  address,
  familyOf,
  formatCidr,
  formatIp,
  isErrno,
  type Link,
  NetlinkError,
  network,
  parseCidr,
  parseIp,
  type Request,
  route,
} from '../../netlink/index.ts'
import { checkFailed } from '../shared/check.ts'

/** Over which gateway, and from which of the container's addresses. */
export interface Hop {
  readonly gateway: string
  readonly source: string
}

/** What the addresses mean for the routes of both sides. All destinations are prefixes as the kernel prints them. */
export interface Paths {
  /** Each once: the first address that names it is the source of what the container sends to it. */
  readonly gateways: readonly Hop[]
  /** Each once; of several gateways the last one's. */
  readonly subnets: ReadonlyMap<string, Hop>
  readonly containers: readonly string[]
}

/** `ip/32` or `ip/128`. */
const alone = (ip: string): string => `${ip}/${familyOf(ip) === 4 ? 32 : 128}`

const hopOf = ({ address: own, gateway }: IpConfig): Hop & { readonly subnet: string } => {
  const parsed = parseCidr(own)
  if (!parsed) throw new RangeError(`${JSON.stringify(own)} is not an address with a prefix`)
  const source = formatIp(parsed.ip)
  const refuse = (why: string): CniError =>
    invalidConfig(
      `IPAM assigned ${own} ${why}`,
      'ptp sends everything to the gateway, which is an address of the host: let IPAM name one ("gateway")',
    )
  const ip = gateway === undefined ? null : parseIp(gateway)
  if (!ip) throw refuse('without a gateway')
  const hop = {
    source,
    gateway: formatIp(ip),
    subnet: formatCidr({ ip: network(parsed), prefix: parsed.prefix }),
  }
  if (hop.gateway === source) throw refuse('with itself as its gateway')
  if (familyOf(hop.gateway) !== familyOf(source)) throw refuse(`with a gateway of another family, ${gateway}`)
  return hop
}

/** @throws CniError code 7 where an address has no gateway that could be the host's end */
export const pathsOf = (ips: readonly IpConfig[]): Paths => {
  const gateways = new Map<string, Hop>()
  const subnets = new Map<string, Hop>()
  const containers: string[] = []
  for (const hop of ips.map(hopOf)) {
    const { gateway, source, subnet } = hop
    if (!gateways.has(gateway)) gateways.set(gateway, hop)
    if (subnets.get(subnet)?.gateway !== gateway) subnets.set(subnet, hop)
    containers.push(alone(source))
  }
  return { gateways: [...gateways.values()], subnets, containers }
}

/**
 * The container reaches the gateway alone by the link, and its subnet through it: the other containers of the subnet are
 * on links of their own. The kernel's route to the subnet stays until IPAM's routes are in place, whose gateways may be
 * others of the subnet. Equivalent: `ip route add GW dev eth0 scope link src IP`; `ip route del SUBNET dev eth0 proto
 * kernel`; `ip route replace SUBNET via GW dev eth0 src IP`.
 */
export const routesInside = (index: number, { gateways, subnets }: Paths) => {
  const before = gateways.map(({ gateway, source }) =>
    route.add({ dst: alone(gateway), index, scope: 'link', preferredSource: source }),
  )
  const after: Request<void>[] = []
  for (const [dst, { gateway, source }] of subnets) {
    // IPv4 makes none for a single address.
    if (!dst.endsWith('/32') || familyOf(gateway) === 6)
      after.push(route.delete({ dst, index, protocol: 'kernel' }))
    after.push(route.replace({ dst, gateway, index, preferredSource: source }))
  }
  return { before, after }
}

const explain = (error: unknown): unknown => {
  if (!(error instanceof NetlinkError)) return error
  const { message: msg, op } = error
  const because = (details: string): CniError =>
    new CniError({ code: codes.internal, msg, details, cause: error })
  if (isErrno(error, 'EEXIST') && op.startsWith('add route'))
    return because('the host has a route to this address already: look whose it is (ip route show ADDRESS)')
  if (isErrno(error, 'EACCES'))
    return because('IPv6 is disabled on the host: sysctl -w net.ipv6.conf.default.disable_ipv6=0')
  return error
}

/**
 * The host's end gets the gateways' addresses and the routes to the container's. They go with the link. Equivalent: `ip
 * address add GW/32 dev vethX`; `ip route add IP/32 dev vethX scope host`.
 */
export const serve = async (
  { host, undo }: Attachment<unknown>,
  index: number,
  paths: Paths,
): Promise<void> => {
  const requests: Request<void>[] = [
    ...paths.gateways.map(({ gateway }) =>
      address.add({
        index,
        address: alone(gateway),
        // Nobody else is on the wire.
        flags: familyOf(gateway) === 6 ? { nodad: true } : {},
      }),
    ),
    ...paths.containers.map((dst) => route.add({ dst, index, scope: 'host' })),
  ]
  try {
    await apply(
      host,
      undo,
      requests.map((request) => ({ request })),
    )
  } catch (error) {
    throw explain(error)
  }
}

/** @throws CniError where addresses or routes of one of the sides are missing */
export const checkPaths = async (
  { host, container }: Attachment<unknown>,
  inside: Link,
  end: Link,
  { gateways, subnets, containers }: Paths,
): Promise<void> => {
  // In whichever table: sbr and vrf, behind this one, move routes out of the main one.
  const own = await container.run(route.list({ index: inside.index }))
  for (const { gateway } of gateways)
    if (!own.some(({ dst }) => dst === alone(gateway)))
      throw checkFailed(`${inside.name} has no route to the gateway ${gateway}`)
  for (const [subnet, { gateway: via }] of subnets)
    if (!own.some(({ dst, gateway }) => dst === subnet && gateway === via))
      throw checkFailed(`${inside.name} has no route to ${subnet} via ${via}`)
  const addresses = await host.run(address.list({ index: end.index }))
  for (const { gateway } of gateways)
    if (!addresses.some(({ ip }) => ip === gateway))
      throw checkFailed(`${end.name} does not have the gateway's address ${gateway}`)
  const routes = await host.run(route.list({ table: 'main', index: end.index }))
  for (const wanted of containers)
    if (!routes.some(({ dst }) => dst === wanted))
      throw checkFailed(`the host has no route to ${wanted} over ${end.name}`)
}
