/** What clients say on a segment, and a server that answers as a test wants it: as no real one can be made to. */
import { onTestFinished } from 'vitest'
import { udpFilter } from '../../../../ipam/dhcp/filter.ts'
import { ETH_P_IP, linkAddress, openPacketSocket } from '../../../../ipam/dhcp/socket.ts'
import { encodeUdp, parseUdp } from '../../../../ipam/dhcp/udp.ts'
import { encode, type Message, parse } from '../../../../ipam/dhcp/v4/message.ts'
import { type MessageType, type OptionValues, read, write } from '../../../../ipam/dhcp/v4/options.ts'
import { formatMac, Netns, parseMac } from '../../../../netlink/index.ts'
import { Journal, type Waiting } from '../../../support/dhcp/journal.ts'
import type { Segment } from '../../../support/dhcp/segment.ts'

/** A client's message as it came to the server's side. */
export interface Heard {
  readonly type: MessageType
  /** Of the IP packet. */
  readonly source: string
  readonly destination: string
  readonly senderMac: string
  readonly message: Message
  /** Milliseconds, monotonic. */
  readonly at: number
}

/** Everything that clients have said to servers. */
export class Ear extends Journal<Heard> {
  /** The first message of a type, and of which `matches` holds. */
  next(
    type: MessageType,
    waiting?: Waiting,
    matches: (heard: Heard) => boolean = () => true,
  ): Promise<Heard> {
    return this.find(`a ${type}`, (heard) => heard.type === type && matches(heard), waiting)
  }

  of(type: MessageType): Heard[] {
    return this.all.filter((heard) => heard.type === type)
  }

  protected override describe(): string {
    return this.all
      .map(
        ({ type, source, destination, message: { ciaddr } }) =>
          `${type} ${source} > ${destination} ${ciaddr}`,
      )
      .join('\n')
  }
}

const openSide = async (segment: Segment, take: (heard: Heard) => void) => {
  const netns = Netns.open(segment.space.path)
  onTestFinished(() => netns.close())
  const [link] = await segment.space.ipJson<{ ifindex: number }>('link', 'show', segment.interface)
  const index = link!.ifindex
  const socket = openPacketSocket(netns, {
    index,
    protocol: ETH_P_IP,
    filter: udpFilter(67),
    receive(data, senderMac) {
      const packet = parseUdp(data)
      const message = packet && parse(packet.payload)
      const type = message && read(message, 'messageType')
      if (!type) return
      const { source, destination } = packet
      take({ type, source, destination, senderMac: formatMac(senderMac), message, at: performance.now() })
    },
  })
  onTestFinished(() => socket.close())
  return { socket, index }
}

/** Listens beside whatever server there is. */
export const listen = async (segment: Segment): Promise<Ear> => {
  const ear = new Ear()
  await openSide(segment, (heard) => ear.push(heard))
  return ear
}

export interface Answer extends OptionValues {
  readonly yiaddr?: string
  /** Where the packet claims to come from. Default: the server's identifier. */
  readonly source?: string
  /** Default 255.255.255.255. */
  readonly destination?: string
  /** Default: to everybody. */
  readonly mac?: string
  /** Of the message; default: what was asked. */
  readonly xid?: number
  readonly chaddr?: Uint8Array
}

const SERVER = '10.77.0.1'
const everybody = 'ff:ff:ff:ff:ff:ff'

/** What a grant says in these tests unless told otherwise: a lease of an hour. */
export const grant = (messageType: 'OFFER' | 'ACK', yiaddr: string, more: Partial<Answer> = {}): Answer => ({
  messageType,
  yiaddr,
  serverId: SERVER,
  subnetMask: '255.255.255.0',
  leaseTime: 3600,
  ...more,
})

/** A server whose every answer the test makes up. */
export const scripted = async (
  segment: Segment,
  answers: (heard: Heard) => readonly Answer[] | Answer | undefined,
): Promise<Ear> => {
  const ear = new Ear()
  const { socket, index } = await openSide(segment, (heard) => {
    ear.push(heard)
    const given = answers(heard) ?? []
    for (const { yiaddr = '0.0.0.0', source, destination, mac, xid, chaddr, ...values } of [given].flat()) {
      const payload = encode({
        op: 'BOOTREPLY',
        htype: 1,
        hops: 0,
        xid: xid ?? heard.message.xid,
        secs: 0,
        broadcast: heard.message.broadcast,
        ciaddr: heard.message.ciaddr,
        yiaddr,
        siaddr: '0.0.0.0',
        giaddr: '0.0.0.0',
        chaddr: chaddr ?? heard.message.chaddr,
        options: write(values),
      })
      const packet = encodeUdp({
        source: source ?? values.serverId ?? SERVER,
        destination: destination ?? '255.255.255.255',
        sourcePort: 67,
        destinationPort: 68,
        payload,
      })
      socket.send(packet, linkAddress(index, ETH_P_IP, parseMac(mac ?? everybody) ?? undefined))
    }
  })
  return ear
}
