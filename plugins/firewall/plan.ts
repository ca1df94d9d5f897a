/** What is to be changed in a filter table for an attachment, and what is missing. Looks at lists only. */
import type { XtablesRule } from '../../netlink/nftables/xtables.ts'
import type { AddRule, Change, Listed, Lists, Plan, Version } from './filter.ts'
import { rulesIn } from './filter.ts'
import { sameEffect, sameRule, textOf } from './filter-rule.ts'
import { isolationChanges, missingIsolation } from './plan-isolation.ts'
import { claims } from './plan-removal.ts'
import {
  FORWARD,
  type Isolation,
  jumpToAdmin,
  jumpToPermits,
  jumpToStage1,
  markerOf,
  OWNERS,
  PERMITS,
  permitsOf,
  STAGE_1,
  STAGE_2,
} from './rules.ts'

/**
 * How permits say whose they are: by a tag in the rule, or by a rule of {@link OWNERS}. `elsewhere`: the permits are
 * not in this table, only the markers.
 */
export type Permits = 'tagged' | 'marked' | 'elsewhere'

/** What an attachment needs of the filter tables. */
export interface Wanted {
  readonly permits: Permits
  /** By family, each with its whole length. */
  readonly addresses: { readonly [V in Version]: readonly string[] }
  readonly owner: string
  readonly adminChain: string
  readonly isolation: { readonly bridge: string; readonly policy: Isolation } | undefined
}

/** Families with an address. */
export const versionsOf = ({ addresses }: Pick<Wanted, 'addresses'>): Version[] =>
  ([4, 6] as const).filter((version) => addresses[version].length > 0)

/** The chains to look at. */
export const chainsOf = ({ permits, isolation }: Wanted): string[] => [
  FORWARD,
  PERMITS,
  ...(permits === 'tagged' ? [] : [OWNERS]),
  ...(isolation ? [STAGE_1, STAGE_2] : []),
]

/** Index of the rule that sends everything to a chain, whatever its comment. */
const jumpIndex = (list: readonly Listed[], chain: string): number =>
  list.findIndex(({ rule }) => rule && sameEffect(rule, { target: chain }))

const firstTaking = (list: readonly Listed[]): number => {
  const index = list.findIndex(({ takesAll }) => takesAll)
  return index < 0 ? list.length : index
}

interface Jumps {
  readonly list: readonly Listed[]
  /** Indices; -1 where there is none. */
  readonly permits: number
  readonly stage1: number
  /** Packets get to it. */
  readonly permitsHold: boolean
  /** Packets get to it, and before the permits. */
  readonly stage1Holds: boolean
}

const jumpsOf = (lists: Lists): Jumps => {
  const list = rulesIn(lists, FORWARD)
  const end = firstTaking(list)
  const permits = jumpIndex(list, PERMITS)
  const stage1 = jumpIndex(list, STAGE_1)
  const permitsHold = permits >= 0 && permits < end
  return {
    ...{ list, permits, stage1, permitsHold },
    stage1Holds: stage1 >= 0 && stage1 < end && (permits < 0 || stage1 < permits),
  }
}

/** FORWARD's rules: isolation first, because the permits accept what it forbids. */
const forwardChanges = (lists: Lists, { permits, isolation }: Wanted): Change[] => {
  const jumps = jumpsOf(lists)
  const movePermits = permits !== 'elsewhere' && !jumps.permitsHold
  const moveStage1 = (isolation !== undefined || jumps.stage1 >= 0) && !jumps.stage1Holds
  if (!movePermits && !moveStage1) return []
  const put = (rule: XtablesRule, old: number, at: AddRule['at']): Change[] => [
    ...(old < 0 ? [] : [{ do: 'delete', chain: FORWARD, listed: jumps.list[old]!, shared: true } as const]),
    { do: 'add', chain: FORWARD, rule, at, shared: true },
  ]
  const behind = jumps.stage1Holds ? jumps.list[jumps.stage1]! : 'start'
  return [
    { do: 'chain', chain: FORWARD, shared: true },
    ...(movePermits ? [{ do: 'chain', chain: PERMITS, shared: true } as const] : []),
    ...(moveStage1 ? [{ do: 'chain', chain: STAGE_1, shared: true } as const] : []),
    ...(movePermits ? put(jumpToPermits, jumps.permits, behind) : []),
    ...(moveStage1 ? put(jumpToStage1, jumps.stage1, 'start') : []),
  ]
}

/** Whether the operator's chain comes before every permit. */
const adminHolds = (list: readonly Listed[], chain: string): number => {
  const index = jumpIndex(list, chain)
  const first = list.findIndex(({ rule }) => rule?.target === 'ACCEPT')
  return first >= 0 && index > first ? -1 : index
}

