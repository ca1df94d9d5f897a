/** Whether this kernel can do what the plugins want of nf_tables. */
import type { Connection } from '../connection.ts'
import type { Netns } from '../netns.ts'
import { addChain, listChains } from './chain.ts'
import { addRule, listRules } from './rule.ts'
import { masquerade } from './rules/nat.ts'
import { addTable } from './table.ts'
import { asked, tryOut } from './try-out.ts'

const probed = { family: 'inet', table: 'linkwright_probe', chain: 'postrouting' } as const

/** NFTA_EXPR_NAME of masquerade, NUL included, as it stands in a rule. */
const masq = Buffer.from('masq\0')

/** Whether somebody masquerades already in a table for IPv4 and IPv6, which answers the question without a change. */
const inUse = async (connection: Connection): Promise<boolean> => {
  const chains = await connection.run(listChains({ family: 'inet' }))
  const tables = new Set(chains.flatMap(({ base, table }) => (base?.type === 'nat' ? [table] : [])))
  for (const table of tables) {
    const rules = await connection.run(listRules({ family: 'inet', table }))
    if (rules.some(({ raw }) => Buffer.from(raw.buffer, raw.byteOffset, raw.length).includes(masq)))
      return true
  }
  return false
}

/**
 * Tries nf_tables with a nat chain and masquerade, where no such rule exists by {@link tryOut}. Taking back a batch makes
 * the kernel wait for its readers, 5 to 20 ms: rather try what you need, and ask when it fails.
 * @returns undefined when it works, otherwise what is missing
 * @throws NetlinkError, SocketError which says nothing of that
 */
export const probe = async (connection: Connection): Promise<Error | undefined> =>
  (await inUse(connection))
    ? undefined
    : tryOut(
        connection,
        probed,
        [
          addTable(probed),
          addChain({ ...probed, base: { type: 'nat', hook: 'postrouting', priority: 100 } }),
          addRule({ ...probed, rule: [masquerade()] }),
        ],
        'try nf_tables',
      )

/**
 * Whether the namespace has nf_tables with nat and masquerade.
 * @returns undefined when it does, otherwise the reason why not, for an error message
 * @throws NetlinkError, SocketError where that could not be found out
 */
export const unusable = (netns: Netns, sync = false): Promise<Error | undefined> => asked(netns, probe, sync)

/** The same as a yes or no. @throws NetlinkError, SocketError */
export const usable = async (netns: Netns, sync = false): Promise<boolean> =>
  (await unusable(netns, sync)) === undefined
