/**
 * What a transaction is made of. An operation is an immutable value: a description and the messages it sends. Most
 * send one; a rule with an anonymous set sends three, many elements go in pieces of less than 64 KiB.
 */
import type { Attributes, Rows } from '../codec/table.ts'
import { change, NLM_F, type Request } from '../request.ts'
import type { NfLayout } from './attributes.ts'
import { type Family, families } from './constants.ts'

/** Gives numbers to the sets of one transaction, so that its rules can name sets that are made in it. */
export type NextId = () => number

/** One change of the rule set; nothing happens before a transaction carries it out. */
export interface Operation {
  /** In words, for errors: `add rule inet filter input ct state established accept`. */
  readonly op: string
  messages(nextId: NextId): readonly Request<void>[]
}

/** `NLM_F_*` of the nft verbs. `add` does not mind what exists already (for rules: appends), `create` does. */
export const verbFlags = {
  add: NLM_F.create,
  create: NLM_F.create | NLM_F.excl,
  append: NLM_F.create | NLM_F.append,
  insert: NLM_F.create,
  replace: NLM_F.replace,
  none: 0,
} as const

/** Header of `struct nfgenmsg` for a family. */
export const familyHeader = (family: Family | undefined): { family: number } => ({
  family: family === undefined ? 0 : families[family],
})

interface OperationOptions<T extends Rows> {
  readonly op: string
  readonly type: number
  readonly flags?: number
  readonly family: Family
  readonly attributes: Attributes<T>
}

/** One message as a request. */
export const message = <T extends Rows>(
  layout: NfLayout<T>,
  { family, ...options }: OperationOptions<T>,
): Request<void> => change(layout, { ...options, header: familyHeader(family) })

/** An operation of one message. */
export const operation = <T extends Rows>(layout: NfLayout<T>, options: OperationOptions<T>): Operation => {
  const requests = [message(layout, options)]
  return { op: options.op, messages: () => requests }
}

/** Several operations under one name. */
export const sequence = (op: string, operations: readonly Operation[]): Operation => ({
  op,
  messages: (nextId) =>
    operations.flatMap((each) => each.messages(nextId).map((request) => ({ ...request, op }))),
})
