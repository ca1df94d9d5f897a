import { formatCidr, network, parseCidr, type Route } from '../../netlink/index.ts'
import { chainedResult } from '../shared/chained.ts'
import { checkFailed, findLink, routesOf } from '../shared/check.ts'
import { installedRoutes } from '../shared/configure.ts'
import { ownAddresses } from '../shared/result.ts'
import type { VrfAttachment } from './conf.ts'
import { checkName, vrfTable } from './device.ts'

const MAIN = 254

const uses = (found: Route, gateway: string | undefined): boolean =>
  gateway === undefined || [found, ...found.nexthops].some((way) => way.gateway === gateway)

/**
 * The VRF is there, up, has the table that the configuration names and the interface in it; the result's routes and
 * those to its subnets are in that table.
 * @throws CniError naming the first that is not so
 */
export const check = async (attachment: VrfAttachment): Promise<void> => {
  checkName(attachment)
  const { conf, container, ifName } = attachment
  const { vrfname } = conf
  const result = chainedResult(attachment, 'missing prevResult from earlier plugin')
  const vrf = await findLink(container, vrfname)
  if (!vrf) throw checkFailed('Link not found', `there is no VRF ${vrfname}`)
  const table = vrfTable(vrf)
  if (table === undefined) throw checkFailed(`Netlink ${vrfname} is not a VRF`)
  if (conf.table !== 0 && conf.table !== table)
    throw checkFailed(`VRF ${vrfname} has table ${table}, the configuration says ${conf.table}`)
  if (!vrf.up) throw checkFailed(`VRF ${vrfname} is down`)
  const own = await findLink(container, ifName)
  if (own?.master !== vrf.index) throw checkFailed(`failed to find ${ifName} associated to vrf ${vrfname}`)
  const ips = ownAddresses(result, attachment)
  const subnets = ips.flatMap(({ address }) => {
    const parsed = parseCidr(address)
    if (!parsed || parsed.prefix === parsed.ip.length * 8) return []
    return [{ dst: formatCidr({ ip: network(parsed), prefix: parsed.prefix }), gw: undefined, table }]
  })
  const wanted = installedRoutes(ips, result.routes ?? []).map(({ dst, gw, table: asked }) => ({
    ...{ dst, gw },
    table: (asked || MAIN) === MAIN ? table : asked!,
  }))
  const known = new Map<number, readonly Route[]>()
  for (const { dst, gw, table: id } of [...subnets, ...wanted]) {
    const routes = known.get(id) ?? (await routesOf(container, { table: id, index: own.index }))
    known.set(id, routes)
    if (!routes.some((found) => found.dst === dst && uses(found, gw)))
      throw checkFailed(`route ${dst}${gw === undefined ? '' : ` via ${gw}`} is not in table ${id}`)
  }
}
