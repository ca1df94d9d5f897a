/** A server whose first answers are broken in every way that has made a client stumble, and whose later ones are good. */
import { udpFilter } from '../../../ipam/dhcp/filter.ts'
import { ETH_P_IP, linkAddress, openPacketSocket } from '../../../ipam/dhcp/socket.ts'
import { encodeUdp, parseUdp } from '../../../ipam/dhcp/udp.ts'
import { encode, type Message, parse } from '../../../ipam/dhcp/v4/message.ts'
import { read, write } from '../../../ipam/dhcp/v4/options.ts'
import { Netns, parseMac } from '../../../netlink/index.ts'
import { atEnd } from '../../support/dhcp/ending.ts'
import { Journal } from '../../support/dhcp/journal.ts'
import type { Segment } from '../../support/dhcp/segment.ts'

/** Where a DHCP message's options begin. */
const OPTIONS = 240
/** Where one begins in its packet: IPv4 and UDP headers. */
const PAYLOAD = 28

const udp = (payload: Uint8Array): Buffer =>
  Buffer.from(
    encodeUdp({
      ...{ source: '10.77.0.1', destination: '255.255.255.255', sourcePort: 67, destinationPort: 68 },
      payload,
    }),
  )

const patched = (packet: Buffer, at: number, ...bytes: number[]): Buffer => {
  const copy = Buffer.from(packet)
  copy.set(bytes, at)
  return copy
}

/** Options of the wrong length, or with values that there can't be. */
const badOptions: readonly (readonly number[])[] = [
  [1, 0],
  [1, 3, 255, 255, 255],
  [1, 5, 255, 255, 255, 0, 0],
  [3, 0],
  [3, 3, 10, 77, 0],
  [33, 3, 10, 77, 0],
  [51, 0],
  [51, 1, 9],
  [53, 0],
  [54, 0],
  [54, 3, 10, 77, 0],
  [58, 2, 0, 1],
  [121, 1, 24],
  [121, 5, 200, 1, 2, 3, 4],
  [121, 2, 0, 10],
  [12, 255, 65],
  [61],
]

/** An answer, broken: headers that lie about lengths, messages and options that are cut short. */
const broken = (good: Buffer): Buffer[] => {
  const packet = udp(good)
  return [
    Buffer.alloc(1, 0x45),
    packet.subarray(0, 10),
    packet.subarray(0, 20),
    packet.subarray(0, 24),
    // The header's length, in words: none, more than there is.
    patched(packet, 0, 0x40),
    patched(packet, 0, 0x4f).subarray(0, 40),
    patched(packet, 0, 0x60),
    // The packet's length: none, less than its header, more than there is.
    patched(packet, 2, 0, 0),
    patched(packet, 2, 0, 10),
    patched(packet, 2, 255, 255),
    // UDP's.
    patched(packet, 24, 0, 0),
    patched(packet, 24, 0, 3),
    patched(packet, 24, 255, 255),
    ...[0, 1, 43, 44, 100, 235, 236, 239, 240, 241, 242].map((length) => udp(good.subarray(0, length))),
    // The hardware address's length.
    udp(patched(good, 2, 0)),
    udp(patched(good, 2, 255)),
    ...badOptions.map((option) => {
      const rest = [...good.subarray(OPTIONS)].slice(0, option[0] === 53 ? 0 : 3)
      return udp(Buffer.from([...good.subarray(0, OPTIONS), ...rest, ...option]))
    }),
  ].filter(({ length }) => length <= packet.length || length > PAYLOAD)
}

export interface HostileServer {
  /** What clients have asked. */
  readonly heard: Journal<Message>
  /** How many broken answers have left. */
  readonly sent: () => number
}

/** Answers each message with all that is broken; from the second DISCOVER on also with what is good. */
export const hostileServer = async (lan: Segment, yiaddr: string): Promise<HostileServer> => {
  const netns = Netns.open(lan.space.path)
  atEnd(() => netns.close())
  const [link] = await lan.space.ipJson<{ ifindex: number }>('link', 'show', lan.interface)
  const to = linkAddress(link!.ifindex, ETH_P_IP, parseMac('ff:ff:ff:ff:ff:ff') ?? undefined)
  const heard = new Journal<Message>()
  let [discovers, sent] = [0, 0]
  const socket = openPacketSocket(netns, {
    index: link!.ifindex,
    protocol: ETH_P_IP,
    filter: udpFilter(67),
    receive(data) {
      const message = parse(parseUdp(data)?.payload ?? new Uint8Array())
      const type = message && read(message, 'messageType')
      if (!message || (type !== 'DISCOVER' && type !== 'REQUEST')) return
      heard.push(message)
      if (type === 'DISCOVER') discovers++
      const good = Buffer.from(
        encode({
          ...message,
          ...{ op: 'BOOTREPLY', secs: 0, yiaddr },
          options: write({
            messageType: type === 'DISCOVER' ? 'OFFER' : 'ACK',
            ...{ serverId: '10.77.0.1', subnetMask: '255.255.255.0', leaseTime: 3600 },
          }),
        }),
      )
      for (const packet of broken(good)) {
        socket.send(packet, to)
        sent++
      }
      if (discovers > 1) socket.send(udp(good), to)
    },
  })
  atEnd(() => socket.close())
  return { heard, sent: () => sent }
}
