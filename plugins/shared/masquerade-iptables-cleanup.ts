/**
 * Removing what the iptables backend left, ours or the Go plugins', without running anything: on almost every host
 * `iptables` is a front end to nf_tables, and its tables are read and changed like any other. Only where the old
 * xtables hold a nat table are the programs executed.
 */
import type { Context, Logger } from '../../cni/plugin.ts'
import { formatIp, isErrno, nftables } from '../../netlink/index.ts'
import { hasLegacyTable } from './iptables.ts'
import { deleteLegacyMasquerade, gcLegacyMasquerade } from './masquerade-iptables-legacy.ts'
import { chainName, isChainName, ownerInComment } from './masquerade-iptables-names.ts'
import { nftablesOf } from './nftables.ts'

/** What the cleaning needs of a plugin's context. */
export interface IptablesHost extends Pick<Context<unknown>, 'hostNftables' | 'hostNetns' | 'exec'> {
  readonly log: Logger
}

/** Whether rules for a source address are the attachment's; undefined: the rule names none. */
export type IsOurs = (source: string | undefined) => boolean

const TRIES = 10

const families = [
  { family: 'ip', version: 4, saddr: { offset: 12, len: 4 } },
  { family: 'ip6', version: 6, saddr: { offset: 8, len: 16 } },
] as const
type Which = (typeof families)[number]

/**
 * The source address a rule compares with, if it does. Of a whole subnet (old plugins) it is the network address, of
 * which iptables compares only the bytes that count.
 */
const sourceOf = (rule: nftables.Rule, { saddr }: Which): string | undefined => {
  let loaded = false
  for (const { kind, data } of rule.expressions) {
    if (kind === 'payload' && data)
      loaded = data.base === 'network' && data.offset === saddr.offset && (data.len ?? 0) <= saddr.len
    else if (kind === 'cmp' && data && loaded && data.op === 'eq' && data.data?.value) {
      const address = new Uint8Array(saddr.len)
      address.set(data.data.value.subarray(0, saddr.len))
      return formatIp(address)
    }
  }
  return undefined
}

/** A kernel without nf_tables has nothing of ours in it, and a nat table that nobody made has no rules. */
const hasNone = (error: unknown): boolean =>
  isErrno(error, 'EOPNOTSUPP', 'EPROTONOSUPPORT', 'EINVAL', 'ENOENT')

const listNat = async (host: IptablesHost, { family }: Which): Promise<nftables.Rule[]> => {
  try {
    return (await nftablesOf(host)?.run(nftables.listRules({ family, table: 'nat' }))) ?? []
  } catch (error) {
    if (hasNone(error)) return []
    throw error
  }
}

const hasChain = async (host: IptablesHost, { family }: Which, chain: string): Promise<boolean> => {
  const [outcome] =
    (await nftablesOf(host)?.batch([nftables.getChain({ family, table: 'nat', chain })])) ?? []
  if (!outcome) return false
  if (!outcome.ok && !hasNone(outcome.error)) throw outcome.error
  return outcome.ok
}

/** How many jumps were ours, and how many were others'. */
interface Jumps {
  readonly ours: number
  readonly others: number
}

const deleteOnce = async (
  host: IptablesHost,
  which: Which,
  chain: string,
  isOurs: IsOurs,
): Promise<Jumps> => {
  let found: Jumps = { ours: 0, others: 0 }
  // iptables changes the same tables at any time: what is gone when we come to it makes us look again.
  await nftables.update(host.hostNftables, async () => {
    found = { ours: 0, others: 0 }
    if (!(await hasChain(host, which, chain))) return []
    const rules = await listNat(host, which)
    const jumps = rules.filter((rule) => rule.chain === 'POSTROUTING' && nftables.jumpTarget(rule) === chain)
    const ours = jumps.filter((rule) => isOurs(sourceOf(rule, which)))
    found = { ours: ours.length, others: jumps.length - ours.length }
    const ref = { family: which.family, table: 'nat', chain }
    return [
      ...ours.map((rule) => nftables.deleteRule(rule)),
      ...(found.others === 0 ? [nftables.flushChain(ref), nftables.deleteChain(ref)] : []),
    ]
  })
  return found
}

/** Deletes the rules of POSTROUTING that lead to `chain` and are ours, and the chain unless others lead there too. */
const deleteJumps = async (
  host: IptablesHost,
  which: Which,
  chain: string,
  isOurs: IsOurs,
): Promise<void> => {
  for (let attempt = 1; ; attempt++)
    try {
      const { ours, others } = await deleteOnce(host, which, chain, isOurs)
      // Who deletes at the same time has seen our jump, as we have seen theirs: who looks last deletes the chain.
      if (others === 0 || ours === 0) return
    } catch (error) {
      // Another attachment of the container has come to use the chain just now.
      if (attempt === TRIES || !isErrno(error, 'EBUSY')) throw error
    }
}

/**
 * Removes the iptables rules of a container in a network, as far as they are the attachment's. The chain stays as long
 * as another attachment of the container uses it.
 * @throws NetlinkError, or Error of a program
 */
export const cleanIptablesMasquerade = async (
  host: IptablesHost,
  { network, containerId }: { readonly network: string; readonly containerId: string },
  isOurs: IsOurs,
): Promise<void> => {
  const chain = chainName(network, containerId)
  for (const which of families) {
    if (await hasChain(host, which, chain)) await deleteJumps(host, which, chain, isOurs)
    if (hasLegacyTable(host.hostNetns, which.version, 'nat'))
      await deleteLegacyMasquerade(host, which.version, chain, isOurs)
  }
}

/**
 * Removes the chains of a network's containers that are not in the list. The owner of a chain is found by the comment
 * on a rule; chains of other networks and of other programs stay.
 */
export const gcIptablesMasquerade = async (
  host: IptablesHost,
  network: string,
  validContainers: ReadonlySet<string>,
): Promise<void> => {
  for (const which of families) {
    const stale = new Set<string>()
    for (const rule of await listNat(host, which)) {
      // The comment is userdata, or the text of an xtables match, depending on iptables' version.
      const text = rule.comment ?? Buffer.from(rule.raw).toString('latin1')
      const owner = ownerInComment(network, text)
      const chain = isChainName(rule.chain) ? rule.chain : nftables.jumpTarget(rule)
      if (owner !== undefined && chain === chainName(network, owner) && !validContainers.has(owner))
        stale.add(chain)
    }
    for (const chain of stale) await deleteJumps(host, which, chain, () => true)
    if (hasLegacyTable(host.hostNetns, which.version, 'nat'))
      await gcLegacyMasquerade(host, which.version, network, validContainers)
  }
}
