import { Writer } from '../../../netlink/codec/writer.ts'
import type { Operation } from '../../../netlink/nftables/index.ts'
import type { Request } from '../../../netlink/request.ts'
import fixtures from './fixtures.json' with { type: 'json' }

/** A message as nft sent it: the low byte of its type, its flags, what follows `struct nlmsghdr` in hex. */
export interface Sent {
  readonly type: number
  readonly flags: number
  readonly payload: string
}

/** What nft 1.0.6 sent for a rule (by family and line) or a command, without BEGIN, END and what it asked before. */
export const sent = (kind: 'rules' | 'operations', name: string): readonly Sent[] => {
  const messages = (fixtures[kind] as Record<string, Sent[]>)[name]
  if (!messages) throw new Error(`nft was not asked for ${name}`)
  return messages
}

const REQUEST = 1

/** A request in the same form. */
export const written = (request: Request<void>): Sent => {
  const writer = new Writer()
  request.write(writer)
  writer.pad()
  return {
    type: request.type & 0xff,
    flags: request.flags | REQUEST,
    payload: Buffer.from(writer.finish()).toString('hex'),
  }
}

/** The messages of an operation, sets numbered from 1 on as nft does. */
export const messagesOf = (operation: Operation): Sent[] => {
  let id = 0
  return operation.messages(() => ++id).map(written)
}
