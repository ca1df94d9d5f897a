/** Routes. */
import { scope, type scopes } from './address.ts'
import type { Value } from './codec/types.ts'
import { type Choice, type Flags, packFlags } from './codec/values.ts'
import { anyAddress, type Family, fromAf, type Prefix, toAf, toPrefix } from './family.ts'
import { familyOf, formatCidr, formatIp, network } from './ip.ts'
import { change, dump, get as getOne, NLM_F, type Request } from './request.ts'
import { type metrics, type preferences, routeLayout } from './route/layout.ts'
import {
  nexthopFlags,
  protocol,
  type routeProtocols,
  type routeTables,
  type routeTypes,
  tableId,
  type,
} from './route/names.ts'
import { type Route, toRoute } from './route/object.ts'

export { routeProtocols, routeTables, routeTypes } from './route/names.ts'
export type { Nexthop, Route } from './route/object.ts'
export { isRestatable, restate } from './route/restate.ts'

const RTM_NEWROUTE = 24
const RTM_DELROUTE = 25
const RTM_GETROUTE = 26
/** RTM_F_LOOKUP_TABLE, RTM_F_FIB_MATCH. */
const RTM_F_LOOKUP_TABLE = 0x1000
const RTM_F_FIB_MATCH = 0x2000

/** One way of a multipath route. */
export interface NexthopOptions {
  readonly gateway?: string | undefined
  /** Index of the output interface. */
  readonly index?: number | undefined
  /** 1 to 256, default 1. */
  readonly weight?: number | undefined
  readonly flags?: Flags<Pick<typeof nexthopFlags, 'onlink' | 'pervasive'>> | undefined
}

/** A route to be made, changed or deleted. */
export interface RouteOptions {
  /** A prefix (host bits are cleared), an address (/32, /128), or `'default'`. */
  readonly dst: string
  /** Only needed for a default route without gateway; default then: IPv4. */
  readonly family?: Family | undefined
  /** Of either family: an IPv4 route may go over an IPv6 gateway (since Linux 5.2). */
  readonly gateway?: string | undefined
  /** Index of the output interface. */
  readonly index?: number | undefined
  /** Source address of what the host itself sends. */
  readonly preferredSource?: string | undefined
  /** The metric; smaller ones are preferred. Default: 0 for IPv4, 1024 for IPv6. */
  readonly priority?: number | undefined
  /** Default: main. Any u32. */
  readonly table?: Choice<typeof routeTables> | undefined
  /** Default, as in `ip route`: link where there is no gateway, host for type local, else global. */
  readonly scope?: Choice<typeof scopes> | undefined
  /** Default: boot. */
  readonly protocol?: Choice<typeof routeProtocols> | undefined
  /** Default: unicast. */
  readonly type?: Choice<typeof routeTypes> | undefined
  /** `onlink`: the gateway is taken to be on the link though no prefix says so. */
  readonly flags?: Flags<Pick<typeof nexthopFlags, 'onlink' | 'pervasive'>> | undefined
  readonly metrics?: Value<typeof metrics> | undefined
  /** Several ways, instead of `gateway` and `index`. */
  readonly nexthops?: readonly NexthopOptions[] | undefined
  readonly nexthopId?: number | undefined
  /** IPv6: RFC 4191. */
  readonly preference?: Choice<typeof preferences> | undefined
  /** IPv6: seconds. */
  readonly expires?: number | undefined
  /** IPv6: the sources it is for. */
  readonly src?: string | undefined
  readonly tos?: number | undefined
  /** IPv4: FROM << 16 | TO, for accounting and classifiers. */
  readonly realms?: number | undefined
}

/**
 * What is to happen when there are routes to the same destination (with the same table, priority and tos).
 *
 * | mode | `ip route` | flags | meets another route there |
 * | --- | --- | --- | --- |
 * | `exclusive` | `add` | CREATE, EXCL | EEXIST |
 * | `create` | `prepend` | CREATE | IPv4: goes before it; IPv6: joins it as a further next hop. EEXIST if it is the same |
 * | `append` | `append` | CREATE, APPEND | IPv4: goes after it; IPv6: joins it as a further next hop |
 * | `replace` | `replace` | CREATE, REPLACE | takes its place |
 * | `change` | `change` | REPLACE | takes its place; ENOENT if there is none |
 */
export type RouteMode = 'exclusive' | 'create' | 'append' | 'replace' | 'change'

const modeFlags: Readonly<Record<RouteMode, number>> = {
  exclusive: NLM_F.create | NLM_F.excl,
  create: NLM_F.create,
  append: NLM_F.create | NLM_F.append,
  replace: NLM_F.create | NLM_F.replace,
  change: NLM_F.replace,
}

