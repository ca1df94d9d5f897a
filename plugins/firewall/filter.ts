/** The filter tables of IPv4 and IPv6, whatever program or socket they are reached by. */
import type { XtablesRule } from '../../netlink/nftables/xtables.ts'
import type { Version } from '../shared/iptables.ts'

export type { Version } from '../shared/iptables.ts'

/** A rule as it stands in a chain. */
export interface Listed {
  /** What it says; undefined where these words do not suffice: none of ours. */
  readonly rule: XtablesRule | undefined
  /** Whose it is, where it says so; see `owner.ts`. */
  readonly owner: string | undefined
  /** No packet gets past it. */
  readonly takesAll: boolean
  /** nf_tables: what it is deleted by. */
  readonly handle: bigint | undefined
  /** Whether it may name the address, without reading what it says. */
  mentions(ip: Buffer): boolean
}

/** Rules by their chain, in their order. A chain that is not there has none. */
export type Lists = ReadonlyMap<string, readonly Listed[]>

/** Makes a chain, unless it is there. FORWARD is made as iptables makes it. */
export interface MakeChain {
  readonly do: 'chain'
  readonly chain: string
  readonly shared: true
}
export interface AddRule {
  readonly do: 'add'
  readonly chain: string
  readonly rule: XtablesRule
  readonly owner?: string | undefined
  /** Its place: the end, the start, or behind a rule that is there. */
  readonly at: 'start' | 'end' | Listed
  /** Every attachment needs it; it stays when this one goes. */
  readonly shared: boolean
}
export interface DeleteRule {
  readonly do: 'delete'
  readonly chain: string
  readonly listed: Listed
  readonly shared: boolean
}
export type Change = MakeChain | AddRule | DeleteRule

/** From what there is to what is to be changed. Called again where others changed it meanwhile. */
export type Plan = (version: Version, lists: Lists) => readonly Change[]

/** One that has to look at more than the lists. */
export type LookingPlan = (version: Version, lists: Lists) => Promise<readonly Change[]>

export interface FilterTables {
  /**
   * Whether a change of what attachments share is refused, and planned anew, where anything was changed since the plan
   * began to look.
   */
  readonly isConsistent: boolean
  /** The chains of one table. */
  read(version: Version, chains: readonly string[]): Promise<Lists>
  /**
   * Reads, plans and carries out, all of a table or nothing.
   * @throws NetlinkError; Error of a program
   */
  change(versions: readonly Version[], chains: readonly string[], plan: Plan | LookingPlan): Promise<void>
}

/** The rules of a chain. */
export const rulesIn = (lists: Lists, chain: string): readonly Listed[] => lists.get(chain) ?? []
