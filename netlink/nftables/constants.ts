/** Numbers of linux/netfilter.h, linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h, by their names. */
import { be32 } from '../codec/types.ts'
import { choice } from '../codec/values.ts'

/** NFNL_SUBSYS_NFTABLES, in the high byte of `nlmsg_type`. */
const SUBSYSTEM = 10 << 8

/** `NFT_MSG_*` as `nlmsg_type`. */
export const NFT_MSG = {
  newTable: SUBSYSTEM | 0,
  getTable: SUBSYSTEM | 1,
  delTable: SUBSYSTEM | 2,
  newChain: SUBSYSTEM | 3,
  getChain: SUBSYSTEM | 4,
  delChain: SUBSYSTEM | 5,
  newRule: SUBSYSTEM | 6,
  getRule: SUBSYSTEM | 7,
  delRule: SUBSYSTEM | 8,
  newSet: SUBSYSTEM | 9,
  getSet: SUBSYSTEM | 10,
  delSet: SUBSYSTEM | 11,
  newSetElem: SUBSYSTEM | 12,
  getSetElem: SUBSYSTEM | 13,
  delSetElem: SUBSYSTEM | 14,
  newGen: SUBSYSTEM | 15,
  getGen: SUBSYSTEM | 16,
  newObj: SUBSYSTEM | 18,
  getObj: SUBSYSTEM | 19,
  delObj: SUBSYSTEM | 20,
} as const

/** `NFNL_MSG_BATCH_*`. They carry no subsystem in their type, but in `res_id` of `struct nfgenmsg`. */
export const NFNL_MSG_BATCH_BEGIN = 0x10
export const NFNL_MSG_BATCH_END = 0x11
export const NFNL_SUBSYS_NFTABLES = 10

/** `NFPROTO_*`: the families of tables, by the words of nft. */
export const families = { inet: 1, ip: 2, arp: 3, netdev: 5, bridge: 7, ip6: 10 } as const
/** Family of a table: `nft add table FAMILY NAME`. */
export type Family = keyof typeof families

const familyNames = new Map<number, Family>(
  Object.entries(families).map(([name, number]) => [number, name as Family]),
)
/** The family's word, undefined for a number this code does not know. */
export const familyName = (number: number): Family | undefined => familyNames.get(number)

/** `NF_INET_*`, `NF_BR_*`, `NF_ARP_*` and `NF_NETDEV_*`: the same word is another number elsewhere. */
const inetHooks = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4, ingress: 5 } as const
const arpHooks = { input: 0, output: 1, forward: 2 } as const
const netdevHooks = { ingress: 0, egress: 1 } as const
/** Where a base chain is called: `hook HOOK`. */
export type Hook = keyof typeof inetHooks | keyof typeof netdevHooks

const hooksOf = (family: Family): Readonly<Record<string, number>> =>
  family === 'arp' ? arpHooks : family === 'netdev' ? netdevHooks : inetHooks

/** Number of a hook. Throws RangeError where the family has none of that name. */
export const hookNumber = (family: Family, hook: Hook): number => {
  const hooks = hooksOf(family)
  const number = Object.hasOwn(hooks, hook) ? hooks[hook] : undefined
  if (number === undefined) throw new RangeError(`tables of family ${family} have no hook ${hook}`)
  return number
}

/** Name of a hook, undefined for a number this code does not know. */
export const hookName = (family: Family, number: number): Hook | undefined =>
  Object.entries(hooksOf(family)).find(([, value]) => value === number)?.[0] as Hook | undefined

const signed = (number: number): number => number >>> 0
/** NF_DROP and NF_ACCEPT of linux/netfilter.h, the rest from `enum nft_verdicts`. */
export const verdicts = {
  drop: 0,
  accept: 1,
  continue: signed(-1),
  break: signed(-2),
  jump: signed(-3),
  goto: signed(-4),
  return: signed(-5),
} as const
export type Verdict = keyof typeof verdicts

export const verdictCode = choice(be32, verdicts)
/** Policy of a base chain. */
export const policyCode = choice(be32, { drop: 0, accept: 1 })
/** `NFPROTO_*` as an attribute. */
export const family32 = choice(be32, families)

/**
 * `enum nft_registers`. Registers 1 to 4 have 16 bytes and are made of four of 4 bytes each, numbered from 8 on
 * (NFT_REG32_00 is the start of register 1). Register 0 holds the verdict.
 */
export const REG_VERDICT = 0
export const REG_1 = 1
/** The register that starts `words` times 4 bytes behind the start of register 1, as nft and the kernel name it. */
export const registerAt = (words: number): number => (words % 4 === 0 ? REG_1 + words / 4 : 8 + words)
