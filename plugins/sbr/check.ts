import { address, formatCidr, network, type Route, type Rule, rule } from '../../netlink/index.ts'
import { checkFailed, findLink, requirePrevResult, routesOf } from '../shared/check.ts'
import { isCommonTable } from '../shared/tables.ts'
import { gatewaysOf as fixedGateways, type SbrAttachment } from './conf.ts'
import { resultRoutes } from './plan.ts'
import { defaultOf, gatewaysOf } from './routes.ts'
import { isSourceRule, prefixOf, requireSources, type Source } from './sources.ts'

/** The table that the source's packets ask first. @throws CniError */
const tableFor = (source: Source, rules: readonly Rule[], table: number | undefined): number => {
  const from = prefixOf(source)
  const [first] = rules
    .filter((one) => isSourceRule(one) && one.from === from && (table === undefined || one.table === table))
    .sort((a, b) => a.priority - b.priority)
  if (!first || (table === undefined && isCommonTable(first.table)))
    throw checkFailed(
      `there is no rule for source ${source.ip}${table === undefined ? '' : ` that leads to table ${table}`}`,
    )
  return first.table
}

const has = (routes: readonly Route[], dst: string, gateway: string | undefined): boolean =>
  routes.some((one) => one.dst === dst && (gateway === undefined || gatewaysOf(one).includes(gateway)))

const missing = (dst: string, gateway: string | undefined, tables: readonly number[]) =>
  checkFailed(
    `route ${dst}${gateway === undefined ? '' : ` via ${gateway}`} is not in table ${tables.join(' or ')}`,
  )

/** Each source's table has its subnet and its default route, and one or the other has the result's routes. */
const checkTables = async (attachment: SbrAttachment, tables: ReadonlyMap<Source, number>): Promise<void> => {
  const { conf, container, ifName } = attachment
  const found = await findLink(container, ifName)
  if (!found) throw checkFailed(`interface ${ifName} does not exist`)
  const fixed = fixedGateways(conf)
  const addresses = await container.run(address.list({ index: found.index }))
  const all = new Map<Source, readonly Route[]>()
  for (const [source, table] of tables) {
    const { family, subnet, ip } = source
    const routes = await routesOf(container, { table, index: found.index })
    all.set(source, routes)
    const dst = formatCidr({ ip: network(subnet), prefix: subnet.prefix })
    // The kernel makes no route to the subnet of such an address.
    const alone = addresses.some((one) => one.ip === ip && one.flags.noprefixroute)
    if (subnet.prefix < subnet.ip.length * 8 && !alone && !has(routes, dst, undefined))
      throw missing(dst, undefined, [table])
    const gateway = fixed.get(family)
    // What the main table had may lead over another gateway than IPAM's.
    const known = gateway !== undefined || source.gateway !== undefined
    if (known && !has(routes, defaultOf(family), gateway)) throw missing(defaultOf(family), gateway, [table])
  }
  const sources = [...tables.keys()]
  for (const { family, options, sources: takers } of resultRoutes(
    requirePrevResult(attachment),
    attachment,
    sources,
  )) {
    const replaced = options.dst === defaultOf(family) && fixed.has(family)
    if (replaced || takers.some((source) => has(all.get(source)!, options.dst, options.gateway))) continue
    if (takers.length > 0)
      throw missing(
        options.dst,
        options.gateway,
        takers.map((source) => tables.get(source)!),
      )
  }
}

/**
 * Each source has its rule, and its table the routes that lead out of the interface. With `table`, what is in it is
 * somebody else's.
 * @throws CniError naming the first that is missing
 */
export const check = async (attachment: SbrAttachment): Promise<void> => {
  const { conf, container } = attachment
  const sources = requireSources(requirePrevResult(attachment), attachment)
  const rules = await container.run(rule.list())
  const tables = new Map(sources.map((source) => [source, tableFor(source, rules, conf.table)]))
  if (conf.table === undefined) await checkTables(attachment, tables)
}
