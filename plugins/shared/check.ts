/** What CHECK looks at for every interface plugin: the interface, its addresses, its routes. */
import { CniError } from '../../cni/error.ts'
import type { Attachment } from '../../cni/plugin.ts'
import type { Interface, Result } from '../../cni/types.ts'
import {
  address,
  type BriefLink,
  type Connection,
  formatCidr,
  isErrno,
  type Link,
  link,
  network,
  parseCidr,
  type Request,
  route,
  sameMac,
} from '../../netlink/index.ts'
import { type InstalledRoute, installedRoutes } from './configure.ts'
import { ownAddresses } from './result.ts'

/** A CHECK that failed: what was found and what was expected. Code 999, as the Go plugins have it. */
export const checkFailed = (msg: string, details?: string): CniError =>
  new CniError({ code: 999, msg, details })

/** One thing that CHECK looks at, and how it may have come to differ; undefined where the configuration asks for nothing. */
export type Fact = readonly [what: string, have: unknown, want: unknown, details?: string]

/** What the kernel says of a link is what the configuration asks for. @throws CniError naming the first that differs */
export const checkFacts = ({ name }: Link, facts: readonly Fact[]): void => {
  for (const [what, have, want, details] of facts)
    if (want !== undefined && have !== want)
      throw checkFailed(
        `interface ${name} has ${what} ${have ?? 'none'}, the configuration says ${want}`,
        details,
      )
}

/** The result of ADD. @throws CniError where the runtime did not pass it */
export const requirePrevResult = ({ prevResult }: Pick<Attachment<unknown>, 'prevResult'>): Result => {
  if (!prevResult)
    throw new CniError({
      code: 7,
      msg: 'Required prevResult missing',
      details: 'CHECK needs the result of ADD as prevResult',
    })
  return prevResult
}

/** Not as an error: to make one takes longer than to ask the kernel, and often it is what is hoped for. */
const whereThere = async <T>(connection: Connection, request: Request<T>): Promise<T | null> => {
  const [outcome] = await connection.batch([request])
  if (outcome.ok) return outcome.value
  if (outcome.code === 'ENODEV') return null
  throw outcome.error
}

/** A link by its name or index, or null. */
export const findLink = (connection: Connection, which: string | number): Promise<Link | null> =>
  whereThere(connection, link.get(which))

/** The same in brief. */
export const findBrief = (connection: Connection, which: string | number): Promise<BriefLink | null> =>
  whereThere(connection, link.getBrief(which))

/**
 * The link of an interface in the result, of the right kind (where that is known) and with its MAC.
 * @throws CniError
 */
export const checkLink = async (
  connection: Connection,
  { name, mac, mtu }: Interface,
  kind?: string,
): Promise<Link> => {
  const found = await findLink(connection, name)
  if (!found) throw checkFailed(`interface ${name} of the result does not exist`)
  if (kind !== undefined && found.kind !== kind)
    throw checkFailed(`interface ${name} is not a ${kind}`, `it is: ${found.kind ?? 'hardware'}`)
  if (mac && !sameMac(mac, found.address))
    throw checkFailed(`interface ${name} has MAC ${found.address}, the result says ${mac}`)
  if (mtu && mtu !== found.mtu)
    throw checkFailed(`interface ${name} has MTU ${found.mtu}, the result says ${mtu}`)
  return found
}

/** The container's interface in the result. @throws CniError where it is not listed */
export const containerInterface = (
  result: Result,
  { ifName, netnsPath }: Pick<Attachment<unknown>, 'ifName' | 'netnsPath'>,
): Interface => {
  const entry = (result.interfaces ?? []).find(
    ({ name, sandbox }) => name === ifName && sandbox === netnsPath,
  )
  if (!entry) throw checkFailed(`the result lists no interface ${ifName} in sandbox ${netnsPath}`)
  return entry
}

/** Routes that a filter tells of; in a table that is not there are none. */
export const routesOf = async (
  connection: Connection,
  filter: route.RouteFilter,
): Promise<readonly route.Route[]> => {
  try {
    return await connection.run(route.list(filter))
  } catch (error) {
    // IPv4 has no such table as long as nothing is in it.
    if (isErrno(error, 'ENOENT')) return []
    throw error
  }
}

const hasRoute = (found: readonly route.Route[], wanted: InstalledRoute): boolean =>
  found.some(
    (have) =>
      have.dst === wanted.dst &&
      (!wanted.gw || [have, ...have.nexthops].some(({ gateway }) => gateway === wanted.gw)) &&
      (!wanted.priority || have.priority === wanted.priority) &&
      (wanted.scope === undefined || address.scope.toNumber(have.scope) === wanted.scope) &&
      (!wanted.mtu || have.metrics?.mtu === wanted.mtu) &&
      (!wanted.advmss || have.metrics?.advmss === wanted.advmss),
  )

/**
 * Every address and route of the result is in place on the container's interface.
 * @throws CniError naming the first that is missing
 */
export const checkConfiguration = async (
  attachment: Attachment<unknown>,
  found: Link,
  result: Result,
): Promise<void> => {
  const { container: connection } = attachment
  const ips = ownAddresses(result, attachment)
  const present = new Set(
    (await connection.run(address.list({ index: found.index }))).map((own) => own.address),
  )
  for (const ip of ips) {
    const parsed = parseCidr(ip.address)
    if (!parsed || !present.has(formatCidr(parsed)))
      throw checkFailed(
        `address ${ip.address} is not on interface ${found.name}`,
        `it has: ${[...present].join(', ') || 'none'}`,
      )
    if (parsed.prefix === parsed.ip.length * 8) continue
    const dst = formatCidr({ ip: network(parsed), prefix: parsed.prefix })
    // In whichever table: sbr and vrf, behind this one, move routes out of the main one.
    const routes = await connection.run(route.list({ dst }))
    if (routes.length === 0) throw checkFailed(`there is no route to ${dst}, the subnet of ${ip.address}`)
  }
  for (const wanted of installedRoutes(ips, result.routes ?? [])) {
    const table = wanted.table || undefined
    const routes = await routesOf(connection, { table, dst: wanted.dst })
    if (!hasRoute(routes, wanted))
      throw checkFailed(
        `route ${wanted.dst}${wanted.gw ? ` via ${wanted.gw}` : ''} is not in ${table ? `table ${table}` : 'any table'}`,
      )
  }
}