const destination = ({ dst, family, gateway, nexthops, preferredSource, src }: RouteOptions): Prefix => {
  if (dst !== 'default') return toPrefix(dst)
  const hint = gateway ?? preferredSource ?? src ?? nexthops?.find((hop) => hop.gateway)?.gateway
  return toPrefix(`${anyAddress(family ?? (hint === undefined ? 4 : familyOf(hint)))}/0`)
}

/** RTA_GATEWAY, or RTA_VIA where the families differ. */
const gatewayAttributes = (family: Family, gateway: string | undefined) => {
  const isSame = gateway === undefined || familyOf(gateway) === family
  return { gateway: isSame ? gateway : undefined, via: isSame ? undefined : gateway }
}

const weight = (value = 1): number => {
  if (!Number.isInteger(value) || value < 1 || value > 256)
    throw new RangeError(`${value} is not a weight from 1 to 256`)
  return value
}

const defaultScope = (options: RouteOptions, deleting: boolean): Choice<typeof scopes> => {
  const routeType = type.fromNumber(type.toNumber(options.type ?? 'unicast'))
  if (routeType === 'local' || routeType === 'nat') return 'host'
  if (routeType === 'broadcast' || routeType === 'multicast' || routeType === 'anycast') return 'link'
  if (routeType !== 'unicast') return 'global'
  // For a deletion, nowhere is any.
  if (deleting) return 'nowhere'
  const routed =
    options.gateway !== undefined || options.nexthops !== undefined || options.nexthopId !== undefined
  return routed ? 'global' : 'link'
}

const routeRequest = (verb: string, rtm: number, flags: number, options: RouteOptions): Request<void> => {
  const deleting = rtm === RTM_DELROUTE
  const dst = destination(options)
  const { family } = dst
  const src = options.src === undefined ? undefined : toPrefix(options.src)
  const id = tableId.toNumber(options.table ?? 'main')
  const clean = formatIp(network(dst.cidr))
  const { gateway, via } = gatewayAttributes(family, options.gateway)
  return change(routeLayout, {
    op: `${verb} route ${options.dst}${options.gateway === undefined ? '' : ` via ${options.gateway}`}${options.index === undefined ? '' : ` dev ${options.index}`}${id === 254 ? '' : ` table ${id}`}`,
    type: rtm,
    flags,
    header: {
      family: toAf(family),
      dstLength: dst.length,
      srcLength: src?.length,
      tos: options.tos,
      // What does not fit into the header's byte goes by RTA_TABLE.
      table: id < 256 ? id : 0,
      protocol: protocol.toNumber(options.protocol ?? (deleting ? 'unspec' : 'boot')),
      scope: scope.toNumber(options.scope ?? defaultScope(options, deleting)),
      type: type.toNumber(options.type ?? (deleting ? 'unspec' : 'unicast')),
      flags: options.flags && packFlags(nexthopFlags, options.flags),
    },
    attributes: {
      dst: dst.length === 0 ? undefined : clean,
      src: src?.address,
      gateway,
      via,
      oif: options.index,
      prefsrc: options.preferredSource,
      priority: options.priority,
      table: id < 256 ? undefined : id,
      metrics: options.metrics,
      multipath: options.nexthops?.map((hop) => ({
        flags: hop.flags ? packFlags(nexthopFlags, hop.flags) : 0,
        hops: weight(hop.weight) - 1,
        index: hop.index ?? 0,
        ...gatewayAttributes(family, hop.gateway),
      })),
      nhId: options.nexthopId,
      pref: options.preference,
      expires: options.expires,
      flow: options.realms,
    },
  })
}

/**
 * Makes a route. Equivalent: `ip route add|prepend|append|replace|change DST [via GW] [dev LINK] [src IP] [metric N]
 * [table T] [scope S] [proto P] [onlink] [mtu N] [advmss N] [nexthop via GW dev LINK weight N …]`, by `mode`.
 *
 * Errors: EEXIST, ENETUNREACH (the gateway is on no link; or, IPv4, the link is down), ENETDOWN, ENODEV, EINVAL, ENOENT.
 * @throws RangeError for what is no address
 */
export const add = (
  options: RouteOptions & {
    /** See {@link RouteMode}. Default: exclusive. */
    readonly mode?: RouteMode | undefined
  },
): Request<void> => {
  const mode = options.mode ?? 'exclusive'
  return routeRequest(mode === 'exclusive' ? 'add' : mode, RTM_NEWROUTE, modeFlags[mode], options)
}

/** {@link add} with mode replace. Equivalent: `ip route replace …`. */
export const replace = (options: RouteOptions): Request<void> => add({ ...options, mode: 'replace' })

