import { binding, type Descriptor, type SystemError } from '../../../native/binding.ts'
import { Netns } from '../../../netlink/netns.ts'
import type { Space } from '../space.ts'
import { atEnd } from './ending.ts'
import { Frame, type Type4, type Type6 } from './frame.ts'
import { Journal, type Waiting } from './journal.ts'

const AF_PACKET = 17
const SOCK_RAW = 3
const ETH_P_ALL = 3
const EPOLLIN = 1
const SOL_SOCKET = 1
const SO_RCVBUFFORCE = 33
/** `sll_pkttype` of what the namespace itself sends; linux/if_packet.h. */
const PACKET_OUTGOING = 4
/** When the last packet that was received came, a `struct timespec`; asm-generic/sockios.h. */
const SIOCGSTAMPNS_OLD = 0x8907

/** `struct sockaddr_ll`. */
const everything = (index: number): Buffer => {
  const bytes = Buffer.alloc(20)
  bytes.writeUInt16LE(AF_PACKET, 0)
  bytes.writeUInt16BE(ETH_P_ALL, 2)
  bytes.writeInt32LE(index, 4)
  return bytes
}

/** The kernel's time for the packet that came last, in milliseconds. The first question only switches the times on. */
const stamp = (socket: Descriptor): number => {
  const time = Buffer.alloc(16)
  try {
    binding().ioctl(socket, SIOCGSTAMPNS_OLD, time)
  } catch (error) {
    if ((error as SystemError).code !== 'ENOENT') throw error
  }
  return Number(time.readBigInt64LE(0)) * 1000 + Number(time.readBigInt64LE(8)) / 1e6
}

/** Every frame that passed an interface, sent and received, since it was asked for. */
export class Capture extends Journal<Frame> {
  /** Those so far. */
  get frames(): readonly Frame[] {
    return this.all
  }

  /** The first frame for which `matches` is true, already there or to come; `what` names it in the error. */
  waitFor(what: string, matches: (frame: Frame) => unknown, waiting?: Waiting): Promise<Frame> {
    return this.find(what, (frame) => Boolean(matches(frame)), waiting)
  }

  /** The DHCPv4 messages of these types so far; of all types where none is named. */
  dhcp4(...types: Type4[]): Frame[] {
    return this.all.filter(({ dhcp4 }) => dhcp4 && (types.length === 0 || types.includes(dhcp4.type!)))
  }

  /** The same of DHCPv6. */
  dhcp6(...types: Type6[]): Frame[] {
    return this.all.filter(({ dhcp6 }) => dhcp6 && (types.length === 0 || types.includes(dhcp6.type!)))
  }

  protected override describe(): string {
    const line = (frame: Frame): string => {
      const { udp, dhcp4, dhcp6, packet } = frame
      const what = dhcp4?.type ?? dhcp6?.type ?? (udp ? `UDP ${udp.toPort}` : `protocol ${packet?.protocol}`)
      const ends = packet ? `${packet.from} > ${packet.to}` : `type 0x${frame.etherType.toString(16)}`
      return `${frame.outgoing ? 'out' : 'in '} ${frame.source} > ${frame.destination} ${ends} ${what}`
    }
    return this.all.slice(-30).map(line).join('\n')
  }
}

/**
 * Captures on `name` in `space` from when this resolves to the end of the test. On a bridge's own interface that is what
 * the namespace itself sends and gets; on a port, whatever passes that port.
 */
export const capture = async (space: Space, name: string): Promise<Capture> => {
  const [link] = await space.ipJson<{ ifindex: number }>('link', 'show', name)
  const native = binding()
  const netns = Netns.open(space.path)
  let socket: Descriptor
  try {
    // No protocol yet: nothing comes before it is bound.
    socket = netns.open({ domain: AF_PACKET, type: SOCK_RAW, protocol: 0 })
  } finally {
    netns.descriptor?.close()
  }
  atEnd(() => socket.close())
  native.setsockopt(socket, SOL_SOCKET, SO_RCVBUFFORCE, new Uint8Array(Uint32Array.of(16 << 20).buffer))
  stamp(socket)
  const captured = new Capture()
  native.watch(socket, EPOLLIN, () => {
    for (let got = native.receive(socket, 65_536); got; got = native.receive(socket, 65_536))
      captured.push(new Frame(Buffer.from(got.data), stamp(socket), got.address[10] === PACKET_OUTGOING))
  })
  native.bind(socket, everything(link!.ifindex))
  return captured
}
