/** A DHCPv6 client's sockets on its interface, and its ear for routers: open while it talks. */
import { type address, type Netns, parseIp, parseMac } from '../../../netlink/index.ts'
import { isLinkLocal } from '../../advertised-routes.ts'
import { icmp6Filter } from '../filter.ts'
import {
  duplicateProbe,
  encodeIcmp6,
  isDuplicate,
  multicastMac,
  NONCE_LENGTH,
  neighbourTypes,
  parseIcmp6,
  ROUTER_ADVERTISEMENT,
} from '../icmp6.ts'
import { inquire } from '../inquiry.ts'
import {
  type DatagramSocket,
  ETH_P_IPV6,
  inet6Address,
  linkAddress,
  openPacketSocket,
  openUdp6Socket,
} from '../socket.ts'
import type { Timebase } from '../timebase.ts'
import { type Message, parse } from './message.ts'
import { encodeSolicitation, parseAdvertisement, type RouterAdvertisement } from './router-advertisement.ts'

export const CLIENT_PORT = 546
export const SERVER_PORT = 547

/** An interface, in a namespace that is open; it belongs to the transport then. */
export interface Place {
  readonly netns: Netns
  readonly index: number
  readonly mac: string
}

export interface Receivers {
  message(message: Message): void
  /** @param router its link-local address */
  advertisement(advertisement: RouterAdvertisement, router: string): void
}

const bytesOf = (ip: string): Uint8Array => {
  const bytes = parseIp(ip)
  if (bytes?.length !== 16) throw new RangeError(`${JSON.stringify(ip)} is no IPv6 address`)
  return bytes
}

/** All_DHCP_Relay_Agents_and_Servers, RFC 8415 section 7.1. */
const SERVERS = bytesOf('ff02::1:2')
const ALL_ROUTERS = 'ff02::2'

export class Transport6 {
  readonly #place: Place
  readonly #time: Timebase
  readonly #dhcp: DatagramSocket
  readonly #routers: DatagramSocket

  /** @throws SocketError */
  constructor(place: Place, time: Timebase, receivers: Receivers) {
    const { netns, index } = place
    this.#place = place
    this.#time = time
    this.#routers = openPacketSocket(netns, {
      index,
      protocol: ETH_P_IPV6,
      filter: icmp6Filter(ROUTER_ADVERTISEMENT),
      receive(data) {
        const packet = parseIcmp6(data)
        const advertisement = packet && isLinkLocal(packet.source) ? parseAdvertisement(packet.message) : null
        if (packet && advertisement) receivers.advertisement(advertisement, packet.source)
      },
    })
    try {
      this.#dhcp = openUdp6Socket(netns, { index, port: CLIENT_PORT }, (data) => {
        const message = parse(data)
        if (message) receivers.message(message)
      })
    } catch (error) {
      this.#routers.close()
      throw error
    }
  }

  /** To all servers of the link. @throws SocketError */
  send(message: Uint8Array): void {
    this.#dhcp.send(message, inet6Address(SERVERS, SERVER_PORT, this.#place.index))
  }

  /**
   * Asks all routers of the link to say what they are (RFC 4861 section 6.3.7).
   * @param own the interface's link-local address: a router can answer it alone, and need not wait for the time of its
   *   next advertisement to all. Null: it has none. While it may be a duplicate its MAC is not told (RFC 4429 section 3.2)
   * @throws SocketError
   */
  solicit(own: Pick<address.Address, 'ip' | 'flags'> | null): void {
    const { index, mac } = this.#place
    const isSettled = own !== null && !own.flags.tentative
    const message = encodeSolicitation((isSettled && parseMac(mac)) || undefined)
    this.#routers.send(
      encodeIcmp6({ source: own?.ip ?? '::', destination: ALL_ROUTERS, message }),
      linkAddress(index, ETH_P_IPV6, multicastMac(bytesOf(ALL_ROUTERS))),
    )
  }

  /** Asks the link whether somebody has an address. @throws SocketError; the signal's reason */
  async isTaken(wanted: string, signal: AbortSignal): Promise<boolean> {
    const { netns, index } = this.#place
    const nonce = Uint8Array.from({ length: NONCE_LENGTH }, () => Math.floor(this.#time.random() * 0x100))
    const { packet, mac: group } = duplicateProbe(wanted, nonce)
    return await inquire({
      time: this.#time,
      signal,
      open: (answer) =>
        openPacketSocket(netns, {
          index,
          protocol: ETH_P_IPV6,
          filter: icmp6Filter(...neighbourTypes),
          // RFC 4862 section 5.4.2: who asks for the same address asks there.
          group,
          receive(data) {
            const heard = parseIcmp6(data)
            if (heard && isDuplicate(heard, wanted, nonce)) answer()
          },
        }),
      ask: (socket) => socket.send(packet, linkAddress(index, ETH_P_IPV6, group)),
    })
  }

  /** The namespace, too. Safe to repeat. */
  close(): void {
    this.#dhcp.close()
    this.#routers.close()
    this.#place.netns.close()
  }
}
