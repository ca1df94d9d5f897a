import type { Route } from '../cni/types.ts'
import { canonicalCidr } from '../netlink/ip.ts'
import { canonicalIp } from './address.ts'

/** Routes of a configuration for its result: addresses in Go's spelling, all the rest as it came. */
export const canonicalRoutes = (routes: readonly Route[] | undefined): readonly Route[] | undefined =>
  routes?.map(({ dst, gw, mtu, advmss, priority, table, scope }) => ({
    dst: canonicalCidr(dst) ?? dst,
    gw: gw ? (canonicalIp(gw) ?? gw) : undefined,
    mtu,
    advmss,
    priority,
    table,
    scope,
  }))
