/** What an ADD does: a table for each source, the rule that leads to it, and what leaves the main table. */
import type { Result } from '../../cni/types.ts'
import { type Family, familyOf, formatCidr, network, type Route, route } from '../../netlink/index.ts'
import { installedRoutes } from '../shared/configure.ts'
import { ownAddresses } from '../shared/result.ts'
import type { SbrAttachment } from './conf.ts'
import { type Destined, defaultOf, gatewaysOf, MAIN, type OwnRoute, suits } from './routes.ts'
import type { Source } from './sources.ts'

/** What the kernel gives a route that names no metric. */
const usualPriority: Readonly<Record<Family, number>> = { 4: 0, 6: 1024 }

/** A route of the result, as it was to be installed in the main table. */
export interface ResultRoute extends Destined {
  readonly options: route.RouteOptions & { readonly dst: string }
  /** The sources that may take it. */
  readonly sources: readonly Source[]
}

/** The result's routes that belong to the main table. */
export const resultRoutes = (
  result: Result,
  attachment: Pick<SbrAttachment, 'ifName'>,
  sources: readonly Source[],
): readonly ResultRoute[] =>
  installedRoutes(ownAddresses(result, attachment), result.routes ?? []).flatMap((one) => {
    const { dst, gw, mtu, advmss, priority, scope } = one
    if ((one.table || MAIN) !== MAIN) return []
    const family = familyOf(dst)
    const destined = { family, gateways: gw === undefined ? [] : [gw] } as const
    const metrics = mtu || advmss ? { mtu: mtu || undefined, advmss: advmss || undefined } : undefined
    const options = { dst, family, gateway: gw, priority: priority || undefined, scope, metrics }
    return [{ ...destined, options, sources: sources.filter((source) => suits(destined, source, sources)) }]
  })

const isDefault = ({ dst }: { readonly dst: string }): boolean => dst === defaultOf(4) || dst === defaultOf(6)

export interface Planned {
  /** Index of the interface. */
  readonly index: number
  /** Static gateways. */
  readonly gateways: ReadonlyMap<Family, string>
  readonly own: readonly OwnRoute[]
  readonly wanted: readonly ResultRoute[]
}

/** The default routes of a source that are made, not moved. */
const madeDefaults = (source: Source, copies: readonly Route[], plan: Planned): route.RouteOptions[] => {
  const { index, gateways, wanted } = plan
  const { family } = source
  const dst = defaultOf(family)
  const gateway = gateways.get(family) ?? source.gateway
  if (gateway !== undefined) {
    const usual = usualPriority[family]
    // One that is moved has more to say than its gateway.
    const isThere = copies.some((copy) => isDefault(copy) && copy.priority === usual)
    return isThere ? [] : [{ dst, family, gateway, index }]
  }
  // An earlier plugin may have taken it out of the main table again, or the interface was not to have it there.
  if (copies.some(isDefault)) return []
  return wanted
    .filter(({ options, sources }) => isDefault(options) && sources.includes(source))
    .map(({ options }) => ({ ...options, index }))
}

const reachesDirectly = ({ gateway, nexthops, nexthopId }: route.RouteOptions): boolean =>
  gateway === undefined && nexthops === undefined && nexthopId === undefined

/** Gateways are looked for in the table itself: what reaches them goes first. */
const inOrder = (all: readonly route.RouteOptions[]): route.RouteOptions[] => [
  ...all.filter(reachesDirectly),
  ...all.filter((one) => !reachesDirectly(one)),
]

/** The routes of a source's table. */
export const tableOf = (source: Source, table: number, plan: Planned): readonly route.RouteOptions[] => {
  const copies = plan.own
    .filter(({ sources }) => sources.includes(source))
    .map(({ copy }) => copy)
    // A static gateway is the only one.
    .filter((copy) => !(isDefault(copy) && plan.gateways.has(source.family)))
  return inOrder([...copies.map(route.restate), ...madeDefaults(source, copies, plan)]).map((one) => ({
    ...one,
    table,
  }))
}

/** What becomes of the main table. */
export interface MainTable {
  /** In this order: the other way round they can be made again. */
  readonly leave: readonly Route[]
  readonly add: readonly route.RouteOptions[]
}

/** Everything that moves, those with a gateway first: their gateways are reached by the others. */
export const mainTable = ({ own }: Planned): MainTable => {
  const leave = own.filter(({ moves }) => moves).map(({ found }) => found)
  const direct = (found: Route): boolean => gatewaysOf(found).length === 0
  return { leave: [...leave.filter((one) => !direct(one)), ...leave.filter(direct)], add: [] }
}

/**
 * The same with source hints: what is reached without a gateway stays, and the routes to the sources' own subnets prefer
 * the source.
 */
export const hintedMainTable = (plan: Planned, sources: readonly Source[]): MainTable => {
  const { leave } = mainTable(plan)
  const direct = plan.own.map(({ found }) => found).filter((found) => gatewaysOf(found).length === 0)
  const replaced: Route[] = []
  const add: route.RouteOptions[] = []
  const seen = new Set<string>()
  for (const { ip, subnet, family } of sources) {
    const dst = formatCidr({ ip: network(subnet), prefix: subnet.prefix })
    if (subnet.prefix === subnet.ip.length * 8 || seen.has(dst)) continue
    seen.add(dst)
    const known = direct.find((found) => found.dst === dst)
    if (known?.preferredSource !== undefined) continue
    if (known) replaced.push(known)
    const base = known ? route.restate(known) : { dst, family, index: plan.index, scope: 'link' as const }
    add.push({ ...base, preferredSource: ip })
  }
  return { leave: [...leave.filter((found) => gatewaysOf(found).length > 0), ...replaced], add }
}
