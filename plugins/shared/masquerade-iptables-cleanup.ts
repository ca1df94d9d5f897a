/**
 * Removing what the iptables backend left, ours or the Go plugins', without running anything: on almost every host
 * `iptables` is a front end to nf_tables, and its tables are read and changed like any other. Only where the old
 * xtables hold a nat table are the programs executed.
 */
import { readSync } from 'node:fs'
import type { Context } from '../../cni/plugin.ts'
import { isErrno, type Netns, nftables } from '../../netlink/index.ts'
import { formatIp } from '../../netlink/ip.ts'
import {
  chainName,
  deleteIptablesMasquerade,
  type IptablesMasquerade,
  type Program,
  ruleComment,
} from './masquerade-iptables.ts'

type Host = Pick<Context<unknown>, 'hostNftables' | 'hostNetns' | 'exec'>

const families = [
  { family: 'ip', version: 4, names: 'ip_tables_names', saddr: { offset: 12, len: 4 } },
  { family: 'ip6', version: 6, names: 'ip6_tables_names', saddr: { offset: 8, len: 16 } },
] as const

/** The chain a rule jumps to, if it does. */
const jumpTarget = (rule: nftables.Rule): string | undefined => {
  for (const expression of rule.expressions)
    if (expression.kind === 'immediate' && expression.data?.data?.verdict)
      return expression.data.data.verdict.chain
  return undefined
}

/** The source address a rule compares with, if it does. */
const sourceOf = (rule: nftables.Rule, saddr: { offset: number; len: number }): string | undefined => {
  let loaded = false
  for (const { kind, data } of rule.expressions) {
    if (kind === 'payload' && data)
      loaded = data.base === 'network' && data.offset === saddr.offset && data.len === saddr.len
    else if (kind === 'cmp' && data && loaded && data.op === 'eq' && data.data?.value?.length === saddr.len)
      return formatIp(data.data.value)
  }
  return undefined
}

/** Whether the old xtables hold a nat table in the host's namespace. */
const hasLegacyNat = (host: Netns, names: string): boolean => {
  try {
    const file = host.open({ path: `/proc/thread-self/net/${names}`, flags: 0 })
    try {
      const buffer = Buffer.alloc(4096)
      return buffer.toString('latin1', 0, readSync(file.fd, buffer)).split('\n').includes('nat')
    } finally {
      file.close()
    }
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false
    throw error
  }
}

/** A kernel without nf_tables has nothing of ours in it. */
const withoutNftables = (error: unknown): boolean => isErrno(error, 'EOPNOTSUPP', 'EPROTONOSUPPORT', 'EINVAL')

/** Deletes the rules of POSTROUTING that lead to `chain`, and the chain unless others lead there too. */
const deleteJumps = async (
  { hostNftables }: Host,
  { family, saddr }: (typeof families)[number],
  chain: string,
  isOurs: (source: string | undefined) => boolean,
): Promise<void> => {
  const rules = await hostNftables.run(nftables.listRules({ family, table: 'nat', chain: 'POSTROUTING' }))
  const jumps = rules.filter((rule) => jumpTarget(rule) === chain)
  const ours = jumps.filter((rule) => isOurs(sourceOf(rule, saddr)))
  const ref = { family, table: 'nat', chain }
  await nftables.transaction(hostNftables, [
    ...ours.map((rule) => nftables.deleteRule(rule)),
    ...(ours.length === jumps.length ? [nftables.flushChain(ref), nftables.deleteChain(ref)] : []),
  ])
}

/**
 * Removes the iptables rules of a container in a network: those of `addresses`, all of them where there are none. The
 * chain stays as long as another attachment of the container uses it.
 * @throws NetlinkError, or Error of a program
 */
export const cleanIptablesMasquerade = async (host: Host, masquerade: IptablesMasquerade): Promise<void> => {
  const chain = chainName(masquerade.network, masquerade.containerId)
  const addresses = new Set(masquerade.addresses.map((cidr) => cidr.split('/')[0]))
  const outcomes = await host.hostNftables.batch(
    families.map(({ family }) => nftables.getChain({ family, table: 'nat', chain })),
  )
  for (const [i, outcome] of outcomes.entries()) {
    const which = families[i]!
    if (outcome.ok)
      await deleteJumps(host, which, chain, (source) => addresses.size === 0 || addresses.has(source))
    else if (!isErrno(outcome.error, 'ENOENT') && !withoutNftables(outcome.error)) throw outcome.error
    if (hasLegacyNat(host.hostNetns, which.names))
      await deleteIptablesMasquerade(host.exec, legacyProgram(which.version), masquerade)
  }
}

const legacyProgram = (version: 4 | 6): Program => (version === 4 ? 'iptables-legacy' : 'ip6tables-legacy')

/**
 * Removes the chains of a network's containers that are not in the list. The owner of a chain is found by the comment
 * on its rules; chains of other networks and of other programs stay.
 */
export const gcIptablesMasquerade = async (
  host: Host,
  network: string,
  validContainers: ReadonlySet<string>,
): Promise<void> => {
  const quoted = ruleComment(network, '').replace(/ id: ""$/, ' id: "')
  for (const which of families) {
    const rules = await host.hostNftables
      .run(nftables.listRules({ family: which.family, table: 'nat', chain: 'POSTROUTING' }))
      .catch((error: unknown) => {
        if (withoutNftables(error) || isErrno(error, 'ENOENT')) return []
        throw error
      })
    const stale = new Set<string>()
    for (const rule of rules) {
      const chain = jumpTarget(rule)
      // The comment is userdata, or the text of an xtables match, depending on iptables' version.
      const text = rule.comment ?? Buffer.from(rule.raw).toString('latin1')
      const at = text.indexOf(quoted)
      if (!chain || at < 0) continue
      const owner = text.slice(at + quoted.length, text.indexOf('"', at + quoted.length))
      if (chain === chainName(network, owner) && !validContainers.has(owner)) stale.add(chain)
    }
    for (const chain of stale) await deleteJumps(host, which, chain, () => true)
  }
}
