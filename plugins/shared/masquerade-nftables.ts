/**
 * Masquerading with nf_tables, in the table, chains, rules and comments of the reference plugins' nftables backend, so
 * that either implementation finds and removes what the other has made:
 *
 *     table inet cni_plugins_masquerade {
 *       chain masq_checks {
 *         ip saddr 10.22.0.5 ip daddr != 10.22.0.0/16 masquerade comment "6fd94d501e58f0aa-…, net: …, if: …, id: …"
 *       }
 *       chain postrouting {
 *         type nat hook postrouting priority srcnat; policy accept;
 *         ip daddr 224.0.0.0/4 return
 *         ip6 daddr ff00::/8 return
 *         goto masq_checks
 *       }
 *     }
 */
import { hash } from 'node:crypto'
import type { Connection } from '../../netlink/connection.ts'
import { formatCidr, formatIp, network as networkOf, parseCidr } from '../../netlink/ip.ts'
import {
  addChain,
  addRule,
  addTable,
  deleteRule,
  flushChain,
  goto,
  isWithoutNftables,
  listChains,
  listRules,
  masquerade,
  match,
  type Operation,
  type Part,
  priorities,
  type Rule,
  returns,
  sameRule,
  truncateComment,
  update,
} from '../../netlink/nftables/index.ts'

/** Which attachment a rule belongs to. */
export interface MasqueradeOwner {
  /** Name of the CNI network. */
  readonly network: string
  readonly ifName: string
  readonly containerId: string
}
export interface Masquerade extends MasqueradeOwner {
  /** The container's addresses with the lengths of their prefixes: `10.22.0.5/16`. */
  readonly addresses: readonly string[]
}

const table = {
  family: 'inet',
  table: 'cni_plugins_masquerade',
} as const
const tableComment = 'Masquerading for plugins from github.com/containernetworking/plugins'
const checks = { ...table, chain: 'masq_checks' } as const
const checksComment = 'Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet'
const postrouting = { ...table, chain: 'postrouting' } as const

/** What `postrouting` has to hold, and nothing else. */
const baseRules: readonly (readonly Part[])[] = [
  [match.ipDaddr('224.0.0.0/4'), returns()],
  [match.ip6Daddr('ff00::/8'), returns()],
  [goto(checks.chain)],
]

const short = (text: string): string => hash('sha512', text, 'hex').slice(0, 16)

/** What the comments of an attachment's rules begin with. */
const ownerHash = ({ network, ifName, containerId }: MasqueradeOwner): string =>
  `${short(network)}-${short(`${ifName}:${containerId}`)}`

/** The comment of an attachment's rules: a hash to find them by, and words for people, cut where nft would refuse. */
export const masqueradeComment = (owner: MasqueradeOwner): string => {
  const plain = (text: string) => text.replaceAll('"', '')
  return truncateComment(
    `${ownerHash(owner)}, net: ${plain(owner.network)}, if: ${plain(owner.ifName)}, id: ${plain(owner.containerId)}`,
  )
}

/** The rules of an attachment by its addresses. Throws RangeError for what is no address with a prefix. */
const rulesFor = (addresses: readonly string[]): ReadonlyMap<string, readonly Part[]> =>
  new Map(
    addresses.map((text) => {
      const cidr = parseCidr(text)
      if (!cidr)
        throw new RangeError(`${JSON.stringify(text)} is not an address with the length of its prefix`)
      const subnet = formatCidr({ ip: networkOf(cidr), prefix: cidr.prefix })
      return [formatCidr(cidr), [match.saddr(formatIp(cidr.ip)), match.daddr(subnet, 'ne'), masquerade()]]
    }),
  )

/** The bytes of {@link baseRules} as the kernel last listed them: equal ones need not be read again. */
let complete: readonly Uint8Array[] = []

const isComplete = (listed: readonly Rule[]): boolean => {
  if (listed.length !== baseRules.length) return false
  if (listed.every(({ raw }, i) => complete[i] && Buffer.compare(raw, complete[i]) === 0)) return true
  if (!baseRules.every((parts, i) => sameRule(listed[i]!, parts))) return false
  complete = listed.map(({ raw }) => raw.slice())
  return true
}

/** Adding what exists changes nothing; flushing first makes two at the same time end with one set of rules. */
const base = (): Operation[] => [
  addTable({ ...table, comment: tableComment }),
  addChain({ ...checks, comment: checksComment }),
  addChain({ ...postrouting, base: { type: 'nat', hook: 'postrouting', priority: priorities.srcnat } }),
  flushChain(postrouting),
  ...baseRules.map((rule) => addRule({ ...postrouting, rule })),
]

