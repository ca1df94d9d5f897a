import type { RouteOptions } from '../route.ts'
import type { Nexthop, Route } from './object.ts'

/** RTA_ENCAP: what a tunnel of the route puts around packets, in the words of its kind. */
const RTA_ENCAP = 22

/** Of the flags that a route is told with, those that somebody has set. */
const setFlags = ({ onlink, pervasive }: Route['flags'] | Nexthop['flags']) => ({ onlink, pervasive })

/** Whether {@link restate} can say everything of it: not where it encapsulates packets (MPLS, SRv6, …). */
export const isRestatable = ({ unknown }: Route): boolean => !unknown.some(({ type }) => type === RTA_ENCAP)

/**
 * What makes a route that was listed once more, in its table or with changes: `route.add({ ...route.restate(found),
 * table: 100 })`. Seconds until it expires are rounded up.
 */
export const restate = (found: Route): RouteOptions => {
  const { nexthopId, nexthops } = found
  const ways =
    nexthopId !== undefined
      ? // The kernel spells out the object's ways for old programs, and takes only one or the other.
        { nexthopId }
      : nexthops.length > 0
        ? {
            nexthops: nexthops.map(({ index, gateway, weight, flags }) => ({
              ...{ index: index || undefined, gateway, weight },
              flags: setFlags(flags),
            })),
          }
        : { gateway: found.gateway, index: found.index, flags: setFlags(found.flags) }
  return {
    ...ways,
    dst: found.dst,
    family: found.family,
    src: found.src,
    preferredSource: found.preferredSource,
    priority: found.priority || undefined,
    table: found.table,
    scope: found.scope,
    protocol: found.protocol,
    type: found.type,
    metrics: Object.keys(found.metrics).length > 0 ? found.metrics : undefined,
    preference: found.preference,
    expires: found.expires === undefined ? undefined : Math.ceil(found.expires),
    realms: found.realms,
    tos: found.tos || undefined,
  }
}
