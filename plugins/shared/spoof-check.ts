/**
 * The MAC spoof check: frames that a container sends with another source address than its own are dropped at the
 * bridge. Chains, rules and comments are those of the reference `bridge` plugin, but made in one transaction, and
 * adding twice does not make a rule twice:
 *
 *     table bridge nat {
 *       chain PREROUTING {
 *         type filter hook prerouting priority dstnat; policy accept;
 *         iifname "veth1234" jump cni-br-iface-ID comment "macspoofchk-ID"
 *       }
 *       chain cni-br-iface-ID { jump cni-br-iface-ID-mac comment "macspoofchk-ID" }
 *       chain cni-br-iface-ID-mac {
 *         ether saddr 02:00:00:00:00:01 return comment "macspoofchk-ID"
 *         drop comment "macspoofchk-ID"
 *       }
 *     }
 *
 * ID is the container's ID, a hyphen, and the interface's name in the container.
 */
import type { Connection } from '../../netlink/connection.ts'
import { isErrno } from '../../netlink/error.ts'
import {
  addChain,
  addRule,
  addTable,
  type ChainRef,
  deleteChain,
  deleteRule,
  drop,
  flushChain,
  getChain,
  isWithoutNftables,
  jump,
  jumpTarget,
  listChains,
  listRules,
  match,
  type Operation,
  type Part,
  type Rule,
  returns,
  sameRule,
  truncateComment,
  update,
} from '../../netlink/nftables/index.ts'

/** Which attachment a check belongs to. */
export interface SpoofCheckOwner {
  readonly containerId: string
  /** Name of the interface in the container. */
  readonly ifName: string
}
export interface SpoofCheck extends SpoofCheckOwner {
  /** The port of the bridge that the container's frames come in by. */
  readonly hostInterface: string
  /** The only source address they may have. */
  readonly mac: string
}

const table = { family: 'bridge', table: 'nat' } as const
const prerouting = { ...table, chain: 'PREROUTING' } as const
const hook = { type: 'filter', hook: 'prerouting', priority: -300, policy: 'accept' } as const
const chainPrefix = 'cni-br-iface-'
const commentPrefix = 'macspoofchk-'

const idOf = ({ containerId, ifName }: SpoofCheckOwner): string => `${containerId}-${ifName}`

/** The chains and the comment of an attachment. */
const namesOf = (id: string) => ({
  iface: { ...table, chain: `${chainPrefix}${id}` },
  mac: { ...table, chain: `${chainPrefix}${id}-mac` },
  // nft, and so the reference, refuses more than 128 bytes; the chain's name tells such attachments apart.
  comment: truncateComment(`${commentPrefix}${id}`),
})
type Names = ReturnType<typeof namesOf>
const chainsOf = ({ iface, mac }: Names): string[] => [iface.chain, mac.chain]

interface WantedRule extends ChainRef {
  readonly rule: readonly Part[]
}

/** All rules of a check, the one of the base chain first. */
const rulesOf = ({ hostInterface, mac: address }: SpoofCheck, { iface, mac }: Names): WantedRule[] => [
  { ...prerouting, rule: [match.iifname(hostInterface), jump(iface.chain)] },
  { ...iface, rule: [jump(mac.chain)] },
  { ...mac, rule: [match.etherSaddr(address), returns()] },
  { ...mac, rule: [drop()] },
]

/** The rules of the base chain that lead to a check, by comment or by what they jump to. */
const leading = (rules: readonly Rule[], { iface, comment }: Names): Rule[] =>
  rules.filter((rule) => {
    const target = jumpTarget(rule)
    return (
      rule.chain === prerouting.chain &&
      (target === undefined ? rule.comment === comment : target === iface.chain)
    )
  })

/**
 * Lets frames pass only with the attachment's own source address. What an earlier check of the same attachment left is
 * replaced. Safe to repeat.
 * @param connection NETLINK_NETFILTER, in the namespace of the bridge
 * @throws RangeError for an interface name or a MAC address that is none, before anything is done; NetlinkError
 */
export const addSpoofCheck = async (connection: Connection, options: SpoofCheck): Promise<void> => {
  const names = namesOf(idOf(options))
  const { iface, mac, comment } = names
  const [entry, ...inner] = rulesOf(options, names) as [WantedRule, ...WantedRule[]]
  const add = (wanted: WantedRule): Operation => addRule({ ...wanted, comment })
  await update(connection, async () => {
    const rules = await connection.run(listRules(prerouting))
    const present = leading(rules, names)
    const kept = present.find((rule) => rule.comment === comment && sameRule(rule, entry.rule))
    return [
      // A chain with rules in it exists; an empty list may as well mean that there is no chain.
      ...(rules.length > 0 ? [] : [addTable(table), addChain({ ...prerouting, base: hook })]),
      addChain(iface),
      addChain(mac),
      flushChain(iface),
      flushChain(mac),
      ...inner.map(add),
      ...(kept ? [] : [add(entry)]),
      ...present.filter((rule) => rule !== kept).map(deleteRule),
    ]
  })
}

