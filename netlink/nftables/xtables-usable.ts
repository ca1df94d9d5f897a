/** Whether rules as iptables writes them can be made over netlink. */
import type { Netns } from '../netns.ts'
import { addChain } from './chain.ts'
import { addRule } from './rule.ts'
import { addTable } from './table.ts'
import { asked, tryOut } from './try-out.ts'
import { xtablesRule } from './xtables.ts'

const chain = { family: 'ip', table: 'linkwright_probe', chain: 'probe' } as const
const rule = xtablesRule('ip', { established: true, comment: 'probe', target: 'ACCEPT' })

/**
 * Tries nf_tables with the matches `conntrack` and `comment` of xtables (CONFIG_NFT_COMPAT), changing nothing.
 * @returns undefined when it works, otherwise the reason why not, for an error message
 * @throws NetlinkError, SocketError where that could not be found out
 */
export const xtablesUnusable = (netns: Netns): Promise<Error | undefined> =>
  asked(netns, (connection) =>
    tryOut(
      connection,
      chain,
      [addTable(chain), addChain(chain), addRule({ ...chain, rule })],
      'try nf_tables with matches of xtables',
    ),
  )
