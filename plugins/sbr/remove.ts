import { address, type Request, type Rule, route, rule } from '../../netlink/index.ts'
import { findLink } from '../shared/check.ts'
import { Failures } from '../shared/failures.ts'
import { isCommonTable } from '../shared/tables.ts'
import type { SbrAttachment } from './conf.ts'
import { isSourceRule, prefixOf, sourcesOf } from './sources.ts'
import { deletion, isGone } from './steps.ts'

/** Addresses of the attachment: those of the result, and those that the interface has now, where it still is. */
const prefixes = async (
  attachment: SbrAttachment,
  index: number | undefined,
): Promise<ReadonlySet<string>> => {
  const { container, prevResult } = attachment
  const told = prevResult ? sourcesOf(prevResult, attachment).map(prefixOf) : []
  const held = index === undefined ? [] : await container.run(address.list({ index }))
  return new Set([...told, ...held.map(prefixOf)])
}

/** What the interface has in the tables that the rules led to. */
const routesIn = async (
  { conf, container }: SbrAttachment,
  rules: readonly Rule[],
  index: number | undefined,
): Promise<Request<void>[]> => {
  // A table that the configuration names is somebody else's.
  if (conf.table !== undefined || index === undefined) return []
  const tables = new Set(rules.map(({ table }) => table).filter((id) => !isCommonTable(id)))
  if (tables.size === 0) return []
  const routes = await container.run(route.list({ index }))
  return routes
    .filter((found) => tables.has(found.table) && found.nexthops.every((way) => way.index === index))
    .map(deletion)
}

/**
 * Removes the rules of the attachment's addresses, Go's as well, and what its interface has in their tables. The
 * routes that were in the main table are not put back: who made the interface takes it away next.
 * @throws NetlinkError
 */
export const remove = async (attachment: SbrAttachment): Promise<void> => {
  const { netns, container, ifName } = attachment
  // Rules and tables have gone with the namespace.
  if (!netns) return
  const index = (await findLink(container, ifName))?.index
  const own = await prefixes(attachment, index)
  const rules = (await container.run(rule.list())).filter((one) => isSourceRule(one) && own.has(one.from))
  const requests = [
    ...(await routesIn(attachment, rules, index)),
    ...rules.map(({ family, from, table, priority }) => rule.delete({ family, from, table, priority })),
  ]
  const failures = new Failures()
  for (const outcome of await container.batch(requests))
    await failures.attempt(() => {
      if (!outcome.ok && !isGone(outcome.error)) throw outcome.error
    })
  failures.raise()
}
