/**
 * What an ipvlan interface can't hear. All that are on one lower interface have its MAC, and the kernel tells by its
 * address whose a packet is: one that is for none of them stays with the lower interface (drivers/net/ipvlan,
 * ipvlan_handle_mode_l2). Answers to ARP probes are such packets, for probes come from 0.0.0.0; so are those of DHCP
 * servers that do not broadcast, or only by IP (Kea 2.2 sends to 255.255.255.255 at the client's MAC). Hence the lower
 * interface is listened at, too.
 */
import { isErrno, type Netns, nsid } from '../../netlink/index.ts'
import type { OpenPlace } from './place.ts'
import { openPacketSocket, type PacketOptions, type PacketSocket } from './socket.ts'

/** An interface, and the namespace that it is in. */
export interface Interface {
  readonly netns: Netns
  readonly index: number
}

/** The interface that an ipvlan interface is on. */
export interface Lower {
  readonly index: number
  /** Whether it is in the container, too; else it is on the host. */
  readonly inContainer: boolean
}

/** Undefined where an interface hears everything itself, or its lower one is somewhere else. */
export const lowerOf = async (
  { connection, link: { kind, link: index, linkNetnsId } }: OpenPlace,
  host: Netns,
): Promise<Lower | undefined> => {
  if (kind !== 'ipvlan' || index === undefined) return undefined
  if (linkNetnsId === undefined) return { index, inContainer: true }
  return linkNetnsId === (await connection.run(nsid.get(host))) ? { index, inContainer: false } : undefined
}

/**
 * A packet socket on an interface, which hears what its lower one does. What is for everybody comes twice then.
 * @throws SocketError
 */
export const openEars = (
  { netns, index }: Interface,
  lower: Interface | undefined,
  options: Omit<PacketOptions, 'index'>,
): PacketSocket => {
  const own = openPacketSocket(netns, { ...options, index })
  if (!lower) return own
  let ear: PacketSocket
  try {
    ear = openPacketSocket(lower.netns, { ...options, index: lower.index })
  } catch (error) {
    // It has gone, and the interface is about to. What is broadcast would still be heard.
    if (isErrno(error, 'ENODEV', 'ENXIO')) return own
    own.close()
    throw error
  }
  return {
    send: (data, address) => own.send(data, address),
    close() {
      own.close()
      ear.close()
    },
  }
}
