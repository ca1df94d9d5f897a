/** An advertising router of which every bit is the test's: on a LAN's server side, without DHCP. RFC 4861, RFC 8106. */
import { binding, type Descriptor } from '../../../native/binding.ts'
import { Netns } from '../../../netlink/netns.ts'
import { atEnd } from './ending.ts'
import { Frame } from './frame.ts'
import { Journal } from './journal.ts'
import { linkLocal, type Segment, serverMac } from './segment.ts'

const AF_PACKET = 17
const SOCK_RAW = 3
const ETH_P_IPV6 = 0x86dd
const EPOLLIN = 1
const ICMPV6 = 58
const SOLICITATION = 133
const ADVERTISEMENT = 134
const HOP_LIMIT = 255
const everybody = { mac: '33:33:00:00:00:01', ip: 'ff02::1' }

export interface RouterOptions {
  /** M and O. Default true and false. */
  readonly managed?: boolean | undefined
  readonly other?: boolean | undefined
  /** Seconds that it is a default router. Default 1800. */
  readonly lifetime?: number | undefined
  /** RDNSS and DNSSL. Default: none. */
  readonly dns?: readonly string[] | undefined
  readonly search?: readonly string[] | undefined
  /** Seconds for which those are good. Default 1800. */
  readonly dnsLifetime?: number | undefined
  /** Answers solicitations. Default true. */
  readonly answers?: boolean | undefined
  /** Its link-local address. Default: the server side's. */
  readonly address?: string | undefined
}

const bytesOfMac = (mac: string): Buffer => Buffer.from(mac.replaceAll(':', ''), 'hex')

/** Of an address with at most one `::`. */
const bytesOfIp = (ip: string): Buffer => {
  const [head = '', tail] = ip.split('::')
  const groups = (text: string) => text.split(':').filter((group) => group !== '')
  const [before, after] = [groups(head), groups(tail ?? '')]
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0')
  return Buffer.from([...before, ...zeros, ...after].map((group) => group.padStart(4, '0')).join(''), 'hex')
}

const names = (domains: readonly string[]): Buffer =>
  Buffer.concat(
    domains.map((domain) =>
      Buffer.concat([
        ...domain.split('.').flatMap((label) => [Buffer.of(label.length), Buffer.from(label)]),
        Buffer.of(0),
      ]),
    ),
  )

/** An option with a lifetime, filled up to a multiple of 8 bytes. */
const option = (type: number, lifetime: number, value: Buffer): Buffer => {
  const length = Math.ceil((8 + value.length) / 8)
  const bytes = Buffer.alloc(length * 8)
  bytes.set([type, length])
  bytes.writeUInt32BE(lifetime, 4)
  bytes.set(value, 8)
  return bytes
}

const advertisement = (options: RouterOptions): Buffer => {
  const { managed = true, other = false, lifetime = 1800, dnsLifetime = 1800, dns, search } = options
  const header = Buffer.alloc(16)
  header.set([ADVERTISEMENT, 0, 0, 0, 64, (managed ? 0x80 : 0) | (other ? 0x40 : 0)])
  header.writeUInt16BE(lifetime, 6)
  return Buffer.concat([
    header,
    Buffer.of(1, 1, ...bytesOfMac(serverMac)),
    ...(dns ? [option(25, dnsLifetime, Buffer.concat(dns.map(bytesOfIp)))] : []),
    ...(search ? [option(31, dnsLifetime, names(search))] : []),
  ])
}

const sum = (bytes: Buffer): number => {
  let total = 0
  for (let at = 0; at < bytes.length; at += 2) total += bytes.readUInt16BE(at)
  return total
}

const frame = (from: string, to: { mac: string; ip: string }, message: Buffer): Buffer => {
  const header = Buffer.alloc(54)
  header.set([...bytesOfMac(to.mac), ...bytesOfMac(serverMac), ETH_P_IPV6 >> 8, ETH_P_IPV6 & 0xff, 0x60])
  header.writeUInt16BE(message.length, 18)
  header.set([ICMPV6, HOP_LIMIT, ...bytesOfIp(from), ...bytesOfIp(to.ip)], 20)
  let checksum = sum(header.subarray(22)) + message.length + ICMPV6 + sum(message)
  while (checksum > 0xffff) checksum = (checksum & 0xffff) + (checksum >> 16)
  message.writeUInt16BE(~checksum & 0xffff, 2)
  return Buffer.concat([header, message])
}

const address = (index: number): Buffer => {
  const bytes = Buffer.alloc(20)
  bytes.writeUInt16LE(AF_PACKET, 0)
  bytes.writeUInt16BE(ETH_P_IPV6, 2)
  bytes.writeInt32LE(index, 4)
  return bytes
}

export class Router {
  /** What it was asked. */
  readonly solicitations: Journal<Frame> = new Journal()
  readonly #socket: Descriptor
  readonly #index: number
  #options: RouterOptions

  /** @internal */
  constructor(socket: Descriptor, index: number, options: RouterOptions) {
    this.#socket = socket
    this.#index = index
    this.#options = options
    const native = binding()
    native.watch(socket, EPOLLIN, () => {
      for (let got = native.receive(socket, 65_536); got; got = native.receive(socket, 65_536))
        this.#take(new Frame(Buffer.from(got.data), 0, false))
    })
    native.bind(socket, address(index))
  }

  /** From now on it says this; to all at once, and to who asks. */
  advertise(changes: RouterOptions = {}): void {
    this.#options = { ...this.#options, ...changes }
    this.#send(everybody)
  }

  #take(one: Frame): void {
    const { packet } = one
    if (packet?.protocol !== ICMPV6 || packet.payload[0] !== SOLICITATION) return
    this.solicitations.push(one)
    if (this.#options.answers === false) return
    const isNobody = packet.from === '0:0:0:0:0:0:0:0'
    this.#send(isNobody ? everybody : { mac: one.source, ip: packet.from })
  }

  #send(to: { mac: string; ip: string }): void {
    const bytes = frame(this.#options.address ?? linkLocal, to, advertisement(this.#options))
    binding().send(this.#socket, bytes, address(this.#index))
  }
}

/** A router on the LAN until the end of the test; it answers who asks. */
export const router = async (lan: Segment, options: RouterOptions = {}): Promise<Router> => {
  const [link] = await lan.space.ipJson<{ ifindex: number }>('link', 'show', lan.interface)
  const netns = Netns.open(lan.space.path)
  let socket: Descriptor
  try {
    socket = netns.open({ domain: AF_PACKET, type: SOCK_RAW, protocol: 0 })
  } finally {
    netns.close()
  }
  atEnd(() => socket.close())
  return new Router(socket, link!.ifindex, options)
}
