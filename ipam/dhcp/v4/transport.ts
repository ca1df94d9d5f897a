/** A client's sockets on its interface: open while it talks, closed while a lease only runs. */
import { formatMac, type Netns, parseIp, parseMac } from '../../../netlink/index.ts'
import { announcement, isConflict, parseArp, probe } from '../arp.ts'
import { arpFilter, udpFilter } from '../filter.ts'
import { inquire } from '../inquiry.ts'
import { type Interface, openEars } from '../lower.ts'
import {
  type DatagramSocket,
  ETH_P_ARP,
  ETH_P_IP,
  inetAddress,
  linkAddress,
  openUdpSocket,
  type PacketSocket,
} from '../socket.ts'
import type { Timebase } from '../timebase.ts'
import { encodeUdp, parseUdp } from '../udp.ts'
import type { Destination } from './client.ts'
import { type Message, parse } from './message.ts'

export const CLIENT_PORT = 68
export const SERVER_PORT = 67

/** An interface, in a namespace that is open; it belongs to the transport then. */
export interface Place {
  readonly netns: Netns
  readonly index: number
  readonly mac: string
  /** Where to listen, too; its namespace is somebody else's to close. */
  readonly lower: Interface | undefined
}

const everybody = new Uint8Array(6).fill(0xff)

const bytesOf = (mac: string): Uint8Array => {
  const bytes = parseMac(mac)
  if (bytes?.length !== 6) throw new RangeError(`${JSON.stringify(mac)} is no Ethernet address`)
  return bytes
}

const ipBytes = (ip: string): Uint8Array => {
  const bytes = parseIp(ip)
  if (bytes?.length !== 4) throw new RangeError(`${JSON.stringify(ip)} is no IPv4 address`)
  return bytes
}

export class Transport4 {
  readonly #place: Place
  readonly #time: Timebase
  readonly #packets: PacketSocket
  /** Of the address that it was opened for. */
  #unicast: { readonly from: string; readonly socket: DatagramSocket } | undefined

  /** @throws SocketError */
  constructor(place: Place, time: Timebase, receive: (message: Message, senderMac: string) => void) {
    this.#place = place
    this.#time = time
    this.#packets = openEars(place, place.lower, {
      protocol: ETH_P_IP,
      filter: udpFilter(CLIENT_PORT),
      receive(data, senderMac) {
        const packet = parseUdp(data)
        const message = packet && packet.sourcePort === SERVER_PORT ? parse(packet.payload) : null
        if (message) receive(message, formatMac(senderMac))
      },
    })
  }

  /** @throws SocketError */
  send(message: Uint8Array, destination: Destination): void {
    // Past the kernel's routes and neighbours: to all, and where the answer came from.
    if (destination === null) this.#sendPacket(message, '0.0.0.0', '255.255.255.255', everybody)
    else if (destination.mac !== '')
      this.#sendPacket(message, destination.from, destination.to, bytesOf(destination.mac))
    else this.#sendUnicast(message, destination)
  }

  #sendPacket(payload: Uint8Array, source: string, destination: string, mac: Uint8Array): void {
    const ports = { sourcePort: CLIENT_PORT, destinationPort: SERVER_PORT }
    this.#packets.send(
      encodeUdp({ source, destination, ...ports, payload }),
      linkAddress(this.#place.index, ETH_P_IP, mac),
    )
  }

  #sendUnicast(message: Uint8Array, { from, to }: { readonly from: string; readonly to: string }): void {
    const { netns, index } = this.#place
    if (this.#unicast?.from !== from) {
      this.#unicast?.socket.close()
      this.#unicast = undefined
      this.#unicast = { from, socket: openUdpSocket(netns, { index, ip: ipBytes(from), port: CLIENT_PORT }) }
    }
    this.#unicast.socket.send(message, inetAddress(ipBytes(to), SERVER_PORT))
  }

  /**
   * Asks the link by ARP whether somebody has an address (RFC 5227 2.1).
   * @throws SocketError; the signal's reason
   */
  async isTaken(address: string, signal: AbortSignal): Promise<boolean> {
    const { index, mac } = this.#place
    const own = { mac, address }
    return await inquire({
      time: this.#time,
      signal,
      open: (answer) =>
        openEars(this.#place, this.#place.lower, {
          protocol: ETH_P_ARP,
          filter: arpFilter,
          receive(data) {
            const arp = parseArp(data)
            if (arp && isConflict(arp, own)) answer()
          },
        }),
      ask: (socket) => socket.send(probe(own), linkAddress(index, ETH_P_ARP, everybody)),
    })
  }

  /** Tells the link whose the address is now (RFC 5227 2.3). @throws SocketError */
  announce(address: string): void {
    const { index, mac } = this.#place
    // A packet socket sends what the destination says it is, whatever it receives itself.
    this.#packets.send(announcement({ mac, address }), linkAddress(index, ETH_P_ARP, everybody))
  }

  /** The namespace, too. Safe to repeat. */
  close(): void {
    this.#packets.close()
    this.#unicast?.socket.close()
    this.#unicast = undefined
    this.#place.netns.close()
  }
}