/** Whether a rule is one that masquerades, and its comment begins with `prefix`. */
const isOwned = ({ chain, comment }: Rule, prefix: string): boolean =>
  comment?.startsWith(prefix) === true && chain === checks.chain

const owned = async (connection: Connection, prefix: string): Promise<Rule[]> =>
  (await connection.run(listRules(checks))).filter((rule) => isOwned(rule, prefix))

/** The same where it is all about removing: without nf_tables there is nothing to remove. */
const ownedIfAny = (connection: Connection, prefix: string): Promise<Rule[]> =>
  owned(connection, prefix).catch((error: unknown) => {
    if (isWithoutNftables(error)) return []
    throw error
  })

/**
 * Masquerades what the container sends out of its subnet, IPv4 and IPv6. Rules that the same attachment left behind go
 * in the same transaction, rules that are there already stay, and what is missing or wrong of the table is repaired.
 * Safe to repeat.
 * @param connection NETLINK_NETFILTER, in the namespace of the host
 * @throws RangeError for an address that is none, before anything is done; NetlinkError
 */
export const addMasquerade = async (connection: Connection, options: Masquerade): Promise<void> => {
  const wanted = [...rulesFor(options.addresses).values()]
  const comment = masqueradeComment(options)
  const prefix = ownerHash(options)
  await update(connection, async () => {
    const rules = await connection.run(listRules(table))
    const complete = isComplete(rules.filter(({ chain }) => chain === postrouting.chain))
    const kept = new Set<readonly Part[]>()
    const stale: Rule[] = []
    for (const rule of rules.filter((listed) => isOwned(listed, prefix))) {
      const same =
        rule.comment === comment && wanted.find((parts) => !kept.has(parts) && sameRule(rule, parts))
      if (same) kept.add(same)
      else stale.push(rule)
    }
    return [
      ...(complete ? [] : base()),
      ...stale.map(deleteRule),
      ...wanted.filter((parts) => !kept.has(parts)).map((rule) => addRule({ ...checks, rule, comment })),
    ]
  })
}

/**
 * Removes an attachment's rules, whatever addresses they are for; the table and its chains stay. Nothing there is
 * nothing to do.
 * @throws NetlinkError
 */
export const deleteMasquerade = async (connection: Connection, owner: MasqueradeOwner): Promise<void> => {
  const prefix = ownerHash(owner)
  await update(connection, async () => (await ownedIfAny(connection, prefix)).map(deleteRule))
}

/**
 * Removes the rules of a network whose attachments are not in `valid`, all in one transaction.
 * @throws NetlinkError
 */
export const gcMasquerade = async (
  connection: Connection,
  network: string,
  valid: readonly Omit<MasqueradeOwner, 'network'>[],
): Promise<void> => {
  const hashes = new Set(valid.map((owner) => ownerHash({ ...owner, network })))
  const prefix = `${short(network)}-`
  await update(connection, async () =>
    (await ownedIfAny(connection, prefix))
      .filter(({ comment }) => !hashes.has(comment!.slice(0, prefix.length + 16)))
      .map(deleteRule),
  )
}

/**
 * What is missing for {@link addMasquerade} to be in force, in words; nothing: an empty list. Changes nothing.
 * @throws RangeError for an address that is none; NetlinkError
 */
export const checkMasquerade = async (connection: Connection, options: Masquerade): Promise<string[]> => {
  const wanted = rulesFor(options.addresses)
  const comment = masqueradeComment(options)
  const missing: string[] = []
  const chains = await connection.run(listChains(table))
  const { base: hooked } = chains.find(({ chain }) => chain === postrouting.chain) ?? {}
  if (hooked?.type !== 'nat' || hooked.hook !== 'postrouting')
    missing.push(
      `nftables: chain ${table.family} ${table.table} ${postrouting.chain} of type nat at hook postrouting`,
    )
  else if (!isComplete(await connection.run(listRules(postrouting))))
    missing.push(`nftables: the rules of chain ${table.family} ${table.table} ${postrouting.chain}`)
  const own = await owned(connection, ownerHash(options))
  for (const [address, parts] of wanted)
    if (!own.some((rule) => sameRule(rule, parts)))
      missing.push(
        `nftables: a rule in ${table.family} ${table.table} ${checks.chain} that masquerades ${address} (comment ${JSON.stringify(comment)})`,
      )
  return missing
}
