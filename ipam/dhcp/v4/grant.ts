import type { Route } from '../../../cni/types.ts'
import type { Grant } from '../grant.ts'
import type { Settings } from '../settings.ts'
import type { Lease4 } from './lease.ts'

/** RT_SCOPE_LINK, linux/rtnetlink.h. */
const SCOPE_LINK = 253

/** What RFC 3442 calls a local subnet: a route without a router. Printed as the Go plugin does. */
const toRoute = (dst: string, router: string): Route =>
  router === '0.0.0.0' ? { dst, gw: router, scope: SCOPE_LINK } : { dst, gw: router }

/** Classless routes stand for all others, RFC 3442; elsewhere the static ones and the default route. */
const routesOf = ({ classlessRoutes, staticRoutes, routers: [first] }: Lease4): Route[] =>
  classlessRoutes
    ? classlessRoutes.map(({ dst, router }) => toRoute(dst, router))
    : [
        ...staticRoutes.map(({ dst, router }) => toRoute(dst, router)),
        ...(first === undefined ? [] : [toRoute('0.0.0.0/0', first)]),
      ]

/** What the interface is to have by a lease. */
export const grantOf = (
  lease: Lease4,
  { priority, fixedMtu }: Pick<Settings, 'priority' | 'fixedMtu'>,
): Grant => {
  const { address, prefixLength, routers, classlessRoutes, dnsServers, domainName, domainSearch, mtu } = lease
  const byDefault = classlessRoutes?.find(({ dst, router }) => dst === '0.0.0.0/0' && router !== '0.0.0.0')
  return {
    ips: [
      { address: `${address}/${prefixLength}`, gateway: classlessRoutes ? byDefault?.router : routers[0] },
    ],
    routes: routesOf(lease).map((one) => (priority === 0 ? one : { ...one, priority })),
    dns: {
      nameservers: dnsServers.length > 0 ? dnsServers : undefined,
      domain: domainName || undefined,
      search: domainSearch.length > 0 ? domainSearch : undefined,
    },
    mtu: fixedMtu ? undefined : mtu,
  }
}