/** {@link add} with mode append. Equivalent: `ip route append …`. */
export const append = (options: RouteOptions): Request<void> => add({ ...options, mode: 'append' })

/**
 * Deletes the first route that has everything that is given. Equivalent: `ip route del DST [via GW] [dev LINK] …`.
 *
 * Errors: ESRCH (there is none).
 * @throws RangeError for what is no address
 */
const remove = (options: RouteOptions): Request<void> => routeRequest('delete', RTM_DELROUTE, 0, options)

export { remove as delete }

/** What {@link get} asks besides the destination. */
export interface LookupOptions {
  /** Source address. */
  readonly from?: string | undefined
  /** Index of the output interface. */
  readonly index?: number | undefined
  /** Index of the interface the packet is thought to come in by. */
  readonly inputIndex?: number | undefined
  readonly mark?: number | undefined
  readonly uid?: number | undefined
  /** The route as it stands in the table, not what follows from it for this address. */
  readonly fibMatch?: boolean | undefined
}

/**
 * The route a packet to `address` would take. Equivalent: `ip route get ADDRESS [from A] [oif LINK] [iif LINK] [mark N]
 * [fibmatch]`.
 *
 * Errors: ENETUNREACH (no route), EHOSTUNREACH, EACCES and EINVAL (unreachable, prohibit and blackhole routes), ENODEV.
 */
export const get = (address: string, options: LookupOptions = {}): Request<Route> => {
  const dst = toPrefix(address)
  const op = `get route to ${address}`
  return getOne(
    routeLayout,
    {
      op,
      type: RTM_GETROUTE,
      header: {
        family: toAf(dst.family),
        dstLength: dst.length,
        srcLength: options.from === undefined ? 0 : dst.length,
        // IPv6 refuses LOOKUP_TABLE and names the table anyway.
        flags: (dst.family === 4 ? RTM_F_LOOKUP_TABLE : 0) | (options.fibMatch ? RTM_F_FIB_MATCH : 0),
      },
      attributes: {
        dst: dst.address,
        src: options.from,
        oif: options.index,
        iif: options.inputIndex,
        mark: options.mark,
        uid: options.uid,
      },
    },
    (message) => {
      const route = toRoute(message, message.attributes)
      if (!route) throw new Error(`${op}: the answer is of family ${message.family}`)
      return route
    },
  )
}

/** Which routes {@link list} gives. All conditions must hold. */
export interface RouteFilter {
  readonly family?: Family | undefined
  /** Default: all tables. */
  readonly table?: Choice<typeof routeTables> | undefined
  /** Index of an output interface; of one of its next hops, for a multipath route. */
  readonly index?: number | undefined
  /** Exactly this destination: a prefix, or `'default'` (of both families, unless `family` is given). */
  readonly dst?: string | undefined
  readonly protocol?: Choice<typeof routeProtocols> | undefined
  readonly type?: Choice<typeof routeTypes> | undefined
}

/**
 * All routes, or those asked for. Equivalent: `ip [-4|-6] route show [table T|all] [dev LINK] [exact DST] [proto P]`.
 *
 * Errors: ENOENT (IPv4: no such table), ENODEV (no such link).
 * @throws RangeError for what is no prefix
 */
export const list = (filter: RouteFilter = {}): Request<Route[]> => {
  const exact = filter.dst === undefined || filter.dst === 'default' ? undefined : toPrefix(filter.dst)
  const dst = exact && formatCidr({ ip: network(exact.cidr), prefix: exact.length })
  const family = exact?.family ?? filter.family
  const id = filter.table === undefined ? undefined : tableId.toNumber(filter.table)
  const proto = filter.protocol === undefined ? undefined : protocol.toNumber(filter.protocol)
  const kind = filter.type === undefined ? undefined : type.toNumber(filter.type)
  return dump(
    routeLayout,
    {
      op: 'list routes',
      type: RTM_GETROUTE,
      header: { family: toAf(family), protocol: proto, type: kind },
      attributes: { table: id, oif: filter.index },
    },
    (message) => {
      if (fromAf(message.family) === undefined) return undefined
      // Since Linux 4.20 the kernel filters; older ones give all.
      if (proto !== undefined && message.protocol !== proto) return undefined
      if (kind !== undefined && message.type !== kind) return undefined
      const route = toRoute(message, message.attributes)
      if (!route || (id !== undefined && route.table !== id)) return undefined
      if (dst !== undefined && route.dst !== dst) return undefined
      if (filter.dst === 'default' && !route.dst.endsWith('/0')) return undefined
      const { index } = filter
      const uses =
        index === undefined || route.index === index || route.nexthops.some((hop) => hop.index === index)
      return uses ? route : undefined
    },
  )
}
