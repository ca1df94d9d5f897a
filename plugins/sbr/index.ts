/** `sbr`, source-based routing: what comes from an address of the interface leaves by the interface. */
import { CniError, codes } from '../../cni/error.ts'
import { type Context, definePlugin } from '../../cni/plugin.ts'
import { allVersions } from '../../cni/types.ts'
import { apply } from '../../cni/undo.ts'
import { isErrno, type Link, link, type Route, type Rule, route, rule } from '../../netlink/index.ts'
import { alone } from '../shared/alone.ts'
import { chainedResult } from '../shared/chained.ts'
import { containerNetns } from '../shared/netns.ts'
import { freeTables } from '../shared/tables.ts'
import { check } from './check.ts'
import { gatewaysOf, type SbrAttachment, type SbrConf, sbrConf } from './conf.ts'
import { hintedMainTable, mainTable, type Planned, resultRoutes, tableOf } from './plan.ts'
import { remove } from './remove.ts'
import { ownRoutes } from './routes.ts'
import { isSourceRule, prefixOf, requireSources, type Source } from './sources.ts'
import { addStep, leaveStep, ruleStep } from './steps.ts'

/** Where the Go plugin begins to count. */
const FIRST_TABLE = 100

const listed = async (attachment: SbrAttachment): Promise<[Rule[], Route[], Link[]]> => {
  const { container } = attachment
  // One socket: they go one after the other.
  return [
    await container.run(rule.list()),
    await container.run(route.list()),
    await container.run(link.list()),
  ]
}

/** A table for each source, with the interface's routes, which leave the main one. */
const divide = async (
  attachment: SbrAttachment,
  sources: readonly Source[],
  planned: Pick<Planned, 'gateways' | 'wanted'>,
): Promise<void> => {
  const { conf, container, ifName, undo } = attachment
  const [rules, routes, links] = await listed(attachment)
  const found = links.find(({ name }) => name === ifName)
  if (!found)
    throw new CniError({
      code: codes.internal,
      msg: `Cannot find network interface ${ifName}: Link not found`,
      details: 'an earlier plugin of the chain has to make it, or to put it into the container',
    })
  const tables = freeTables({ rules, routes, links }, FIRST_TABLE, sources.length)
  const own = ownRoutes(routes, found.index, sources)
  const plan = { ...planned, index: found.index, own }
  const main = conf.addSourceHints ? hintedMainTable(plan, sources) : mainTable(plan)
  await apply(container, undo, [
    ...sources
      .flatMap((source, i) => tableOf(source, tables[i]!, plan))
      .map((one) => addStep(container, one)),
    // Not before its table is whole: until then packets go as they went.
    ...sources.map((source, i) => ruleStep(container, source, tables[i]!)),
    ...main.leave.map((one) => leaveStep(container, one)),
    ...main.add.map((one) => addStep(container, one)),
  ])
}

/** Rules alone, for a table that somebody else fills. One that is there already will do. */
const lead = async (
  { container, undo }: SbrAttachment,
  sources: readonly Source[],
  table: number,
): Promise<void> => {
  const known = new Set(
    (await container.run(rule.list({ table }))).filter(isSourceRule).map(({ from }) => from),
  )
  const missing = sources.filter((source) => !known.has(prefixOf(source)))
  await apply(
    container,
    undo,
    missing.map((source) => ruleStep(container, source, table)),
  )
}

/** The sbr plugin. */
export const sbr = definePlugin({
  type: 'sbr',
  kind: 'interface',
  versions: allVersions,
  conf: sbrConf,

  async add(attachment: SbrAttachment) {
    const { conf } = attachment
    const gateways = gatewaysOf(conf)
    const result = chainedResult(attachment, 'This plugin must be called as chained plugin')
    const sources = requireSources(result, attachment)
    containerNetns(attachment)
    const { table } = conf
    if (table !== undefined) await lead(attachment, sources, table)
    else {
      const wanted = resultRoutes(result, attachment, sources)
      await alone(attachment, () => divide(attachment, sources, { gateways, wanted }))
    }
    return result
  },

  check,
  del: remove,

  async status({ host }: Context<SbrConf>) {
    try {
      await host.run(rule.list({ family: 4 }))
    } catch (error) {
      if (!isErrno(error, 'EOPNOTSUPP', 'EAFNOSUPPORT')) throw error
      throw new CniError({
        code: codes.notAvailable,
        msg: 'this kernel has no policy routing',
        details: 'it was built without CONFIG_IP_MULTIPLE_TABLES',
        cause: error,
      })
    }
  },
})
