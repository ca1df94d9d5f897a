/**
 * DHCPv6 messages between clients and servers (RFC 8415 section 8). Those of relays have another header, and do not
 * reach clients.
 *
 *   msg-type 1 │ transaction-id 3 │ options
 */
import { type Options, optionRows } from './options.ts'

/** Section 7.3. */
export const messageTypes = {
  SOLICIT: 1,
  ADVERTISE: 2,
  REQUEST: 3,
  CONFIRM: 4,
  RENEW: 5,
  REBIND: 6,
  REPLY: 7,
  RELEASE: 8,
  DECLINE: 9,
  RECONFIGURE: 10,
  'INFORMATION-REQUEST': 11,
} as const
export type MessageType = keyof typeof messageTypes

export interface Message {
  readonly type: MessageType
  /** 24 bits. */
  readonly transactionId: number
  readonly options: Options
}

const HEADER = 4
const byNumber = new Map<number, MessageType>(
  Object.entries(messageTypes).map(([name, code]) => [code, name as MessageType]),
)

/** @throws RangeError for a transaction id of more than 24 bits, and for a value that its option can't have */
export const encode = ({ type, transactionId, options }: Message): Uint8Array => {
  if (!Number.isInteger(transactionId) || transactionId < 0 || transactionId > 0xff_ffff)
    throw new RangeError(`${transactionId} is not a transaction id of 24 bits`)
  const rest = optionRows.write(options)
  const bytes = new Uint8Array(HEADER + rest.length)
  new DataView(bytes.buffer).setUint32(0, ((messageTypes[type] << 24) | transactionId) >>> 0)
  bytes.set(rest, HEADER)
  return bytes
}

/**
 * Reads a message. Null for what is none: too short, of a type that is not in {@link messageTypes}, an option that
 * reaches past the end. Options that are unknown or malformed are kept as they came. Nothing in it is a view.
 */
export const parse = (bytes: Uint8Array): Message | null => {
  if (bytes.length < HEADER) return null
  const type = byNumber.get(bytes[0]!)
  const options = type && optionRows.read(bytes.subarray(HEADER))
  if (!type || !options) return null
  return { type, transactionId: (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!, options }
}
