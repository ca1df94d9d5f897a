/** The rules that isolate a bridge: what is to be changed, and what is missing. */
import type { XtablesRule } from '../../netlink/nftables/xtables.ts'
import type { Change, Listed, Lists } from './filter.ts'
import { rulesIn } from './filter.ts'
import { sameEffect, textOf } from './filter-rule.ts'
import { bridgeOf, type Isolation, STAGE_1, STAGE_2, stage1Of, stage2Of, stageReturn } from './rules.ts'

export interface BridgePolicy {
  readonly bridge: string
  readonly policy: Isolation
}

/** The rules of a stage that are about a bridge. */
export const rulesOfBridge = (lists: Lists, stage: string, bridge: string): readonly Listed[] =>
  rulesIn(lists, stage).filter(({ rule }) => rule && bridgeOf(rule) === bridge)

/** Whether the bridge has these rules and no others, where packets get to them. */
const holds = (lists: Lists, stage: string, bridge: string, wanted: readonly XtablesRule[]): boolean => {
  const list = rulesIn(lists, stage)
  const own = rulesOfBridge(lists, stage, bridge)
  const end = list.findIndex(({ takesAll }) => takesAll)
  return (
    own.length === wanted.length &&
    own.every(({ rule }, i) => rule && sameEffect(rule, wanted[i]!)) &&
    (end < 0 || own.every((listed) => list.indexOf(listed) < end))
  )
}

const stages = ({ bridge, policy }: BridgePolicy) =>
  [
    [STAGE_1, stage1Of(bridge, policy)],
    [STAGE_2, [stage2Of(bridge)]],
  ] as const

/** Makes the bridge's rules those of the policy; those of another one go. */
export const isolationChanges = (lists: Lists, isolation: BridgePolicy): Change[] => {
  const { bridge } = isolation
  const changes: Change[] = []
  // The second stage first: the first one leads to it.
  for (const [stage, wanted] of [...stages(isolation)].reverse()) {
    const list = rulesIn(lists, stage)
    if (list.length === 0) changes.push({ do: 'chain', chain: stage, shared: true })
    if (!list.some(({ takesAll }) => takesAll))
      changes.push({ do: 'add', chain: stage, rule: stageReturn, at: 'end', shared: true })
    if (holds(lists, stage, bridge, wanted)) continue
    for (const listed of rulesOfBridge(lists, stage, bridge))
      changes.push({ do: 'delete', chain: stage, listed, shared: true })
    for (const rule of [...wanted].reverse())
      changes.push({ do: 'add', chain: stage, rule, at: 'start', shared: true })
  }
  return changes
}

/** What is missing of the bridge's rules, in words. */
export const missingIsolation = (lists: Lists, isolation: BridgePolicy): string[] =>
  stages(isolation).flatMap(([stage, wanted]) =>
    holds(lists, stage, isolation.bridge, wanted)
      ? []
      : [
          `expected ${stage} to have for ${isolation.bridge}, before its end, these rules and no others: ${wanted
            .map(textOf)
            .join('; ')}`,
        ],
  )

/** The bridges that have rules of a plugin. */
export const isolatedBridges = (lists: Lists): ReadonlySet<string> =>
  new Set(
    [STAGE_1, STAGE_2].flatMap((stage) =>
      rulesIn(lists, stage).flatMap(({ rule }) => (rule && bridgeOf(rule)) ?? []),
    ),
  )

/** The policies of those of the bridges that have one. */
export const policiesIn = (lists: Lists, bridges: Iterable<string>): BridgePolicy[] =>
  [...bridges].flatMap((bridge) => {
    const own = rulesOfBridge(lists, STAGE_1, bridge).flatMap(({ rule }) => rule ?? [])
    if (own.length === 0) return []
    return { bridge, policy: own.some(({ target }) => target === 'DROP') ? 'isolated' : 'same-bridge' }
  })

/** Removes the rules of bridges. */
export const isolationRemoval = (lists: Lists, bridges: ReadonlySet<string>): Change[] =>
  [...bridges].flatMap((bridge) =>
    [STAGE_1, STAGE_2].flatMap((stage) =>
      rulesOfBridge(lists, stage, bridge).map(
        (listed) => ({ do: 'delete', chain: stage, listed, shared: true }) as const,
      ),
    ),
  )
