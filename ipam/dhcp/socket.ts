/** Sockets in a container's namespace, read on the addon's one epoll thread. */
import { type Binding, binding, type Descriptor, type OpenSpec, type Watch } from '../../native/binding.ts'
import { littleEndian } from '../../netlink/codec/writer.ts'
import { during } from '../../netlink/error.ts'
import { isErrno, type Netns } from '../../netlink/index.ts'

const EPOLLIN = 1
/** No datagram of DHCP or ARP is longer than the link's MTU; a jumbo frame is. */
const MAX_DATAGRAM = 65536
/** Datagrams taken at one go. */
const MAX_AT_ONCE = 32

const AF_INET = 2
const AF_INET6 = 10
const AF_PACKET = 17
const SOCK_DGRAM = 2
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
/** linux/in6.h. */
const IPPROTO_IPV6 = 41
const IPV6_MULTICAST_IF = 17
/** By index, since Linux 5.0: the name may change in the container. */
const SO_BINDTOIFINDEX = 62
/** linux/if_packet.h. */
const SOL_PACKET = 263
const PACKET_ADD_MEMBERSHIP = 1
const PACKET_MR_MULTICAST = 0

/** Protocols of `linux/if_ether.h`. */
export const ETH_P_IP = 0x0800
export const ETH_P_ARP = 0x0806
export const ETH_P_IPV6 = 0x86dd

/** Errors of a reading that say nothing of the next one. */
const passing = ['ENETDOWN', 'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOMEM', 'ENOBUFS'] as const

const int = (value: number): Uint8Array => new Uint8Array(Int32Array.of(value).buffer)

/** `struct sockaddr_ll` of packet(7): family, protocol, interface, hardware type, packet type, address. */
export const linkAddress = (
  index: number,
  protocol: number,
  mac: Uint8Array = new Uint8Array(),
): Uint8Array => {
  const bytes = new Uint8Array(20)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, AF_PACKET, littleEndian)
  view.setUint16(2, protocol)
  view.setInt32(4, index, littleEndian)
  view.setUint8(11, mac.length)
  bytes.set(mac, 12)
  return bytes
}

/** `struct packet_mreq` of packet(7): interface, kind, address. */
const membership = (index: number, mac: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setInt32(0, index, littleEndian)
  view.setUint16(4, PACKET_MR_MULTICAST, littleEndian)
  view.setUint16(6, mac.length, littleEndian)
  bytes.set(mac, 8)
  return bytes
}

/** The interface in a `struct sockaddr_ll`. */
const indexOf = (address: Uint8Array): number =>
  new DataView(address.buffer, address.byteOffset).getInt32(4, littleEndian)
/** The sender's hardware address in a `struct sockaddr_ll`. */
const senderOf = (address: Uint8Array): Uint8Array => address.subarray(12, 12 + Math.min(address[11] ?? 0, 8))

/** `struct sockaddr_in`. */
export const inetAddress = (ip: Uint8Array, port: number): Uint8Array => {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, AF_INET, littleEndian)
  view.setUint16(2, port)
  bytes.set(ip, 4)
  return bytes
}

/** `struct sockaddr_in6`; `scope` is the interface of a link-local address. */
export const inet6Address = (ip: Uint8Array, port: number, scope: number): Uint8Array => {
  const bytes = new Uint8Array(28)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, AF_INET6, littleEndian)
  view.setUint16(2, port)
  bytes.set(ip, 8)
  view.setUint32(24, scope, littleEndian)
  return bytes
}

export type Receiver = (data: Uint8Array, address: Uint8Array) => void

/** A datagram socket that reads all the time. */
export class DatagramSocket {
  readonly #native: Binding
  readonly #socket: Descriptor
  /** Whether closing it would hold up everybody else's leases. */
  readonly #isSlow: boolean
  #watch: Watch | undefined

