/**
 * UDP datagrams in IPv4 packets, for packet sockets: a client without an address can't send or receive in another way.
 * RFC 791, RFC 768.
 */
import { formatIp, parseIp } from '../../netlink/ip.ts'
import { checksum, sum } from './checksum.ts'

export interface UdpDatagram {
  /** Dotted quad. */
  readonly source: string
  readonly destination: string
  readonly sourcePort: number
  readonly destinationPort: number
  readonly payload: Uint8Array
}

const IP_HEADER = 20
const UDP_HEADER = 8
const MAX_LENGTH = 0xffff
const IPPROTO_UDP = 17
const TTL = 64
/** More fragments, and the offset of this one. */
const FRAGMENT = 0x3fff

const address = (text: string): Uint8Array => {
  const bytes = parseIp(text)
  if (bytes?.length !== 4) throw new RangeError(`${JSON.stringify(text)} is not an IPv4 address`)
  return bytes
}

/**
 * An IPv4 packet with the datagram in it, both checksums filled in. It may be fragmented on its way (DF is not set).
 * @throws RangeError for an address that is none, and for a payload that no packet has room for
 */
export const encodeUdp = (datagram: UdpDatagram): Uint8Array => {
  const { source, destination, sourcePort, destinationPort, payload } = datagram
  const length = IP_HEADER + UDP_HEADER + payload.length
  if (length > MAX_LENGTH)
    throw new RangeError(`a payload of ${payload.length} bytes is too long for a packet`)
  const packet = new Uint8Array(length)
  const view = new DataView(packet.buffer)
  packet[0] = 0x45
  view.setUint16(2, length)
  packet[8] = TTL
  packet[9] = IPPROTO_UDP
  packet.set(address(source), 12)
  packet.set(address(destination), 16)
  view.setUint16(10, checksum(sum(packet, 0, IP_HEADER)))
  view.setUint16(20, sourcePort)
  view.setUint16(22, destinationPort)
  view.setUint16(24, UDP_HEADER + payload.length)
  packet.set(payload, IP_HEADER + UDP_HEADER)
  // The pseudo header: both addresses, the protocol, the length.
  const pseudo = sum(packet, 12, IP_HEADER) + IPPROTO_UDP + UDP_HEADER + payload.length
  // Zero would mean that there is no checksum.
  view.setUint16(26, checksum(pseudo + sum(packet, IP_HEADER, length)) || 0xffff)
  return packet
}

/**
 * Reads a packet; null where it is no whole UDP datagram over IPv4, or its header is damaged. Bytes after its end are
 * not looked at: Ethernet pads short frames. The payload is a view.
 *
 * The checksum of the datagram is not verified. A sender behind a veth leaves it to hardware that never comes, and its
 * packets arrive here with only the pseudo header's sum in it.
 */
export const parseUdp = (bytes: Uint8Array): UdpDatagram | null => {
  if (bytes.length < IP_HEADER || bytes[0]! >> 4 !== 4 || bytes[9] !== IPPROTO_UDP) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const header = (bytes[0]! & 0x0f) * 4
  const end = view.getUint16(2)
  if (header < IP_HEADER || header + UDP_HEADER > end || end > bytes.length) return null
  if ((view.getUint16(6) & FRAGMENT) !== 0 || checksum(sum(bytes, 0, header)) !== 0) return null
  const length = view.getUint16(header + 4)
  if (length < UDP_HEADER || header + length > end) return null
  return {
    source: formatIp(bytes.subarray(12, 16)),
    destination: formatIp(bytes.subarray(16, 20)),
    sourcePort: view.getUint16(header),
    destinationPort: view.getUint16(header + 2),
    payload: bytes.subarray(header + UDP_HEADER, header + length),
  }
}
