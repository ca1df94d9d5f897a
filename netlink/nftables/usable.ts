/** Whether this kernel can do what the plugins want of nf_tables. */
import type { Connection } from '../connection.ts'
import { isErrno, NetlinkError } from '../error.ts'
import { NETLINK_NETFILTER, type Netns } from '../netns.ts'
import { addChain, listChains } from './chain.ts'
import { addRule, deleteRule, listRules } from './rule.ts'
import { masquerade } from './rules/nat.ts'
import { addTable } from './table.ts'
import { TransactionError, transaction } from './transaction.ts'

const probed = { family: 'inet', table: 'linkwright_probe' } as const
const chain = 'postrouting'

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
 * Tries nf_tables with a nat chain and masquerade, changing nothing: where no such rule exists, a batch that would make
 * one ends with an operation that must fail, so the kernel checks all of it (and loads its modules) and carries out
 * none. Equivalent: `nft --check`. Taking back a batch makes the kernel wait for its readers, 5 to 20 ms: rather try
 * what you need, and ask when it fails.
 * @returns undefined when it works, otherwise the reason why not
 */
export const probe = async (connection: Connection): Promise<Error | undefined> => {
  const fails = deleteRule({ ...probed, chain, handle: 0x7fff_ffff_ffffn })
  try {
    if (await inUse(connection)) return undefined
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

/**
 * Whether an error of a list says that this kernel has no nf_tables at all, so that nothing can be in it: nfnetlink
 * answers EINVAL for a subsystem that it does not know.
 */
export const isWithoutNftables = (error: unknown): boolean =>
  isErrno(error, 'EINVAL', 'EOPNOTSUPP', 'EPROTONOSUPPORT')
