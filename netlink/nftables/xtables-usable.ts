/** Whether rules as iptables writes them can be made over netlink. */
import type { Connection } from '../connection.ts'
import { NETLINK_NETFILTER, type Netns } from '../netns.ts'
import { addChain } from './chain.ts'
import { addRule, deleteRule } from './rule.ts'
import { addTable } from './table.ts'
import { TransactionError, transaction } from './transaction.ts'
import { xtablesRule } from './xtables.ts'

const chain = { family: 'ip', table: 'linkwright_probe', chain: 'probe' } as const
const rule = xtablesRule('ip', { established: true, comment: 'probe', target: 'ACCEPT' })

/**
 * Tries nf_tables with the matches `conntrack` and `comment` of xtables (CONFIG_NFT_COMPAT), changing nothing: the batch
 * ends with an operation that must fail.
 * @returns undefined when it works, otherwise the reason why not, for an error message
 */
export const xtablesUnusable = async (netns: Netns): Promise<Error | undefined> => {
  let connection: Connection
  try {
    connection = netns.connect({ protocol: NETLINK_NETFILTER })
  } catch (error) {
    // EPROTONOSUPPORT: a kernel without nfnetlink.
    return error as Error
  }
  const fails = deleteRule({ ...chain, handle: 0x7fff_ffff_ffffn })
  try {
    await transaction(connection, [addTable(chain), addChain(chain), addRule({ ...chain, rule }), fails], {
      op: 'try nf_tables with matches of xtables',
    })
    return new Error('an operation that must fail has succeeded')
  } catch (error) {
    if (!(error instanceof TransactionError)) return error as Error
    return error.errors.find(({ op }) => op !== fails.op)
  } finally {
    connection.close()
  }
}
