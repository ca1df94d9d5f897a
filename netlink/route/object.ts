import { scope, type scopes } from '../address.ts'
import type { Attributes, UnknownAttribute } from '../codec/table.ts'
import type { Value } from '../codec/types.ts'
import { type Choice, unpackFlags } from '../codec/values.ts'
import { anyAddress, type Family, fromAf } from '../family.ts'
import type { metrics, preferences, RawNexthop, routeTable } from './layout.ts'
import { nexthopFlags, protocol, routeFlags, type routeProtocols, type routeTypes, type } from './names.ts'

type FlagSet<N> = { readonly [K in keyof N]: boolean }

/** One way of a multipath route. */
export interface Nexthop {
  /** Index of the output interface. */
  readonly index: number
  readonly gateway: string | undefined
  /** 1 to 256. */
  readonly weight: number
  readonly flags: FlagSet<typeof nexthopFlags>
}

/** A route. */
export interface Route {
  readonly family: Family
  /** `10.1.0.0/16`; a default route has `0.0.0.0/0` or `::/0`. */
  readonly dst: string
  /** IPv6: the sources it is for. */
  readonly src: string | undefined
  /** Its own gateway; a multipath route has `nexthops`. May be of another family than `dst`. */
  readonly gateway: string | undefined
  /** Index of the output interface. */
  readonly index: number | undefined
  readonly inputIndex: number | undefined
  readonly preferredSource: string | undefined
  /** The metric; IPv6 routes have 1024 unless told otherwise. */
  readonly priority: number
  readonly table: number
  readonly type: Choice<typeof routeTypes>
  readonly protocol: Choice<typeof routeProtocols>
  readonly scope: Choice<typeof scopes>
  readonly tos: number
  readonly flags: FlagSet<typeof routeFlags>
  readonly metrics: Value<typeof metrics>
  /** Empty unless there are several. */
  readonly nexthops: readonly Nexthop[]
  /** Of a next hop object (`ip nexthop`). */
  readonly nexthopId: number | undefined
  /** IPv6: RFC 4191. */
  readonly preference: Choice<typeof preferences> | undefined
  /** Seconds until it goes; undefined: it stays. */
  readonly expires: number | undefined
  /** IPv4: FROM << 16 | TO. */
  readonly realms: number | undefined
  readonly unknown: readonly UnknownAttribute[]
}

const toNexthop = ({ flags, hops, index, gateway, via }: RawNexthop): Nexthop => ({
  index,
  gateway: gateway ?? via,
  weight: hops + 1,
  flags: unpackFlags(nexthopFlags, flags),
})

/** The header of a route message. */
export interface RouteHeader {
  readonly family: number
  readonly dstLength: number
  readonly srcLength: number
  readonly tos: number
  readonly table: number
  readonly protocol: number
  readonly scope: number
  readonly type: number
  readonly flags: number
}

/** Makes a {@link Route} of a message; undefined where the family is neither IPv4 nor IPv6 (MPLS, multicast). */
export const toRoute = (
  header: RouteHeader,
  attributes: Attributes<(typeof routeTable)['rows']>,
): Route | undefined => {
  const family = fromAf(header.family)
  if (family === undefined) return undefined
  const expires = attributes.cacheinfo?.expires
  return {
    family,
    dst: `${attributes.dst ?? anyAddress(family)}/${header.dstLength}`,
    src: attributes.src === undefined ? undefined : `${attributes.src}/${header.srcLength}`,
    gateway: attributes.gateway ?? attributes.via,
    index: attributes.oif,
    inputIndex: attributes.iif,
    preferredSource: attributes.prefsrc,
    priority: attributes.priority ?? 0,
    table: attributes.table ?? header.table,
    type: type.fromNumber(header.type),
    protocol: protocol.fromNumber(header.protocol),
    scope: scope.fromNumber(header.scope),
    tos: header.tos,
    flags: unpackFlags(routeFlags, header.flags),
    metrics: attributes.metrics ?? {},
    nexthops: (attributes.multipath ?? []).map(toNexthop),
    nexthopId: attributes.nhId,
    preference: attributes.pref,
    expires: expires === undefined || expires === 0 ? undefined : expires / 100,
    realms: attributes.flow,
    unknown: attributes.unknown ?? [],
  }
}
