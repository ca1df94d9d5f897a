/** ICMPv6 in IPv6 packets, for packet sockets: neighbour discovery before an interface has an address (RFC 4861). */
import { formatIp, parseIp } from '../../netlink/ip.ts'
import { checksum, sum } from './checksum.ts'

export const ROUTER_SOLICITATION = 133
export const ROUTER_ADVERTISEMENT = 134
const NEIGHBOUR_SOLICITATION = 135
const NEIGHBOUR_ADVERTISEMENT = 136
/** What can tell that an address is taken. */
export const neighbourTypes = [NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT] as const

const IP_HEADER = 40
const IPPROTO_ICMPV6 = 58
/** What no router has forwarded. */
const HOP_LIMIT = 255
/** Type, code, checksum, flags, and the address that it is about. */
const NEIGHBOUR_LENGTH = 24
/** Lengths of options are counted in these. */
const UNIT = 8
/** RFC 3971 section 5.3.2, used as RFC 7527 says. */
const NONCE = 14
/** Bytes. */
export const NONCE_LENGTH = 6

export interface Icmp6Packet {
  readonly source: string
  readonly destination: string
  /** From its type on. */
  readonly message: Uint8Array
}

const bytesOf = (text: string): Uint8Array => {
  const bytes = parseIp(text)
  if (bytes?.length !== 16) throw new RangeError(`${JSON.stringify(text)} is not an IPv6 address`)
  return bytes
}

/** Sum of the pseudo header (RFC 8200 section 8.1) and the message. */
const total = (addresses: Uint8Array, message: Uint8Array): number =>
  sum(addresses) + message.length + IPPROTO_ICMPV6 + sum(message)

/** A packet with its checksum filled in. @throws RangeError for an address that is none */
export const encodeIcmp6 = ({ source, destination, message }: Icmp6Packet): Uint8Array => {
  const packet = new Uint8Array(IP_HEADER + message.length)
  const view = new DataView(packet.buffer)
  packet[0] = 0x60
  view.setUint16(4, message.length)
  packet[6] = IPPROTO_ICMPV6
  packet[7] = HOP_LIMIT
  packet.set(bytesOf(source), 8)
  packet.set(bytesOf(destination), 24)
  packet.set(message, IP_HEADER)
  view.setUint16(IP_HEADER + 2, 0)
  view.setUint16(IP_HEADER + 2, checksum(total(packet.subarray(8, IP_HEADER), packet.subarray(IP_HEADER))))
  return packet
}

/** Null where it is no whole ICMPv6 packet with hop limit 255, or damaged. The message is a view. */
export const parseIcmp6 = (bytes: Uint8Array): Icmp6Packet | null => {
  if (bytes.length < IP_HEADER + 4 || bytes[0]! >> 4 !== 6) return null
  if (bytes[6] !== IPPROTO_ICMPV6 || bytes[7] !== HOP_LIMIT) return null
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint16(4)
  if (length < 4 || IP_HEADER + length > bytes.length) return null
  const message = bytes.subarray(IP_HEADER, IP_HEADER + length)
  if (checksum(total(bytes.subarray(8, IP_HEADER), message)) !== 0) return null
  return {
    source: formatIp(bytes.subarray(8, 24)),
    destination: formatIp(bytes.subarray(24, IP_HEADER)),
    message,
  }
}

/** Where those listen who may have an address: `ff02::1:ff` and its last three bytes, RFC 4291 section 2.7.1. */
const solicitedNode = (address: Uint8Array): Uint8Array => {
  const group = bytesOf('ff02::1:ff00:0')
  group.set(address.subarray(13), 13)
  return group
}

/** Ethernet's group address of an IPv6 one, RFC 2464 section 7. */
export const multicastMac = (group: Uint8Array): Uint8Array =>
  Uint8Array.of(0x33, 0x33, ...group.subarray(12))

/**
 * Asks whether somebody has an address, as one that does not have it yet (RFC 4862 section 5.4.2).
 * @param nonce tells the packet from others' if the link sends it back (RFC 7527); {@link NONCE_LENGTH} bytes
 * @returns the packet, the MAC that it goes to, which is also where others ask for the address
 */
export const duplicateProbe = (
  address: string,
  nonce: Uint8Array,
): { readonly packet: Uint8Array; readonly mac: Uint8Array } => {
  const target = bytesOf(address)
  const group = solicitedNode(target)
  const message = new Uint8Array(NEIGHBOUR_LENGTH + UNIT)
  message[0] = NEIGHBOUR_SOLICITATION
  message.set(target, 8)
  message.set([NONCE, 1], NEIGHBOUR_LENGTH)
  message.set(nonce, NEIGHBOUR_LENGTH + 2)
  return {
    packet: encodeIcmp6({ source: '::', destination: formatIp(group), message }),
    mac: multicastMac(group),
  }
}

/** The nonce among a message's options; undefined where there is none, or what comes before it is cut short. */
const nonceOf = (message: Uint8Array): Uint8Array | undefined => {
  for (let at = NEIGHBOUR_LENGTH; at + UNIT <= message.length; ) {
    const end = at + message[at + 1]! * UNIT
    if (end === at || end > message.length) return undefined
    if (message[at] === NONCE) return message.subarray(at + 2, end)
    at = end
  }
  return undefined
}

/**
 * Whether a packet says that another host has the address, or is about to take it (RFC 4862 sections 5.4.3, 5.4.4).
 * MAC addresses do not tell who has sent it: ipvlan interfaces share one.
 * @param nonce of the own packets
 */
export const isDuplicate = (
  { source, message }: Icmp6Packet,
  address: string,
  nonce: Uint8Array,
): boolean => {
  if (message.length < NEIGHBOUR_LENGTH) return false
  if (formatIp(message.subarray(8, 24)) !== address) return false
  if (message[0] === NEIGHBOUR_ADVERTISEMENT) return true
  if (message[0] !== NEIGHBOUR_SOLICITATION || source !== '::') return false
  const other = nonceOf(message)
  return other === undefined || Buffer.compare(other, nonce) !== 0
}