  /**
   * @param what is being opened, for errors
   * @param prepare sets it up, before anything can arrive; binds it
   * @throws SocketError
   */
  constructor(
    netns: Netns,
    what: string,
    spec: OpenSpec,
    prepare: (native: Binding, socket: Descriptor) => void,
    receive?: Receiver,
  ) {
    this.#native = binding()
    this.#isSlow = 'domain' in spec && spec.domain === AF_PACKET
    try {
      this.#socket = netns.open(spec)
    } catch (error) {
      throw during(what, error)
    }
    try {
      prepare(this.#native, this.#socket)
      if (receive) this.#watch = this.#native.watch(this.#socket, EPOLLIN, () => this.#drain(receive))
    } catch (error) {
      this.close()
      throw during(what, error)
    }
  }

  #drain(receive: Receiver): void {
    for (let taken = 0; taken < MAX_AT_ONCE && this.#socket.fd >= 0; taken++) {
      try {
        const received = this.#native.receive(this.#socket, MAX_DATAGRAM)
        if (received === null) return
        receive(received.data, received.address)
      } catch (error) {
        // The interface is down, a peer has no such port, memory is short: more may come.
        if (isErrno(error, ...passing)) continue
        // To be told again and again of what does not pass would keep the processor busy. The timers go on, and a
        // socket that can't be read is opened anew with the next attempt.
        this.#watch?.close()
        return
      }
    }
  }

  /** @throws SocketError; ENOBUFS where the queue is full */
  send(data: Uint8Array, address: Uint8Array): void {
    if (this.#native.send(this.#socket, data, address) < 0)
      throw Object.assign(new Error('send: no buffer space available'), { code: 'ENOBUFS' })
  }

  /** Safe to repeat. */
  close(): void {
    this.#watch?.close()
    if (this.#isSlow) this.#native.closeApart(this.#socket)
    else this.#socket.close()
  }
}

/** What a client needs of the sockets that it speaks by. */
export interface PacketSocket {
  /** @throws SocketError; ENOBUFS where the queue is full */
  send(data: Uint8Array, address: Uint8Array): void
  /** Safe to repeat. */
  close(): void
}

export interface PacketOptions {
  /** Index of the interface. */
  readonly index: number
  /** ETH_P_*. */
  readonly protocol: number
  /** Classic BPF: see filter.ts. */
  readonly filter: Uint8Array
  /** Group address that frames are received for besides those that the interface receives anyway. */
  readonly group?: Uint8Array | undefined
  receive(data: Uint8Array, senderMac: Uint8Array): void
}

/**
 * A packet socket without link-layer headers. The filter is in place before the socket is bound, and nothing arrives
 * before that: no packet of somebody else ever waits in it.
 * @throws SocketError
 */
export const openPacketSocket = (
  netns: Netns,
  { index, protocol, filter, group, receive }: PacketOptions,
): DatagramSocket =>
  new DatagramSocket(
    netns,
    'open a packet socket',
    { domain: AF_PACKET, type: SOCK_DGRAM, protocol: 0 },
    (native, socket) => {
      native.attachFilter(socket, filter)
      if (group) native.setsockopt(socket, SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership(index, group))
      native.bind(socket, linkAddress(index, protocol))
    },
    (data, address) => {
      // The kernel shows an interface's packet sockets also what it has passed on to one of its VLANs.
      if (indexOf(address) === index) receive(data, senderOf(address))
    },
  )

/**
 * A UDP socket on one interface that only sends: what is received arrives at the packet socket too, but the kernel does
 * not tell the sender that nobody listens.
 * @throws SocketError; EADDRNOTAVAIL where the interface does not have the address
 */
export const openUdpSocket = (
  netns: Netns,
  { index, ip, port }: { readonly index: number; readonly ip: Uint8Array; readonly port: number },
): DatagramSocket =>
  new DatagramSocket(
    netns,
    'open a UDP socket',
    { domain: AF_INET, type: SOCK_DGRAM, protocol: 0 },
    (native, socket) => {
      native.setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, int(1))
      native.setsockopt(socket, SOL_SOCKET, SO_BINDTOIFINDEX, int(index))
      native.bind(socket, inetAddress(ip, port))
    },
  )

/**
 * A UDP socket on one interface. What it sends to the link comes from the interface's link-local address.
 * @throws SocketError
 */
export const openUdp6Socket = (
  netns: Netns,
  { index, port }: { readonly index: number; readonly port: number },
  receive: Receiver,
): DatagramSocket =>
  new DatagramSocket(
    netns,
    'open a UDP socket',
    { domain: AF_INET6, type: SOCK_DGRAM, protocol: 0 },
    (native, socket) => {
      native.setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, int(1))
      native.setsockopt(socket, SOL_SOCKET, SO_BINDTOIFINDEX, int(index))
      native.setsockopt(socket, IPPROTO_IPV6, IPV6_MULTICAST_IF, int(index))
      native.bind(socket, inet6Address(new Uint8Array(16), port, 0))
    },
    receive,
  )
