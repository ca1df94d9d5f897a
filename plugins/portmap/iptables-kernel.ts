/** What `iptables` has made, read as it is on almost every host: as tables of nf_tables, without running anything. */
import type { Context } from '../../cni/plugin.ts'
import { isErrno, nftables } from '../../netlink/index.ts'
import { hasLegacyTable, type LegacyHost, type Version } from '../shared/iptables.ts'
import { nftablesOf } from '../shared/nftables.ts'

/** What it needs of a plugin's context. */
export type IptablesHost = LegacyHost & Pick<Context<unknown>, 'hostNftables' | 'hostNetns'>

/** A container's chain and the shared one that leads to it. */
export type Lead = readonly [shared: string, chain: string]

/** The families that have a nat table of their own. */
export const families = [
  { family: 'ip', version: 4 },
  { family: 'ip6', version: 6 },
] as const
export type Which = (typeof families)[number]

/** A kernel without nf_tables has nothing of ours in it, and a nat table that nobody made has no rules. */
const codesOfNone = ['EOPNOTSUPP', 'EPROTONOSUPPORT', 'EINVAL', 'ENOENT']

/** The rules of a chain of the nat table; none where there is none. @throws NetlinkError */
export const listRules = async (
  host: IptablesHost,
  { family }: Which,
  chain: string,
): Promise<nftables.Rule[]> => {
  try {
    return (await nftablesOf(host)?.run(nftables.listRules({ family, table: 'nat', chain }))) ?? []
  } catch (error) {
    if (isErrno(error, ...codesOfNone)) return []
    throw error
  }
}

/** Which of the containers' chains there are in each of the families: one question. @throws NetlinkError */
export const presentIn = async (
  host: IptablesHost,
  whiches: readonly Which[],
  leads: readonly Lead[],
): Promise<Lead[][]> => {
  const requests = whiches.flatMap(({ family }) =>
    leads.map(([, chain]) => nftables.getChain({ family, table: 'nat', chain })),
  )
  const outcomes = (await nftablesOf(host)?.batch(requests)) ?? []
  return whiches.map((_, n) =>
    leads.filter((_lead, i) => {
      const outcome = outcomes[n * leads.length + i]
      if (outcome && !outcome.ok && !codesOfNone.includes(outcome.code)) throw outcome.error
      return outcome?.ok === true
    }),
  )
}

/** The same of one family. @throws NetlinkError */
export const present = async (host: IptablesHost, which: Which, leads: readonly Lead[]): Promise<Lead[]> =>
  (await presentIn(host, [which], leads))[0]!

/** The family of a version. */
export const familyOf = (version: Version): Which => families[version === 4 ? 0 : 1]

/** Whether a container's chain may be there: the old xtables are not asked, only whether they are in use. */
export const mayHaveChain = async (host: IptablesHost, version: Version, chain: string): Promise<boolean> => {
  if (hasLegacyTable(host.hostNetns, version, 'nat')) return true
  return (await present(host, familyOf(version), [['', chain]])).length > 0
}
