/** Links, rules, elements and reservations that say whose they are. */
import { lstatSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { checkNetworkName } from '../../../../cni/environment.ts'
import type { AttachmentId } from '../../../../cni/types.ts'
import { isAddress, isOwner } from '../../../../ipam/host-local/names.ts'
import { scan } from '../../../../ipam/host-local/scan.ts'
import { type Connection, isErrno, link } from '../../../../netlink/index.ts'
import { NETLINK_NETFILTER, Netns } from '../../../../netlink/netns.ts'
import {
  isWithoutNftables,
  listChains,
  listRawElements,
  listRules,
  listSets,
  type NfSet,
  type Rule,
  rawComment,
} from '../../../../netlink/nftables/index.ts'
import { aliasPrefix, readAlias } from '../../../../plugins/shared/identity.ts'

/** A link of the host with an alias of ours. */
export interface LinkFacts {
  readonly name: string
  readonly kind: string | undefined
  /** Of the alias; null where it can't be read. */
  readonly owner: ({ readonly network: string } & AttachmentId) | null
}

/** A reservation of host-local. The interface is missing in what old plugins wrote. */
export interface ReservationFacts {
  readonly network: string
  readonly directory: string
  readonly address: string
  readonly containerId: string
  readonly ifName: string | null
}

/** What is in a rule set for an attachment. */
export interface RuleFacts {
  /** `rule inet cni_plugins_masquerade masq_checks`, `element ip cni_hostport portmap_any`, `chain bridge nat …`. */
  readonly where: string
  readonly owner: RuleOwner
}

/** How rules name whose they are. */
export type RuleOwner =
  /** Two hashes, and, where there is a comment, words. */
  | { readonly by: 'mark'; readonly mark: string; readonly network: string | null }
  /** `name: "net" id: "container"`, of rules that iptables made. */
  | { readonly by: 'words'; readonly network: string; readonly containerId: string }
  /** `<container>-<interface>`, of MAC spoof checks. */
  | { readonly by: 'chain'; readonly id: string }

/** The host's links that carry an alias of ours. @throws NetlinkError; SocketError */
export const lookAtLinks = async (): Promise<readonly LinkFacts[]> => {
  using connection = Netns.current().connect()
  return (await connection.run(link.list())).flatMap(({ name, kind, alias }) =>
    alias?.startsWith(aliasPrefix) ? [{ name, kind, owner: readAlias(alias) ?? null }] : [],
  )
}

const marked = /^([0-9a-f]{16}-[0-9a-f]{16})(?:, net: (.*), if: )?/s
/** As Go's plugins quote it; portmap writes `dnat name:`. */
const inWords = /\bname: "([^"]*)" id: "([^"]*)"/

const ownerOfText = (text: string | undefined): RuleOwner | undefined => {
  if (text === undefined) return undefined
  const mark = marked.exec(text)
  if (mark) return { by: 'mark', mark: mark[1]!, network: mark[2] ?? null }
  const words = inWords.exec(text)
  return words ? { by: 'words', network: words[1]!, containerId: words[2]! } : undefined
}

/** What a chain of a MAC spoof check is called; the second chain of one ends in `-mac`. */
const spoofChain = /^cni-br-iface-(.+)$/s

/** A comment as xtables keep it, in a match of the rule. */
const xtablesComment = /(?:[0-9a-f]{16}-[0-9a-f]{16}, net: |(?:dnat )?name: ")[^\0]*/
const signs = [', net: ', 'name: "']

/** What the rule says of its owner. Hosts have ten thousands of rules: few are looked into. */
const textOf = ({ comment, tag, raw }: Rule): string | undefined => {
  if (comment !== undefined || tag !== undefined) return comment ?? tag
  const bytes = Buffer.from(raw.buffer, raw.byteOffset, raw.length)
  if (!signs.some((sign) => bytes.includes(sign))) return undefined
  return xtablesComment.exec(bytes.toString('latin1'))?.[0]
}

const rulesIn = async (connection: Connection): Promise<RuleFacts[]> =>
  (await connection.run(listRules())).flatMap((rule) => {
    const owner = ownerOfText(textOf(rule))
    return owner ? [{ where: `rule ${rule.family} ${rule.table} ${rule.chain}`, owner }] : []
  })

const chainsIn = async (connection: Connection): Promise<RuleFacts[]> => {
  const chains = await connection.run(listChains({ family: 'bridge' }))
  return chains.flatMap(({ family, table, chain }): RuleFacts[] => {
    const [, id] = spoofChain.exec(chain) ?? []
    if (table !== 'nat' || id === undefined || id.endsWith('-mac')) return []
    return [{ where: `chain ${family} ${table} ${chain}`, owner: { by: 'chain', id } }]
  })
}

const HOST_PORTS = 'cni_hostport'
/** The sets that list what an attachment has, by its mark. */
const listOf = /^portmap_of_([0-9a-f]{16}-[0-9a-f]{16})$/
const withElements = /^portmap_(?:hostip|any|snat)(?:_|$)/

const elementsIn = async (connection: Connection, set: NfSet): Promise<RuleFacts[]> => {
  const { family, table, set: name } = set
  const list = listOf.exec(name)
  if (list)
    return [{ where: `set ${family} ${table} ${name}`, owner: { by: 'mark', mark: list[1]!, network: null } }]
  if (!withElements.test(name)) return []
  return (await connection.run(listRawElements(set))).flatMap((element) => {
    const owner = ownerOfText(rawComment(element))
    return owner ? [{ where: `element ${family} ${table} ${name}`, owner }] : []
  })
}

const setsIn = async (connection: Connection): Promise<RuleFacts[]> => {
  const found: RuleFacts[] = []
  for (const family of ['ip', 'ip6'] as const)
    try {
      const sets = await connection.run(listSets({ family, table: HOST_PORTS }))
      for (const set of sets) found.push(...(await elementsIn(connection, set)))
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error
    }
  return found
}

/** What the rule sets of nf_tables hold for attachments, of ours and of the Go plugins. @throws NetlinkError; SocketError */
export const lookAtRules = async (): Promise<readonly RuleFacts[]> => {
  try {
    using connection = Netns.current().connect({ protocol: NETLINK_NETFILTER })
    return [...(await rulesIn(connection)), ...(await chainsIn(connection)), ...(await setsIn(connection))]
  } catch (error) {
    if (isWithoutNftables(error)) return []
    throw error
  }
}

const nothing = (): void => {}
const silence = { debug: nothing, info: nothing, warn: nothing, error: nothing }

const isNetwork = (name: string): boolean => {
  try {
    checkNetworkName(name)
    return true
  } catch {
    return false
  }
}

/** The directories of networks: those that were named, and all of the usual folder. */
const directoriesOf = (named: ReadonlyMap<string, string>, dataDir: string): ReadonlyMap<string, string> => {
  const found = new Map([...named])
  if (statSync(dataDir, { throwIfNoEntry: false })?.isDirectory())
    for (const name of readdirSync(dataDir)) {
      const directory = join(dataDir, name)
      if (isNetwork(name) && lstatSync(directory).isDirectory()) found.set(directory, name)
    }
  return found
}

/**
 * The reservations of every network that has some.
 * @param named networks by their directories
 * @throws CniError code 5
 */
export const lookAtReservations = async (
  named: ReadonlyMap<string, string>,
  dataDir: string,
): Promise<readonly ReservationFacts[]> => {
  const found: ReservationFacts[] = []
  for (const [directory, network] of directoriesOf(named, dataDir)) {
    if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) continue
    const { owners } = await scan(directory, { reclaim: false, log: silence })
    for (const [owner, paths] of owners) {
      if (!isOwner(owner)) continue
      const [containerId = '', ifName = null] = owner.split('\r\n')
      for (const address of paths.filter(isAddress))
        found.push({ network, directory, address, containerId, ifName })
    }
  }
  return found
}
