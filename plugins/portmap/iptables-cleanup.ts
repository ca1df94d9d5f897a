/**
 * Removing what the iptables backend left, ours or the Go plugin's, by its owner and without running anything: on
 * almost every host `iptables` is a front end to nf_tables, and its tables are read and changed like any other. The
 * programs are executed only where the old xtables hold a nat table, and where a container has another attachment to
 * the network, whose rules are in the same chain.
 */
import type { Attachment, Context } from '../../cni/plugin.ts'
import type { AttachmentId } from '../../cni/types.ts'
import { isErrno, nftables, parseIp } from '../../netlink/index.ts'
import { hasLegacyTable, IptablesTable, listLegacyTable, programs, type Version } from '../shared/iptables.ts'
import { rewrite } from './iptables.ts'
import {
  families,
  type IptablesHost,
  type Lead,
  listRules,
  present,
  presentIn,
  type Which,
} from './iptables-kernel.ts'
import {
  DNAT_CHAIN,
  dnatChain,
  isContainerChain,
  isOfNetwork,
  OLD_SNAT_CHAIN,
  oldSnatChain,
} from './iptables-names.ts'
import { deleteCommands, readListing } from './iptables-plan.ts'
import { siblingAddressesIfAny } from './siblings.ts'

const nobody: ReadonlySet<string> = new Set()

/** Deletes the chains with everything that leads to them. */
const deleteChains = (host: IptablesHost, which: Which, leads: readonly Lead[]): Promise<void> =>
  // iptables changes the same tables at any time: what is gone when we come to it makes us look again.
  nftables.update(host.hostNftables, async () => {
    const operations: nftables.Operation[] = []
    for (const [shared, chain] of await present(host, which, leads)) {
      const ref = { family: which.family, table: 'nat', chain }
      const jumps = (await listRules(host, which, shared)).filter(
        (rule) => nftables.jumpTarget(rule) === chain,
      )
      operations.push(...jumps.map(nftables.deleteRule), nftables.flushChain(ref), nftables.deleteChain(ref))
    }
    return operations
  })

/** Whether rules of the chains lead to one of the addresses. May say so of a rule that does not. */
const mayLeadTo = async (
  host: IptablesHost,
  which: Which,
  leads: readonly Lead[],
  addresses: ReadonlySet<string>,
): Promise<boolean> => {
  const wanted = [...addresses].flatMap((address) => {
    const ip = parseIp(address)
    return ip ? [Buffer.from(ip)] : []
  })
  if (wanted.length === 0) return false
  for (const [, chain] of leads)
    for (const { raw } of await listRules(host, which, chain))
      if (wanted.some((ip) => Buffer.from(raw.buffer, raw.byteOffset, raw.length).includes(ip))) return true
  return false
}

/** Deletes what leads to the container's chains and, but for others' rules, what is in them, by a program. */
const deleteByProgram = (
  table: IptablesTable,
  list: () => Promise<readonly string[]>,
  leads: readonly Lead[],
  others: ReadonlySet<string>,
): Promise<void> => rewrite(table, async () => deleteCommands(readListing(await list()), leads, others))

const deleteLegacy = async (
  host: IptablesHost,
  version: Version,
  leads: readonly Lead[],
  others: ReadonlySet<string>,
): Promise<void> => {
  if (!hasLegacyTable(host.hostNetns, version, 'nat')) return
  const listed = await listLegacyTable(host, version, 'nat')
  if (listed) await deleteByProgram(listed.table, () => listed.table.list(), leads, others)
}

/** Of one nat table of nf_tables. */
const deleteFrom = async (
  host: IptablesHost,
  which: Which,
  there: readonly Lead[],
  siblings: () => Promise<ReadonlySet<string>>,
): Promise<void> => {
  if (there.length === 0) return
  const others = await siblings()
  if (!(await mayLeadTo(host, which, there, others))) return deleteChains(host, which, there)
  const table = new IptablesTable(host.exec, programs[which.version], 'nat')
  const list = async () => (await Promise.all(there.flat().map((chain) => table.list(chain)))).flat()
  try {
    await deleteByProgram(table, list, there, others)
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
    host.log.warn(`${table.program} is missing: rules in ${there[0]![1]} stay until the container has gone`)
  }
}

/**
 * Removes the iptables rules of an attachment, whatever they map: of the Go plugin and of its older versions too. Those
 * that lead to other interfaces of the container stay. Nothing there is nothing to do.
 * @throws NetlinkError, or Error of a program
 */
export const deleteIptables = async (attachment: Attachment<unknown>): Promise<void> => {
  const { network, containerId } = attachment
  const leads: readonly Lead[] = [
    [DNAT_CHAIN, dnatChain(network, containerId)],
    [OLD_SNAT_CHAIN, oldSnatChain(network, containerId)],
  ]
  let asked: Promise<ReadonlySet<string>> | undefined
  const siblings = () => {
    asked ??= siblingAddressesIfAny(attachment)
    return asked
  }
  const there = await presentIn(attachment, families, leads)
  for (const [i, which] of families.entries()) {
    await deleteFrom(attachment, which, there[i]!, siblings)
    if (hasLegacyTable(attachment.hostNetns, which.version, 'nat'))
      await deleteLegacy(attachment, which.version, leads, await siblings())
  }
}

/** The chains of a network that rules lead to, but for those of valid containers. */
const staleIn = (
  network: string,
  shared: string,
  valid: ReadonlySet<string>,
  rules: readonly { readonly target: string | undefined; readonly text: string }[],
): Lead[] => [
  ...new Map(
    rules.flatMap(({ target, text }) =>
      target !== undefined && isContainerChain(target) && isOfNetwork(network, text) && !valid.has(target)
        ? [[target, [shared, target] as const]]
        : [],
    ),
  ).values(),
]

/**
 * Removes the chains of a network's containers that are not in the list. Whose a chain is, is told by the comment on
 * what leads to it; chains of other networks and of other programs stay.
 * @throws NetlinkError, or Error of a program
 */
export const gcIptables = async (
  context: Context<unknown>,
  valid: readonly AttachmentId[],
): Promise<void> => {
  const { network } = context
  const kept = new Set(
    valid.flatMap(({ containerId }) => [dnatChain(network, containerId), oldSnatChain(network, containerId)]),
  )
  for (const which of families) {
    for (const shared of [DNAT_CHAIN, OLD_SNAT_CHAIN]) {
      const rules = (await listRules(context, which, shared)).map((rule) => ({
        target: nftables.jumpTarget(rule),
        // The comment is userdata, or the text of an xtables match, depending on iptables' version.
        text: rule.comment ?? Buffer.from(rule.raw).toString('latin1'),
      }))
      const stale = staleIn(network, shared, kept, rules)
      if (stale.length > 0) await deleteChains(context, which, stale)
    }
    if (!hasLegacyTable(context.hostNetns, which.version, 'nat')) continue
    const listed = await listLegacyTable(context, which.version, 'nat')
    if (!listed) continue
    const { table, lines } = listed
    const listing = readListing(lines)
    const stale = [DNAT_CHAIN, OLD_SNAT_CHAIN].flatMap((shared) =>
      staleIn(
        network,
        shared,
        kept,
        (listing.get(shared) ?? []).map((rule) => ({ target: rule.at(-1), text: rule.join(' ') })),
      ),
    )
    if (stale.length > 0) await deleteByProgram(table, () => table.list(), stale, nobody)
  }
}
