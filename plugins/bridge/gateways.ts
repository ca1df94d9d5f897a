import type { IpConfig, Result, Route } from '../../cni/types.ts'
import { contains, familyOf, formatIp, network, parseCidr, parseIp } from '../../netlink/ip.ts'
import type { BridgeConf } from './conf.ts'

/** Index of the container's interface in a bridge's result: bridge, host veth, container. */
export const CONTAINER = 2

/** The first address behind the network address: what stands in for a gateway that IPAM did not name. */
export const firstAddress = (cidr: string): string => {
  const parsed = parseCidr(cidr)
  if (!parsed) throw new RangeError(`${JSON.stringify(cidr)} is not an address with a prefix`)
  const bytes = Uint8Array.from(network(parsed))
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = (bytes[i]! + 1) & 0xff
    if (bytes[i] !== 0) break
  }
  return formatIp(bytes)
}

/** The destination of a default route. */
export const defaultDst = { 4: '0.0.0.0/0', 6: '::/0' } as const

const isDefault = (route: Route, family: 4 | 6): boolean => {
  const dst = parseCidr(route.dst)
  return dst !== null && dst.prefix === 0 && familyOf(route.dst) === family
}

/** A gateway with the prefix length of the container's address, as the kernel prints it. */
const placed = (gateway: string, cidr: string): string => {
  const ip = parseIp(gateway)
  if (!ip) throw new RangeError(`gateway ${JSON.stringify(gateway)} is not an IP address`)
  return `${formatIp(ip)}/${cidr.split('/')[1]}`
}

/** What IPAM's answer means for a bridge. */
export interface Gateways {
  readonly ips: readonly IpConfig[]
  readonly routes: readonly Route[]
  /** For the bridge: each gateway with the prefix of its container address, each once. */
  readonly addresses: readonly string[]
}

/**
 * Completes IPAM's answer: gateways that it left out (isGateway) and default routes that it lacks (isDefaultGateway).
 * A default route without a gateway counts as there: it gets the gateway when it is installed.
 */
export const planGateways = (
  conf: Pick<BridgeConf, 'isGateway' | 'isDefaultGateway'>,
  ipam: Result,
): Gateways => {
  const isGateway = conf.isGateway || conf.isDefaultGateway
  const routes = [...(ipam.routes ?? [])]
  const addresses = new Set<string>()
  const ips = (ipam.ips ?? []).map((ip): IpConfig => {
    const family = familyOf(ip.address)
    const gateway = ip.gateway ?? (isGateway ? firstAddress(ip.address) : undefined)
    if (gateway !== undefined && conf.isDefaultGateway && !routes.some((route) => isDefault(route, family)))
      routes.push({ dst: defaultDst[family], gw: gateway })
    if (gateway !== undefined && isGateway) addresses.add(placed(gateway, ip.address))
    return { address: ip.address, gateway, interface: CONTAINER }
  })
  return { ips, routes, addresses: [...addresses] }
}

/**
 * Whether an address that the bridge has stands in the way of a gateway: any other one of IPv4, an overlapping one of
 * IPv6.
 */
export const conflicts = (present: string, wanted: string): boolean => {
  const have = parseCidr(present)
  const want = parseCidr(wanted)
  if (!have || !want || familyOf(present) !== familyOf(wanted) || present === wanted) return false
  return familyOf(wanted) === 4 || contains(have, want.ip) || contains(want, have.ip)
}
