/** Which routes of the main table are an interface's to move, and to whose tables they go. */
import { contains, type Family, familyOf, parseIp, type Route, route } from '../../netlink/index.ts'
import type { Source } from './sources.ts'

/** RT_TABLE_MAIN, linux/rtnetlink.h. */
export const MAIN = 254

/** A default route's destination. */
export const defaultOf = (family: Family): string => (family === 4 ? '0.0.0.0/0' : '::/0')

const waysOf = ({ nexthops, index, gateway }: Route) =>
  nexthops.length > 0 ? nexthops : [{ index, gateway }]

/** The gateways of a route's ways. */
export const gatewaysOf = (found: Route): readonly string[] =>
  waysOf(found).flatMap(({ gateway }) => gateway ?? [])

/** What says for which sources a route is. */
export interface Destined {
  readonly family: Family
  readonly preferredSource?: string | undefined
  readonly gateways: readonly string[]
}

const isIn = ({ subnet }: Source, address: string): boolean => contains(subnet, parseIp(address)!)

/**
 * Whether the packets of a source may take a route: its preferred source, or else its gateway, is in the source's subnet.
 * A route that has neither, or whose gateway is in nobody's subnet (`169.254.1.1`, `fe80::1`), is for all.
 */
export const suits = (
  { family, preferredSource, gateways }: Destined,
  source: Source,
  all: readonly Source[],
): boolean => {
  if (family !== source.family) return false
  if (preferredSource !== undefined) return isIn(source, preferredSource)
  // One of the other family says nothing of subnets.
  const inside = gateways.filter(
    (gateway) => familyOf(gateway) === family && all.some((one) => isIn(one, gateway)),
  )
  return inside.length === 0 || inside.some((gateway) => isIn(source, gateway))
}

/** fe80::/10: what the kernel needs on every interface. */
const isLinkLocal = ({ dst }: Route): boolean => /^fe[89ab][0-9a-f]:/.test(dst)

/**
 * Whether the kernel itself looks after a route, in the main table only: it is made again when it is missing, and lasts
 * as long as a router says.
 */
const isAdvertised = ({ family, protocol, expires }: Route): boolean =>
  family === 6 && (protocol === 'ra' || (protocol === 'kernel' && expires !== undefined))

/** A route of the main table that an interface has. */
export interface OwnRoute {
  readonly found: Route
  /** The same with the interface's own ways alone, for a table of its own. */
  readonly copy: Route
  /** The sources that may take it. */
  readonly sources: readonly Source[]
  /** False: others need it as well, or the kernel. */
  readonly moves: boolean
}

const toOwn = (found: Route, index: number): Omit<OwnRoute, 'sources'> | undefined => {
  const ways = found.nexthops.filter((way) => way.index === index)
  const partial = ways.length < found.nexthops.length
  if (found.nexthops.length > 0 ? ways.length === 0 : found.index !== index) return undefined
  const moves = !partial && !isLinkLocal(found) && !isAdvertised(found)
  // What a router says of its lifetime is not told to a copy.
  const lasting = isAdvertised(found)
    ? {
        ...found,
        expires: undefined,
        protocol: found.protocol === 'ra' ? ('static' as const) : found.protocol,
      }
    : found
  if (!partial) return { found, copy: lasting, moves }
  const [only, ...more] = ways
  const own =
    more.length > 0
      ? { nexthops: ways }
      : { nexthops: [], gateway: only!.gateway, index, flags: { ...found.flags, ...only!.flags } }
  return { found, copy: { ...lasting, ...own, nexthopId: undefined }, moves }
}

/**
 * The routes of the main table that go over an interface and are for one of the sources. What is for another address of
 * the interface stays where that address looks for it.
 */
export const ownRoutes = (
  routes: readonly Route[],
  index: number,
  sources: readonly Source[],
): readonly OwnRoute[] =>
  routes.flatMap((found) => {
    const isMain = found.table === MAIN && !found.flags.cloned && route.isRestatable(found)
    const own = isMain ? toOwn(found, index) : undefined
    if (!own) return []
    const { family, preferredSource } = own.copy
    const destined = { family, preferredSource, gateways: gatewaysOf(own.copy) }
    const takers = sources.filter((source) => suits(destined, source, sources))
    return takers.length > 0 ? [{ ...own, sources: takers }] : []
  })
