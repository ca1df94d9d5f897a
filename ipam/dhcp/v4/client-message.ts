/** The messages of a client (RFC 2131 table 5), and which are meant for it. */
import { encode, type Message } from './message.ts'
import { type OptionValues, optionCodes, write } from './options.ts'
import type { Identity, Settings } from './surroundings.ts'

/** Bytes that fit into a packet of Ethernet. */
const MAX_MESSAGE_SIZE = 1472

/** What differs from one message to the next. */
export interface ClientMessage {
  readonly xid: number
  readonly secs: number
  /** The client's address, where it has one and can answer to it. */
  readonly ciaddr: string
  readonly values: OptionValues
}

/**
 * The bytes of a message. RELEASE and DECLINE ask for nothing: they have neither seconds nor anything that is provided.
 * @throws RangeError for what a configuration provides and no message can carry
 */
export const clientMessage = (
  { mac, clientId, broadcast, request, provide }: Settings,
  { xid, secs, ciaddr, values }: ClientMessage,
): Uint8Array => {
  const asks = values.messageType !== 'RELEASE' && values.messageType !== 'DECLINE'
  const options = write({
    ...values,
    clientId,
    ...(asks ? { maxMessageSize: MAX_MESSAGE_SIZE, parameterRequestList: request } : {}),
  })
  if (asks) for (const [code, value] of provide) options.set(code, value)
  return encode({
    op: 'BOOTREQUEST',
    htype: 1,
    hops: 0,
    xid,
    secs: asks ? Math.min(0xffff, secs) : 0,
    broadcast: broadcast && asks && ciaddr === '0.0.0.0',
    ciaddr,
    yiaddr: '0.0.0.0',
    siaddr: '0.0.0.0',
    giaddr: '0.0.0.0',
    chaddr: mac,
    options,
  })
}

/** Whether a message answers a client's with that transaction id. */
export const isAnswer = (
  { op, xid, chaddr, options }: Message,
  { mac, clientId }: Identity,
  asked: number,
): boolean => {
  if (op !== 'BOOTREPLY' || xid !== asked || Buffer.compare(chaddr, mac) !== 0) return false
  // RFC 6842: servers send it back. All ipvlan interfaces of a master have one MAC.
  const echoed = options.get(optionCodes.clientId)
  return !echoed || Buffer.compare(echoed, clientId) === 0
}
