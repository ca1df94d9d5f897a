/**
 * Transactions: many changes of the rule set in one datagram, all of them or none. Equivalent: `nft -f FILE`.
 *
 * A batch is BEGIN, the changes, END. The kernel checks every change before it carries out any: an error of one does
 * not stop it from reporting the others, and a batch with errors changes nothing. What fails the batch as a whole (no
 * permission, no memory, another generation, a failing commit) is reported at BEGIN.
 */
import { Writer } from '../codec/writer.ts'
import { type Connection, describe } from '../connection.ts'
import { isErrno, NetlinkError } from '../error.ts'
import { decode, flagsOf, type Outcome, writeMessage } from '../exchange.ts'
import { change, type Request } from '../request.ts'
import { batchLayout } from './attributes.ts'
import { NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES } from './constants.ts'
import { getGeneration } from './generation.ts'
import type { Operation } from './operation.ts'

/** EINTR: a signal reached the thread while the kernel worked on the batch. Nothing was changed. */
const EINTR_TRIES = 8

/**
 * A batch that the kernel refused; nothing was changed. `op`, `errno` and the rest are those of the first failing
 * operation, `errors` has all of them.
 */
export class TransactionError extends NetlinkError {
  readonly errors: readonly NetlinkError[]

  /** @param errors at least one */
  constructor(errors: readonly NetlinkError[]) {
    const [first] = errors
    if (!first) throw new RangeError('a transaction fails with at least one error')
    super({ ...first, cause: errors.length > 1 ? new AggregateError(errors) : undefined })
    this.errors = errors
    if (errors.length > 1)
      this.message = `${first.message} (and ${errors.length - 1} more: ${errors
        .slice(1, 4)
        .map(({ message }) => message)
        .join('; ')}${errors.length > 4 ? '; …' : ''})`
  }
}

export interface TransactionOptions {
  /**
   * The generation of the rule set (see `getGeneration`) that the operations were made for: ERESTART when somebody
   * has changed it since. Default: any.
   */
  readonly generation?: number | undefined
  /** What is being done, for errors of the batch as a whole. Default `change the nf_tables rule set`. */
  readonly op?: string | undefined
}

const batchMarker = (op: string, type: number, generation?: number): Request<void> => ({
  ...change(batchLayout, { op, type, header: { resId: NFNL_SUBSYS_NFTABLES }, attributes: { generation } }),
})

/**
 * Carries out operations, all or none. No operations: nothing is sent.
 * @throws TransactionError when the kernel refuses, with every operation it minded; SocketError when the socket fails:
 * EMSGSIZE for a batch longer than its send buffer (32 MiB with CAP_NET_ADMIN, about 100 000 rules)
 */
export const transaction = async (
  connection: Connection,
  operations: readonly Operation[],
  options: TransactionOptions = {},
): Promise<void> => {
  if (operations.length === 0) return
  for (let attempt = 1; ; attempt++) {
    try {
      return await send(connection, operations, options)
    } catch (error) {
      if (attempt === EINTR_TRIES || !isErrno(error, 'EINTR')) throw error
    }
  }
}

/** A marker is not answered, nor is a change of a batch that failed as a whole. */
const done: Outcome<void> = { ok: true, value: undefined }

const send = (
  connection: Connection,
  operations: readonly Operation[],
  { generation, op = 'change the nf_tables rule set' }: TransactionOptions,
): Promise<void> => {
  let setId = 0
  const changes = operations.flatMap((operation) => operation.messages(() => ++setId))
  if (changes.length === 0) return Promise.resolve()
  const begin = batchMarker(op, NFNL_MSG_BATCH_BEGIN, generation)
  const end = batchMarker(op, NFNL_MSG_BATCH_END)
  return connection.exclusive(
    () => `${op} (${describe(operations)})`,
    async (exchange) => {
      const first = connection.takeSeq(changes.length + 2)
      const last = first + changes.length + 1
      const writer = new Writer()
      // The markers are not acknowledged: kernels differ in whether they could be.
      writeMessage(writer, begin, first, 1)
      for (const [i, request] of changes.entries())
        writeMessage(writer, request, first + 1 + i, flagsOf(request))
      writeMessage(writer, end, last, 1)
      const received = await exchange(writer.finish(), {
        firstSeq: first,
        lastSeq: last,
        expected: changes.length,
        abortSeq: first,
      })
      const { outcomes } = decode([begin, ...changes, end], first, received, done)
      const errors = outcomes.flatMap((outcome) => (outcome.ok ? [] : [outcome.error]))
      if (errors.length > 0) throw new TransactionError(distinct(errors))
    },
    // A rule with a match of xtables waits for what was deleted before.
    true,
  )
}

/** An operation of several messages is named once for each error it has. */
const distinct = (errors: readonly NetlinkError[]): NetlinkError[] => {
  const seen = new Set<string>()
  return errors.filter(({ message }) => !seen.has(message) && seen.add(message))
}

/** Plans are made again this often when the rule set changed under them. */
const PLAN_TRIES = 10

export interface UpdateOptions {
  /** See {@link TransactionOptions}. */
  readonly op?: string | undefined
  /**
   * Starts over whenever anybody changed anything between looking and changing; costs one more trip to the kernel.
   * Default false: only when what was found is gone.
   */
  readonly consistent?: boolean | undefined
  /** How often `plan` may run. Default 10. */
  readonly attempts?: number | undefined
}

/**
 * Looks, decides and changes, again from the start when somebody else changed the rule set in between: `plan` reads
 * what there is and returns the operations that are missing. ENOENT makes it start over, unless the plan comes out the
 * same again: then it is not others who are to blame.
 * @throws what `plan` or {@link transaction} throws; ERESTART when `consistent` could not be had
 */
export const update = async (
  connection: Connection,
  plan: () => Promise<readonly Operation[]>,
  { op, consistent = false, attempts = PLAN_TRIES }: UpdateOptions = {},
): Promise<void> => {
  let refused: { readonly error: unknown; readonly plan: string } | undefined
  for (let attempt = 1; ; attempt++) {
    const generation = consistent ? await connection.run(getGeneration()) : undefined
    const operations = await plan()
    const words = operations.map((operation) => operation.op).join('\n')
    if (refused?.plan === words) throw refused.error
    refused = undefined
    try {
      return await transaction(connection, operations, { op, generation })
    } catch (error) {
      const gone = isErrno(error, 'ENOENT')
      if (attempt >= attempts || !(gone || isErrno(error, 'ERESTART'))) throw error
      if (gone) refused = { error, plan: words }
    }
  }
}
