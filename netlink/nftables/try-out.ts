/** Whether this kernel can do something, found out without a change. */
import type { Connection } from '../connection.ts'
import { NetlinkError } from '../error.ts'
import { NETLINK_NETFILTER, type Netns } from '../netns.ts'
import type { ChainRef } from './chain.ts'
import { isUnsupported } from './missing.ts'
import type { Operation } from './operation.ts'
import { deleteRule } from './rule.ts'
import { TransactionError, transaction } from './transaction.ts'

/**
 * Lets the kernel look at operations, changing nothing: the batch ends with one that must fail, so the kernel checks all
 * of it (and loads its modules) and carries out none. Equivalent: `nft --check`.
 * @param chain of the operations, for the one that fails
 * @returns undefined where it would carry them out, otherwise what is missing in it
 * @throws NetlinkError, SocketError which says nothing of that
 */
export const tryOut = async (
  connection: Connection,
  chain: ChainRef,
  operations: readonly Operation[],
  op: string,
): Promise<Error | undefined> => {
  const fails = deleteRule({ ...chain, handle: 0x7fff_ffff_ffffn })
  try {
    await transaction(connection, [...operations, fails], { op })
  } catch (error) {
    const refused =
      error instanceof TransactionError ? error.errors.find((one) => one.op !== fails.op) : error
    if (refused === undefined || isUnsupported(refused)) return refused as Error | undefined
    throw refused
  }
  throw new NetlinkError({ op: fails.op, errno: 0, kernelMessage: 'expected to fail' })
}

/**
 * Asks over a connection of its own.
 * @returns what `ask` does, or the error that says that this kernel has no nf_tables
 * @throws any other
 */
export const asked = async (
  netns: Netns,
  ask: (connection: Connection) => Promise<Error | undefined>,
  sync = false,
): Promise<Error | undefined> => {
  let connection: Connection | undefined
  try {
    connection = netns.connect({ protocol: NETLINK_NETFILTER, sync })
    return await ask(connection)
  } catch (error) {
    if (isUnsupported(error)) return error as Error
    throw error
  } finally {
    connection?.close()
  }
}
