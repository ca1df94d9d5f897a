/**
 * ARP for IPv4 over Ethernet (RFC 826), to find out whether an address is taken before it is used (RFC 5227). Payloads
 * without the Ethernet header, as packet sockets of type SOCK_DGRAM take and give them.
 *
 *   hrd 1 │ pro 0x0800 │ hln 6 pln 4 │ op │ sender MAC 6 │ sender IP 4 │ target MAC 6 │ target IP 4
 */
import { formatIp, parseIp } from '../../netlink/ip.ts'
import { formatMac, parseMac, sameMac } from '../../netlink/mac.ts'

export interface Arp {
  /** The number where it is neither. */
  readonly operation: 'request' | 'reply' | number
  readonly senderMac: string
  /** Dotted quad. */
  readonly senderIp: string
  readonly targetMac: string
  readonly targetIp: string
}

/** An interface's own MAC address, and the IPv4 address in question. */
export interface Claim {
  readonly mac: string
  readonly address: string
}

const LENGTH = 28
const SENDER_MAC = 8
const SENDER_IP = 14
const TARGET_MAC = 18
const TARGET_IP = 24

/** ARPHRD_ETHER, ETH_P_IP and the lengths of their addresses: what each of these packets begins with. */
const ETHERNET_IPV4 = [0, 1, 8, 0, 6, 4]
const REQUEST = 1
const REPLY = 2

const UNSPECIFIED = '0.0.0.0'

const request = (mac: string, senderIp: string, targetIp: string): Uint8Array => {
  const sender = parseMac(mac)
  const [from, to] = [parseIp(senderIp), parseIp(targetIp)]
  if (sender?.length !== 6) throw new RangeError(`${JSON.stringify(mac)} is not an Ethernet address`)
  if (from?.length !== 4 || to?.length !== 4)
    throw new RangeError(`${JSON.stringify(targetIp)} is not an IPv4 address`)
  const bytes = new Uint8Array(LENGTH)
  bytes.set(ETHERNET_IPV4)
  bytes[7] = REQUEST
  bytes.set(sender, SENDER_MAC)
  bytes.set(from, SENDER_IP)
  // The target's MAC address is what is asked for, so it stays zero.
  bytes.set(to, TARGET_IP)
  return bytes
}

/**
 * An ARP probe (RFC 5227 section 2.1.1): asks for the address without claiming it, so nobody's cache changes.
 * @throws RangeError for an address that is none
 */
export const probe = ({ mac, address }: Claim): Uint8Array => request(mac, UNSPECIFIED, address)

/**
 * An ARP announcement (RFC 5227 section 2.3): the address is in use from now on.
 * @throws RangeError for an address that is none
 */
export const announcement = ({ mac, address }: Claim): Uint8Array => request(mac, address, address)

/** Reads a packet; null where it is not ARP for IPv4 over Ethernet. Padding after it is not looked at. */
export const parseArp = (bytes: Uint8Array): Arp | null => {
  if (bytes.length < LENGTH || ETHERNET_IPV4.some((byte, i) => bytes[i] !== byte)) return null
  const operation = (bytes[6]! << 8) | bytes[7]!
  return {
    operation: operation === REQUEST ? 'request' : operation === REPLY ? 'reply' : operation,
    senderMac: formatMac(bytes.subarray(SENDER_MAC, SENDER_IP)),
    senderIp: formatIp(bytes.subarray(SENDER_IP, TARGET_MAC)),
    targetMac: formatMac(bytes.subarray(TARGET_MAC, TARGET_IP)),
    targetIp: formatIp(bytes.subarray(TARGET_IP, LENGTH)),
  }
}

/**
 * Whether a packet that came while `claim.address` was probed shows that it is taken (RFC 5227 section 2.1.1): somebody
 * has it, or somebody else probes for it at the same time.
 */
export const isConflict = (arp: Arp, claim: Claim): boolean => {
  if (arp.operation !== 'request' && arp.operation !== 'reply') return false
  if (arp.senderIp === claim.address) return true
  return (
    arp.operation === 'request' &&
    arp.senderIp === UNSPECIFIED &&
    arp.targetIp === claim.address &&
    !sameMac(arp.senderMac, claim.mac)
  )
}
