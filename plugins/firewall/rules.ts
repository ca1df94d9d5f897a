/**
 * The chains and rules of the filter table, as the Go plugin of the same type writes them, so that each finds, skips
 * and removes what the other has made:
 *
 *     -A FORWARD -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j CNI-ISOLATION-STAGE-1
 *     -A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
 *     -A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN
 *     -A CNI-FORWARD -d 10.1.2.3/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
 *     -A CNI-FORWARD -s 10.1.2.3/32 -j ACCEPT
 *     -A CNI-ISOLATION-STAGE-1 -i cni0 ! -o cni0 -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge)" -j CNI-ISOLATION-STAGE-2
 *     -A CNI-ISOLATION-STAGE-1 -m comment --comment "… (ingressPolicy: same-bridge|isolated)" -j RETURN
 *     -A CNI-ISOLATION-STAGE-2 -o cni0 -m comment --comment "… (ingressPolicy: same-bridge|isolated)" -j DROP
 *     -A CNI-ISOLATION-STAGE-2 -m comment --comment "… (ingressPolicy: same-bridge|isolated)" -j RETURN
 */
import type { XtablesRule } from '../../netlink/nftables/xtables.ts'

export const FORWARD = 'FORWARD'
export const PERMITS = 'CNI-FORWARD'
export const STAGE_1 = 'CNI-ISOLATION-STAGE-1'
export const STAGE_2 = 'CNI-ISOLATION-STAGE-2'
/**
 * Who has an address, where a permit can not say so itself: rules without a target, in a chain that nothing leads to.
 * No other implementation knows it.
 */
export const OWNERS = 'LINKWRIGHT-OWNERS'

/** What keeps the containers of a bridge from others. `open`: nothing. */
export const policies = ['open', 'same-bridge', 'isolated'] as const
export type Policy = (typeof policies)[number]
export type Isolation = Exclude<Policy, 'open'>

const COMMENT = 'CNI firewall plugin rules'
const policyComment = (policy: string): string => `${COMMENT} (ingressPolicy: ${policy})`
const anyPolicy = policyComment('same-bridge|isolated')

export const jumpToPermits: XtablesRule = { comment: COMMENT, target: PERMITS }
export const jumpToStage1: XtablesRule = { comment: anyPolicy, target: STAGE_1 }
/** The way back at the end of both stages. */
export const stageReturn: XtablesRule = { comment: anyPolicy, target: 'RETURN' }
export const jumpToAdmin = (chain: string): XtablesRule => ({
  comment: 'CNI firewall plugin admin overrides',
  target: chain,
})

/** Answers to the address, and everything from it. @param address with its whole length, `10.1.2.3/32` */
export const permitsOf = (address: string): readonly [XtablesRule, XtablesRule] => [
  { destination: address, established: true, target: 'ACCEPT' },
  { source: address, target: 'ACCEPT' },
]

/** The address of a permit; undefined for any other rule. */
export const permittedAddress = ({ in: from, out, comment, ...rule }: XtablesRule): string | undefined => {
  if (from || out || comment !== undefined || rule.target !== 'ACCEPT') return undefined
  if (rule.established) return rule.source === undefined ? rule.destination : undefined
  return rule.destination === undefined ? rule.source : undefined
}

/** A rule of {@link OWNERS}. */
export const markerOf = (address: string, owner: string): XtablesRule => ({ source: address, comment: owner })

/** What a bridge has in stage 1, in their order. */
export const stage1Of = (bridge: string, policy: Isolation): readonly XtablesRule[] => [
  ...(policy === 'isolated'
    ? [{ in: { name: bridge }, out: { name: bridge }, comment: policyComment(policy), target: 'DROP' }]
    : []),
  {
    in: { name: bridge },
    out: { name: bridge, not: true },
    comment: policyComment(policy),
    target: STAGE_2,
  },
]

/** What it has in stage 2. */
export const stage2Of = (bridge: string): XtablesRule => ({
  out: { name: bridge },
  comment: anyPolicy,
  target: 'DROP',
})

/** The bridge that a rule of a stage is about, where it is one of a plugin's. */
export const bridgeOf = ({ in: from, out, comment, target }: XtablesRule): string | undefined => {
  if (!comment?.startsWith(policyComment('').slice(0, -1))) return undefined
  if (target !== 'DROP' && target !== STAGE_2) return undefined
  return (from ?? out)?.name
}
