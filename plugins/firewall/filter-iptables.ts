/** The filter tables by the programs: `iptables -S` to read, `iptables-restore --noflush` to change, one process each. */
import type { Exec } from '../../cni/exec.ts'
import type { XtablesRule } from '../../netlink/nftables/xtables.ts'
import { IptablesTable, programs } from '../shared/iptables.ts'
import type { Change, FilterTables, Listed, Lists, LookingPlan, Plan, Version } from './filter.ts'
import { parseRule, wordsOf } from './filter-rule.ts'

const TRIES = 10

interface Table {
  readonly chains: ReadonlySet<string>
  readonly lists: ReadonlyMap<string, readonly Listed[]>
}

const listedOf = (rule: XtablesRule | undefined, takesAll: boolean): Listed => ({
  ...{ rule, takesAll, owner: undefined, handle: undefined },
  mentions: () => true,
})

/** The lines of `-S`. */
export const parseTable = (lines: readonly string[]): Table => {
  const chains = new Set<string>()
  const lists = new Map<string, Listed[]>()
  for (const line of lines) {
    const [, made] = /^-[NP] (\S+)/.exec(line) ?? []
    if (made !== undefined) chains.add(made)
    const parsed = parseRule(line)
    if (!parsed) continue
    const { chain, rule, takesAll } = parsed
    const list = lists.get(chain) ?? []
    list.push(listedOf(rule, takesAll))
    lists.set(chain, list)
  }
  return { chains, lists }
}

/** The commands for `iptables-restore`, places as numbers. */
export const commandsOf = ({ chains, lists }: Table, changes: readonly Change[]): string[][] => {
  const current = new Map([...lists].map(([chain, list]) => [chain, [...list]]))
  const made = new Set(chains)
  const commands: string[][] = []
  for (const change of changes) {
    const { chain } = change
    if (change.do === 'chain') {
      // Fails where somebody else has made it since: then all is planned anew.
      if (!made.has(chain)) commands.push(['-N', chain])
      made.add(chain)
      continue
    }
    const list = current.get(chain) ?? []
    current.set(chain, list)
    if (change.do === 'delete') {
      if (!change.listed.rule) throw new Error(`a rule of ${chain} that is not ours is to be deleted`)
      commands.push(['-D', chain, ...wordsOf(change.listed.rule)])
      list.splice(list.indexOf(change.listed), 1)
      continue
    }
    const added = listedOf(change.rule, false)
    const words = wordsOf(change.rule)
    if (change.at === 'end') {
      commands.push(['-A', chain, ...words])
      list.push(added)
    } else {
      const index = change.at === 'start' ? 0 : list.indexOf(change.at) + 1
      commands.push(['-I', chain, `${index + 1}`, ...words])
      list.splice(index, 0, added)
    }
  }
  return commands
}

/** The filter tables by programs of the host. */
export class IptablesFilter implements FilterTables {
  readonly isConsistent = false
  readonly #table: (version: Version) => IptablesTable

  /** @param table the program for each family. Default: `iptables` and `ip6tables` */
  constructor(
    exec: Exec,
    table = (version: Version) => new IptablesTable(exec, programs[version], 'filter'),
  ) {
    this.#table = table
  }

  async read(version: Version): Promise<Lists> {
    return parseTable(await this.#table(version).list()).lists
  }

  async #change(version: Version, plan: Plan | LookingPlan): Promise<void> {
    const table = this.#table(version)
    let refused: { readonly error: unknown; readonly commands: string } | undefined
    for (let attempt = 1; ; attempt++) {
      const found = parseTable(await table.list())
      const commands = commandsOf(found, await plan(version, found.lists))
      if (commands.length === 0) return
      const words = JSON.stringify(commands)
      // Nobody else has changed anything: it is not others who are to blame.
      if (refused?.commands === words) throw refused.error
      try {
        return await table.restore(commands)
      } catch (error) {
        if (attempt === TRIES) throw error
        refused = { error, commands: words }
      }
    }
  }

  async change(
    versions: readonly Version[],
    _chains: readonly string[],
    plan: Plan | LookingPlan,
  ): Promise<void> {
    for (const version of versions) await this.#change(version, plan)
  }
}
