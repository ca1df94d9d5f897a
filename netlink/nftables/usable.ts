/** Whether this kernel can do what the plugins want of nf_tables. */
import type { Connection } from '../connection.ts'
import { NetlinkError } from '../error.ts'
import { NETLINK_NETFILTER, type Netns } from '../netns.ts'
import { addChain } from './chain.ts'
import { addRule, deleteRule } from './rule.ts'
import { masquerade } from './rules/nat.ts'
import { addTable } from './table.ts'
import { TransactionError, transaction } from './transaction.ts'

const probed = { family: 'inet', table: 'linkwright_probe' } as const
const chain = 'postrouting'

/**
 * Tries nf_tables with a nat chain and masquerade, changing nothing: a batch that would make such a rule ends with an
 * operation that must fail, so the kernel checks all of it (and loads its modules) and carries out none.
 * Equivalent: `nft --check`.
 * @returns undefined when it works, otherwise the reason why not
 */
export const probe = async (connection: Connection): Promise<Error | undefined> => {
  const fails = deleteRule({ ...probed, chain, handle: 0x7fff_ffff_ffffn })
  try {
    await transaction(
      connection,
      [
        addTable(probed),
        addChain({ ...probed, chain, base: { type: 'nat', hook: 'postrouting', priority: 100 } }),
        addRule({ ...probed, chain, rule: [masquerade()] }),
        fails,
      ],
      { op: 'try nf_tables' },
    )
  } catch (error) {
    if (!(error instanceof TransactionError)) return error as Error
    return error.errors.find(({ op }) => op !== fails.op)
  }
  return new NetlinkError({ op: fails.op, errno: 0, kernelMessage: 'expected to fail' })
}

/**
 * Whether the namespace has nf_tables with nat and masquerade, and this process may use it.
 * @returns undefined when it does, otherwise the reason why not, for an error message
 */
export const unusable = async (netns: Netns, sync = false): Promise<Error | undefined> => {
  let connection: Connection
  try {
    connection = netns.connect({ protocol: NETLINK_NETFILTER, sync })
  } catch (error) {
    // EPROTONOSUPPORT: a kernel without nfnetlink.
    return error as Error
  }
  try {
    return await probe(connection)
  } finally {
    connection.close()
  }
}

/** The same as a yes or no. */
export const usable = async (netns: Netns, sync = false): Promise<boolean> =>
  (await unusable(netns, sync)) === undefined
