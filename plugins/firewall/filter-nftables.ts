/** The filter tables of nf_tables, over netlink: those that `iptables` and `ip6tables` manage on almost every host. */
import type { Connection } from '../../netlink/connection.ts'
import { isErrno } from '../../netlink/error.ts'
import {
  addChain,
  addRule,
  addTable,
  deleteRule,
  getChain,
  insertRule,
  isWithoutNftables,
  listRules,
  type Operation,
  priorities,
  type Rule,
  transaction,
  update,
} from '../../netlink/nftables/index.ts'
import { readXtablesRule, takesAll, type XtablesRule, xtablesRule } from '../../netlink/nftables/xtables.ts'
import type { AddRule, Change, FilterTables, Listed, Lists, LookingPlan, Plan, Version } from './filter.ts'
import { FORWARD } from './rules.ts'

const tables = {
  4: { family: 'ip', table: 'filter' },
  6: { family: 'ip6', table: 'filter' },
} as const

/** FORWARD as iptables makes it where nobody did. */
const forwardBase = { type: 'filter', hook: 'forward', priority: priorities.filter } as const

/** Others change the rule set all the time on a busy node; each try takes less than a millisecond. */
const ATTEMPTS = 100

/** A rule that is read as far as it is looked at: a node has hundreds of permits, and most are others'. */
class NftablesListed implements Listed {
  readonly #listed: Rule
  #rule: XtablesRule | undefined
  #read = false

  constructor(listed: Rule) {
    this.#listed = listed
  }

  get rule(): XtablesRule | undefined {
    if (!this.#read) this.#rule = readXtablesRule(this.#listed)
    this.#read = true
    return this.#rule
  }
  get owner(): string | undefined {
    return this.#listed.tag
  }
  get takesAll(): boolean {
    return takesAll(this.#listed)
  }
  get handle(): bigint {
    return this.#listed.handle
  }
  mentions(ip: Buffer): boolean {
    const { raw } = this.#listed
    return Buffer.from(raw.buffer, raw.byteOffset, raw.length).includes(ip)
  }
}

const listChain = async (connection: Connection, version: Version, chain: string): Promise<Listed[]> => {
  const rules = await connection.run(listRules({ ...tables[version], chain }))
  return rules.map((listed) => new NftablesListed(listed))
}

const isThere = async (connection: Connection, version: Version, chain: string): Promise<boolean> => {
  const [outcome] = await connection.batch([getChain({ ...tables[version], chain })])
  if (!outcome) return false
  if (!outcome.ok && !isErrno(outcome.error, 'ENOENT') && !isWithoutNftables(outcome.error))
    throw outcome.error
  return outcome.ok
}

const adding = (version: Version, { chain, rule, owner, at }: AddRule): Operation => {
  const { family } = tables[version]
  const options = { ...tables[version], chain, rule: xtablesRule(family, rule), tag: owner }
  if (at === 'start') return insertRule(options)
  return addRule(options, at === 'end' ? undefined : at.handle)
}

export interface NftablesFilterOptions {
  /** Without nf_tables there are no rules: for removing. Default false: an error. */
  readonly mayLack?: boolean | undefined
}

/** The filter tables over a NETLINK_NETFILTER connection to the host. */
export class NftablesFilter implements FilterTables {
  readonly isConsistent = true
  readonly #connection: Connection
  readonly #mayLack: boolean

  constructor(connection: Connection, { mayLack = false }: NftablesFilterOptions = {}) {
    this.#connection = connection
    this.#mayLack = mayLack
  }

  async read(version: Version, chains: readonly string[]): Promise<Lists> {
    const lists = new Map<string, Listed[]>()
    try {
      for (const chain of chains) lists.set(chain, await listChain(this.#connection, version, chain))
    } catch (error) {
      if (!this.#mayLack || !isWithoutNftables(error)) throw error
    }
    return lists
  }

  async #operations(version: Version, changes: readonly Change[]): Promise<Operation[]> {
    const operations: Operation[] = changes.some((change) => change.do === 'chain')
      ? [addTable(tables[version])]
      : []
    for (const change of changes)
      if (change.do === 'delete')
        operations.push(
          deleteRule({ ...tables[version], chain: change.chain, handle: change.listed.handle ?? 0n }),
        )
      else if (change.do === 'add') operations.push(adding(version, change))
      else if (change.chain !== FORWARD)
        operations.push(addChain({ ...tables[version], chain: change.chain }))
      // Adding it where it is would set its policy.
      else if (!(await isThere(this.#connection, version, FORWARD)))
        operations.push(addChain({ ...tables[version], chain: FORWARD, base: forwardBase }))
    return operations
  }

  async change(
    versions: readonly Version[],
    chains: readonly string[],
    plan: Plan | LookingPlan,
  ): Promise<void> {
    let shared = false
    const look = async (): Promise<Operation[]> => {
      const operations: Operation[] = []
      for (const version of versions) {
        const changes = await plan(version, await this.read(version, chains))
        shared ||= changes.some((change) => change.shared)
        operations.push(...(await this.#operations(version, changes)))
      }
      return operations
    }
    const options = { op: 'change the filter table' }
    const operations = await look()
    try {
      // What is only this attachment's nobody else adds or removes.
      if (!shared) return await transaction(this.#connection, operations, options)
    } catch (error) {
      // What was there when it was listed is gone.
      if (!isErrno(error, 'ENOENT')) throw error
    }
    // Two that miss the same thing must not both add it.
    await update(this.#connection, look, { ...options, consistent: true, attempts: ATTEMPTS })
  }
}