const adminChanges = (lists: Lists, chain: string): Change[] => {
  const list = rulesIn(lists, PERMITS)
  if (adminHolds(list, chain) >= 0) return []
  const old = jumpIndex(list, chain)
  return [
    { do: 'chain', chain: PERMITS, shared: true },
    { do: 'chain', chain, shared: true },
    ...(old < 0 ? [] : [{ do: 'delete', chain: PERMITS, listed: list[old]!, shared: true } as const]),
    { do: 'add', chain: PERMITS, rule: jumpToAdmin(chain), at: 'start', shared: true },
  ]
}

const permitChanges = (lists: Lists, version: Version, { permits, addresses, owner }: Wanted): Change[] => {
  const list = rulesIn(lists, PERMITS)
  const tag = permits === 'tagged' ? owner : undefined
  return addresses[version]
    .flatMap(permitsOf)
    .flatMap((rule): Change[] =>
      list.some((listed) => listed.owner === tag && listed.rule && sameRule(listed.rule, rule))
        ? []
        : [{ do: 'add', chain: PERMITS, rule, owner: tag, at: 'end', shared: false }],
    )
}

const markerChanges = (lists: Lists, version: Version, wanted: Wanted): Change[] => {
  const list = rulesIn(lists, OWNERS)
  const missing = wanted.addresses[version].filter(
    (address) => !list.some(({ rule }) => rule && sameRule(rule, markerOf(address, wanted.owner))),
  )
  if (missing.length === 0) return []
  // Whose permits another implementation has removed since has left.
  const permitted = new Set(
    rulesIn(lists, PERMITS).flatMap(({ rule }) => rule?.source ?? rule?.destination ?? []),
  )
  const stale =
    wanted.permits === 'elsewhere'
      ? []
      : claims(lists).filter(
          ({ chain, address }) => chain === OWNERS && missing.includes(address) && !permitted.has(address),
        )
  return [
    ...(list.length > 0 ? [] : [{ do: 'chain', chain: OWNERS, shared: true } as const]),
    ...stale.map(({ listed }): Change => ({ do: 'delete', chain: OWNERS, listed, shared: false })),
    ...missing.map(
      (address): Change => ({
        ...{ do: 'add', chain: OWNERS, at: 'end', shared: false },
        rule: markerOf(address, wanted.owner),
      }),
    ),
  ]
}

/** What is missing of what an attachment needs. */
export const planAdd =
  (wanted: Wanted): Plan =>
  (version, lists) => [
    ...forwardChanges(lists, wanted),
    ...(wanted.permits === 'elsewhere' ? [] : adminChanges(lists, wanted.adminChain)),
    ...(wanted.permits === 'elsewhere' ? [] : permitChanges(lists, version, wanted)),
    ...(wanted.permits === 'tagged' ? [] : markerChanges(lists, version, wanted)),
    ...(wanted.isolation ? isolationChanges(lists, wanted.isolation) : []),
  ]

/** The same in words, for CHECK. Whose a permit is does not matter here. */
export const missingOf = (wanted: Wanted, version: Version, lists: Lists): string[] => {
  const jumps = jumpsOf(lists)
  const jump = (rule: XtablesRule, index: number, holds: boolean, late: string): string[] => {
    if (holds) return []
    const words = `${FORWARD} rule ${textOf(rule)}`
    return [index < 0 ? `expected ${words} not found` : `${words} comes too late: behind ${late}`]
  }
  const missing: string[] = []
  if (wanted.permits !== 'elsewhere') {
    missing.push(...jump(jumpToPermits, jumps.permits, jumps.permitsHold, 'a rule that no packet gets past'))
    const list = rulesIn(lists, PERMITS)
    if (adminHolds(list, wanted.adminChain) < 0)
      missing.push(
        `expected ${PERMITS} rule ${textOf(jumpToAdmin(wanted.adminChain))} not found before the permits`,
      )
    for (const rule of wanted.addresses[version].flatMap(permitsOf))
      if (!list.some((listed) => listed.rule && sameRule(listed.rule, rule)))
        missing.push(`expected rule ${textOf(rule)} not found in ${PERMITS}`)
  }
  if (wanted.isolation)
    missing.push(
      ...jump(
        jumpToStage1,
        jumps.stage1,
        jumps.stage1Holds,
        `${PERMITS}, or a rule that no packet gets past`,
      ),
      ...missingIsolation(lists, wanted.isolation),
    )
  return missing.map((what) => `IPv${version}: ${what}`)
}
