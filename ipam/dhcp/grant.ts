/** What a lease means for an interface, whichever protocol it came by: what is reported, and what is changed later. */
import type { Dns, IpConfig, Route } from '../../cni/types.ts'
import { address, type Connection, isErrno, link, type Request, route } from '../../netlink/index.ts'

export interface Grant {
  readonly ips: readonly IpConfig[]
  readonly routes: readonly Route[]
  readonly dns: Dns
  /** Bytes; undefined where the network says nothing. */
  readonly mtu: number | undefined
}

/** Errors of a removal that say that there is nothing to remove. */
const isGone = (error: unknown): boolean => isErrno(error, 'EADDRNOTAVAIL', 'ESRCH', 'ENODEV')
const isThere = (error: unknown): boolean => isErrno(error, 'EEXIST')
/** More than its master can, or than its driver lets: the network's wish is not to cost the rest. */
const isTooMuch = (error: unknown): boolean => isErrno(error, 'EINVAL', 'EOPNOTSUPP')

/** A gateway of 0.0.0.0 or :: means none: the destination is on the link. */
const gatewayOf = ({ gw }: Route): string | undefined => (gw === '0.0.0.0' || gw === '::' ? undefined : gw)

const isIpv6 = (text: string): boolean => text.includes(':')

const routeOptions = (index: number, one: Route) => ({
  dst: one.dst,
  gateway: gatewayOf(one),
  index,
  priority: one.priority || undefined,
  scope: one.scope,
})

/** Those that come and go with a lease: IPv6's are what routers say, whatever becomes of an address. */
const leasedRoutes = (grant: Grant | null): readonly Route[] =>
  (grant?.routes ?? []).filter(({ dst }) => !isIpv6(dst))

const addressOf = (index: number, { address: own }: IpConfig): Request<void> =>
  address.add({
    index,
    address: own,
    // The link was asked already, unless that is not wanted.
    ...(isIpv6(own) ? { flags: { nodad: true } } : { broadcast: 'auto' }),
  })

const sameRoute = (a: Route) => (b: Route) =>
  a.dst === b.dst && a.gw === b.gw && (a.priority ?? 0) === (b.priority ?? 0)

/**
 * Changes an interface from what one lease granted to what the next one does. What neither names is left as it is: it
 * belongs to others. The new address comes before the old one goes. Equivalent: `ip link set mtu N`, `ip address
 * add|del`, `ip route add|del`.
 * @returns whether anything differed
 * @throws NetlinkError the first, after everything was tried
 */
export const applyGrant = async (
  connection: Connection,
  index: number,
  before: Grant | null,
  after: Grant | null,
): Promise<boolean> => {
  const [oldIps, newIps] = [before?.ips ?? [], after?.ips ?? []]
  const [oldRoutes, newRoutes] = [leasedRoutes(before), leasedRoutes(after)]
  const goneIps = oldIps.filter((one) => !newIps.some(({ address: own }) => own === one.address))
  const moreIps = newIps.filter((one) => !oldIps.some(({ address: own }) => own === one.address))
  // An IPv4 address takes routes along that name it as their source, and its own network's.
  const anew = goneIps.some(({ address: own }) => !isIpv6(own))
  const goneRoutes = oldRoutes.filter((one) => anew || !newRoutes.some(sameRoute(one)))
  const moreRoutes = newRoutes.filter((one) => anew || !oldRoutes.some(sameRoute(one)))
  const mtu = after?.mtu !== undefined && after.mtu !== before?.mtu ? after.mtu : undefined
  const steps: { readonly request: Request<void>; readonly tolerates: (error: unknown) => boolean }[] = [
    ...(mtu === undefined ? [] : [{ request: link.set(index, { mtu }), tolerates: isTooMuch }]),
    ...moreIps.map((one) => ({ request: addressOf(index, one), tolerates: isThere })),
    ...goneRoutes.map((one) => ({ request: route.delete(routeOptions(index, one)), tolerates: isGone })),
    ...goneIps.map(({ address: own }) => ({
      request: address.delete({ index, address: own }),
      tolerates: isGone,
    })),
    // The kernel takes an address of the same network along with the older one, unless told to promote it (sysctl
    // promote_secondaries).
    ...(anew ? moreIps.map((one) => ({ request: addressOf(index, one), tolerates: isThere })) : []),
    ...moreRoutes.map((one) => ({
      request: route.add({ ...routeOptions(index, one), mode: 'create' }),
      tolerates: isThere,
    })),
  ]
  if (steps.length === 0) return false
  const outcomes = await connection.batch(steps.map(({ request }) => request))
  for (const [i, outcome] of outcomes.entries())
    if (!outcome.ok && !steps[i]!.tolerates(outcome.error)) throw outcome.error
  return true
}
