/** What a client takes from servers, and from whom (RFC 8415 sections 16.3 and 16.10). */
import type { OpenExchange } from './conversation.ts'
import type { Message } from './message.ts'
import type { Status } from './options.ts'
import type { Settings } from './surroundings.ts'

/** DUID in hex of the server that answers what was asked; null where the message is no answer to it. */
export const answeringServer = (
  { type, transactionId, options }: Message,
  asked: OpenExchange,
  { clientId, rapidCommit }: Settings,
): string | null => {
  if (transactionId !== asked.transactionId || !options.serverId || !options.clientId) return null
  if (Buffer.compare(options.clientId, clientId) !== 0) return null
  const server = Buffer.from(options.serverId).toString('hex')
  if (asked.server !== null && asked.server !== server) return null
  if (asked.type !== 'SOLICIT') return type === 'REPLY' ? server : null
  // A REPLY answers a SOLICIT where both have rapid commit (section 18.2.1).
  const isCommitted = type === 'REPLY' && options.rapidCommit === true && rapidCommit
  return type === 'ADVERTISE' || isCommitted ? server : null
}

/** Why the address of a CONFIRM is not of this link, or what else went wrong; null: it is (section 18.2.10.3). */
export const failureOf = ({
  options,
}: Message): (Status & { readonly code: Exclude<Status['code'], 'Success'> }) | null => {
  const status = options.statusCode ?? options.iaNa?.[0]?.statusCode
  return status === undefined || status.code === 'Success' ? null : { ...status, code: status.code }
}