/** The rules of the table or a chain; without nf_tables there are none. */
const rulesIfAny = (connection: Connection, where: Parameters<typeof listRules>[0]): Promise<Rule[]> =>
  connection.run(listRules(where)).catch((error: unknown) => {
    if (isWithoutNftables(error)) return []
    throw error
  })

/** Which of the chains exist. */
const existing = async (connection: Connection, chains: readonly ChainRef[]): Promise<ChainRef[]> => {
  const outcomes = await connection.batch(chains.map(getChain))
  return chains.filter((_, i) => {
    const outcome = outcomes[i]!
    if (outcome.ok) return true
    if (isErrno(outcome.error, 'ENOENT') || isWithoutNftables(outcome.error)) return false
    throw outcome.error
  })
}

/**
 * Removes an attachment's check; the table and its base chain stay. Nothing there is nothing to do.
 * @throws NetlinkError
 */
export const deleteSpoofCheck = async (connection: Connection, owner: SpoofCheckOwner): Promise<void> => {
  const names = namesOf(idOf(owner))
  await update(connection, async () => [
    ...leading(await rulesIfAny(connection, prerouting), names).map(deleteRule),
    // The first jumps to the second, so that it has to go before.
    ...(await existing(connection, [names.iface, names.mac])).map(deleteChain),
  ])
}

/**
 * Removes the checks whose attachment is not in `valid` and whose port is not in `hostInterfaces`, in one transaction.
 * Rules do not say which network they belong to, so what has a living port may belong to another one and stays.
 * @param hostInterfaces lists the names of all interfaces in the namespace of the bridge. Asked when the rules are known:
 * a port is there before its rules, so that one which is missing then has gone, and is not just about to come.
 * @throws NetlinkError, and what `hostInterfaces` throws
 */
export const gcSpoofCheck = async (
  connection: Connection,
  valid: readonly SpoofCheckOwner[],
  hostInterfaces: () => Promise<ReadonlySet<string>>,
): Promise<void> => {
  const validChains = new Set(valid.flatMap((owner) => chainsOf(namesOf(idOf(owner)))))
  await update(connection, async () => {
    const rules = await rulesIfAny(connection, table)
    const entries = rules.filter(
      (rule) => rule.chain === prerouting.chain && jumpTarget(rule)?.startsWith(chainPrefix),
    )
    const ports = await hostInterfaces()
    const isStale = (rule: Rule): boolean => {
      const port = interfaceOf(rule)
      return !validChains.has(jumpTarget(rule) ?? '') && port !== undefined && !ports.has(port)
    }
    const stale = entries.filter(isStale)
    const live = new Set(
      entries
        .filter((rule) => !stale.includes(rule))
        .flatMap((rule) => [jumpTarget(rule)!, `${jumpTarget(rule)}-mac`]),
    )
    // A chain with rules that nothing leads to was left by a removal that did not get to its end. An empty one may
    // belong to a reference plugin that is just about to fill it.
    const chains = new Set(
      rules
        .filter(({ chain }) => chain.startsWith(chainPrefix) && !live.has(chain) && !validChains.has(chain))
        .map(({ chain }) => chain),
    )
    const refs = [...chains].map((chain) => ({ ...table, chain }))
    return [...stale.map(deleteRule), ...refs.map(flushChain), ...refs.map(deleteChain)]
  })
}

/** The interface that a rule of the base chain is for. */
const interfaceOf = ({ expressions: [load, compare] }: Rule): string | undefined => {
  if (load?.kind !== 'meta' || load.data?.key !== 'iifname' || compare?.kind !== 'cmp') return undefined
  const bytes = compare.data?.data?.value
  if (!bytes || compare.data?.op !== 'eq') return undefined
  const end = bytes.indexOf(0)
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
}

/**
 * What is missing for {@link addSpoofCheck} to be in force, in words; nothing: an empty list. Changes nothing.
 * @throws RangeError for an interface name or a MAC address that is none; NetlinkError
 */
export const checkSpoofCheck = async (connection: Connection, options: SpoofCheck): Promise<string[]> => {
  const names = namesOf(idOf(options))
  const wanted = rulesOf(options, names)
  const missing: string[] = []
  const chains = await connection.run(listChains(table))
  const base = chains.find(({ chain }) => chain === prerouting.chain)?.base
  if (base?.hook !== 'prerouting' || base.type !== 'filter')
    missing.push('nftables: chain bridge nat PREROUTING of type filter at hook prerouting')
  const listed = await connection.run(listRules(prerouting))
  if (!listed.some((rule) => sameRule(rule, wanted[0]!.rule)))
    missing.push(
      `nftables: a rule in bridge nat PREROUTING that sends frames of ${options.hostInterface} to ${names.iface.chain}`,
    )
  for (const ref of [names.iface, names.mac]) {
    const own = wanted.filter(({ chain }) => chain === ref.chain)
    const rules = await connection.run(listRules(ref))
    if (rules.length !== own.length || own.some(({ rule }, i) => !sameRule(rules[i]!, rule)))
      missing.push(`nftables: the rules of chain bridge nat ${ref.chain}, which let pass only ${options.mac}`)
  }
  return missing
}
