/** Frames, and what is in them: the tests' own reading, which owes nothing to the code that is tested. */

/** RFC 2132 9.6. */
export const types4 = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const
export type Type4 = keyof typeof types4

/** RFC 8415 7.3. */
export const types6 = {
  solicit: 1,
  advertise: 2,
  request: 3,
  confirm: 4,
  renew: 5,
  rebind: 6,
  reply: 7,
  release: 8,
  decline: 9,
  reconfigure: 10,
  'information-request': 11,
} as const
export type Type6 = keyof typeof types6

const nameOf = <T extends string>(types: Readonly<Record<T, number>>, type: number | undefined): T | null =>
  (Object.keys(types) as T[]).find((name) => types[name] === type) ?? null

export interface Udp {
  /** Addresses as text; IPv6 in full, 8 groups without leading zeros. */
  readonly from: string
  readonly to: string
  readonly fromPort: number
  readonly toPort: number
  readonly payload: Buffer
}

export interface Dhcp4 {
  readonly type: Type4 | null
  readonly xid: number
  readonly secs: number
  readonly broadcast: boolean
  readonly ciaddr: string
  readonly yiaddr: string
  readonly giaddr: string
  /** Hardware address, with colons. */
  readonly chaddr: string
  /** By code; the pieces of a long one joined (RFC 3396). */
  readonly options: ReadonlyMap<number, Buffer>
}

export interface Dhcp6 {
  readonly type: Type6 | null
  readonly xid: number
  /** By code: every one of that code. */
  readonly options: ReadonlyMap<number, readonly Buffer[]>
}

/** A router advertisement's header; RFC 4861 4.2. */
export interface Advertisement {
  /** M: addresses by DHCPv6. */
  readonly managed: boolean
  /** O: the rest by DHCPv6. */
  readonly other: boolean
  /** Seconds; 0: no default router. */
  readonly lifetime: number
  /** Option types in order, e.g. 3 for a prefix. */
  readonly options: readonly number[]
}

const pairs = (bytes: Buffer): string => bytes.toString('hex').replace(/(..)(?!$)/g, '$1:')
const ipv4 = (bytes: Buffer): string => [...bytes].join('.')
const ipv6 = (bytes: Buffer): string =>
  Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16)).join(':')

/** What follows the IPv4 header, or the IPv6 header and those extension headers that may stand before UDP and ICMP. */
interface Packet {
  readonly from: string
  readonly to: string
  readonly protocol: number
  readonly payload: Buffer
}

const packet = (type: number, bytes: Buffer): Packet | null => {
  if (type === 0x0800) {
    const from = ipv4(bytes.subarray(12, 16))
    const payload = bytes.subarray((bytes.readUInt8(0) & 15) * 4, bytes.readUInt16BE(2))
    return { from, to: ipv4(bytes.subarray(16, 20)), protocol: bytes.readUInt8(9), payload }
  }
  if (type !== 0x86dd) return null
  let protocol = bytes.readUInt8(6)
  let at = 40
  // Hop-by-hop, routing and destination options.
  for (; [0, 43, 60].includes(protocol); at += 8 * (bytes.readUInt8(at + 1) + 1))
    protocol = bytes.readUInt8(at)
  const [from, to] = [ipv6(bytes.subarray(8, 24)), ipv6(bytes.subarray(24, 40))]
  return { from, to, protocol, payload: bytes.subarray(at, 40 + bytes.readUInt16BE(4)) }
}

const options4 = (bytes: Buffer): Map<number, Buffer> => {
  const found = new Map<number, Buffer>()
  for (let at = 0; at < bytes.length && bytes[at] !== 255; ) {
    const code = bytes.readUInt8(at++)
    if (code === 0) continue
    const length = bytes.readUInt8(at++)
    found.set(code, Buffer.concat([found.get(code) ?? Buffer.alloc(0), bytes.subarray(at, at + length)]))
    at += length
  }
  return found
}

const options6 = (bytes: Buffer): Map<number, Buffer[]> => {
  const found = new Map<number, Buffer[]>()
  for (let at = 0; at < bytes.length; ) {
    const [code, length] = [bytes.readUInt16BE(at), bytes.readUInt16BE(at + 2)]
    found.set(code, [...(found.get(code) ?? []), bytes.subarray(at + 4, at + 4 + length)])
    at += 4 + length
  }
  return found
}

/** Null for what is cut short. */
const orNull = <T>(read: () => T | null): T | null => {
  try {
    return read()
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}

/** An Ethernet frame as a packet socket saw it. What is not there, or is cut short, reads as null. */
export class Frame {
  /** The whole of it, Ethernet header first. */
  readonly data: Buffer
  /** The kernel's time for it: milliseconds since 1970, with fractions. */
  readonly at: number
  /** Sent by the namespace that the capture is in, rather than received. */
  readonly outgoing: boolean

  constructor(data: Buffer, at: number, outgoing: boolean) {
    this.data = data
    this.at = at
    this.outgoing = outgoing
  }

  get destination(): string {
    return pairs(this.data.subarray(0, 6))
  }

  get source(): string {
    return pairs(this.data.subarray(6, 12))
  }

  get etherType(): number {
    return this.data.readUInt16BE(12)
  }

  get packet(): Packet | null {
    return orNull(() => packet(this.etherType, this.data.subarray(14)))
  }

  get udp(): Udp | null {
    const { packet } = this
    if (packet?.protocol !== 17) return null
    return orNull(() => ({
      from: packet.from,
      to: packet.to,
      fromPort: packet.payload.readUInt16BE(0),
      toPort: packet.payload.readUInt16BE(2),
      payload: packet.payload.subarray(8, packet.payload.readUInt16BE(4)),
    }))
  }

  get dhcp4(): Dhcp4 | null {
    const { udp } = this
    if (!udp || ![67, 68].includes(udp.toPort)) return null
    return orNull(() => {
      const { payload } = udp
      if (payload.readUInt32BE(236) !== 0x63825363) return null
      const options = options4(payload.subarray(240))
      return {
        type: nameOf(types4, options.get(53)?.[0]),
        xid: payload.readUInt32BE(4),
        secs: payload.readUInt16BE(8),
        broadcast: (payload.readUInt8(10) & 0x80) !== 0,
        ciaddr: ipv4(payload.subarray(12, 16)),
        yiaddr: ipv4(payload.subarray(16, 20)),
        giaddr: ipv4(payload.subarray(24, 28)),
        chaddr: pairs(payload.subarray(28, 28 + payload.readUInt8(2))),
        options,
      }
    })
  }

  get dhcp6(): Dhcp6 | null {
    const { udp } = this
    if (!udp || ![546, 547].includes(udp.toPort)) return null
    return orNull(() => ({
      type: nameOf(types6, udp.payload.readUInt8(0)),
      xid: udp.payload.readUIntBE(1, 3),
      options: options6(udp.payload.subarray(4)),
    }))
  }

  get advertisement(): Advertisement | null {
    const { packet } = this
    if (packet?.protocol !== 58 || packet.payload[0] !== 134) return null
    return orNull(() => {
      const { payload } = packet
      const flags = payload.readUInt8(5)
      const options: number[] = []
      for (let at = 16; at < payload.length; at += 8 * Math.max(1, payload.readUInt8(at + 1)))
        options.push(payload.readUInt8(at))
      return {
        managed: (flags & 0x80) !== 0,
        other: (flags & 0x40) !== 0,
        lifetime: payload.readUInt16BE(6),
        options,
      }
    })
  }
}
