/** The layout of RTM_NEWROUTE and its kin: `struct rtmsg` and `RTA_*`, linux/rtnetlink.h. */
import { MalformedError } from '../codec/reader.ts'
import { struct, table } from '../codec/table.ts'
import type { Codec } from '../codec/types.ts'
import { be16, bytes, ip, string, u8, u16, u32 } from '../codec/types.ts'
import { bits, choice, packed } from '../codec/values.ts'
import { align, littleEndian } from '../codec/writer.ts'
import { AF_INET, AF_INET6 } from '../family.ts'
import { formatIp, parseIp } from '../ip.ts'

export const rtmsg = struct({
  family: 'u8',
  dstLength: 'u8',
  srcLength: 'u8',
  tos: 'u8',
  table: 'u8',
  protocol: 'u8',
  scope: 'u8',
  type: 'u8',
  flags: 'u32',
})

/** RTAX_FEATURE_*: `features` of the metrics. */
export const features = { ecn: 1, sack: 2, timestamp: 4, allfrag: 8, tcpUsecTs: 16 } as const

/** `RTAX_*`: the metrics of a route. Bytes, milliseconds and hops, as `ip-route(8)` has them; 0 is unset. */
export const metrics = table({
  /** Bits, by RTAX_* number, of the metrics that path discovery may not change. */
  lock: [1, u32],
  mtu: [2, u32],
  window: [3, u32],
  /** In eighths of a millisecond. */
  rtt: [4, u32],
  /** In quarters of a millisecond. */
  rttvar: [5, u32],
  ssthresh: [6, u32],
  cwnd: [7, u32],
  advmss: [8, u32],
  reordering: [9, u32],
  hoplimit: [10, u32],
  initcwnd: [11, u32],
  features: [12, bits(u32, features)],
  rtoMin: [13, u32],
  initrwnd: [14, u32],
  quickack: [15, u32],
  ccAlgo: [16, string],
  fastopenNoCookie: [17, u32],
})

/** RTA_VIA, `struct rtvia`: a gateway of another family than the destination's. */
const via: Codec<string> = {
  write(writer, value) {
    const parsed = parseIp(value)
    if (!parsed) throw new RangeError(`${JSON.stringify(value)} is not an IP address`)
    writer.u16(parsed.length === 4 ? AF_INET : AF_INET6)
    writer.put(parsed)
  },
  read(payload) {
    if (payload.length !== 6 && payload.length !== 18)
      throw new MalformedError(`a gateway of ${payload.length} bytes`)
    return formatIp(payload.bytes.subarray(2))
  },
}

const nexthopRows = {
  gateway: [5, ip],
  flow: [11, u32],
  via: [18, via],
  newDst: [19, bytes],
  encapType: [21, u16],
  encap: [22, bytes],
} as const

const nexthopAttributes = table(nexthopRows)

/** One RTA_MULTIPATH element: `struct rtnexthop`, then attributes. */
export interface RawNexthop {
  readonly flags: number
  /** Weight less one. */
  readonly hops: number
  readonly index: number
  readonly gateway?: string | undefined
  readonly via?: string | undefined
  readonly flow?: number | undefined
}

/** A run of structs of the length each gives itself: not attributes. */
const multipath: Codec<readonly RawNexthop[]> = {
  write(writer, nexthops) {
    for (const { flags, hops, index, gateway, via: other, flow } of nexthops) {
      const start = writer.reserve(8)
      writer.view.setUint8(start + 2, flags)
      writer.view.setUint8(start + 3, hops)
      writer.view.setInt32(start + 4, index, littleEndian)
      nexthopAttributes.write(writer, { gateway, via: other, flow })
      writer.view.setUint16(start, writer.length - start, littleEndian)
    }
  },
  read(payload) {
    const nexthops: RawNexthop[] = []
    for (let offset = 0; offset + 8 <= payload.length; ) {
      const length = payload.u16(offset)
      if (length < 8 || offset + length > payload.length)
        throw new MalformedError(`next hop of length ${length} at offset ${offset} of ${payload.length}`)
      const one = payload.slice(offset, offset + length)
      const attributes = nexthopAttributes.readFrom(one, 8)
      nexthops.push({
        flags: one.u8(2),
        hops: one.u8(3),
        index: one.s32(4),
        gateway: attributes.gateway,
        via: attributes.via,
        flow: attributes.flow,
      })
      offset += align(length)
    }
    return nexthops
  },
}

/** `ICMPV6_ROUTER_PREF_*`. */
export const preferences = { medium: 0, high: 1, low: 3 } as const

export const routeTable = table({
  dst: [1, ip],
  src: [2, ip],
  /** Index of the input interface. */
  iif: [3, u32],
  /** Index of the output interface. */
  oif: [4, u32],
  gateway: [5, ip],
  priority: [6, u32],
  prefsrc: [7, ip],
  metrics: [8, metrics],
  multipath: [9, multipath],
  flow: [11, u32],
  /** `struct rta_cacheinfo`; `expires` is in hundredths of a second. */
  cacheinfo: [
    12,
    packed({
      clntref: 'u32',
      lastuse: 'u32',
      expires: 's32',
      error: 'u32',
      used: 'u32',
      id: 'u32',
      ts: 'u32',
      tsage: 'u32',
    }),
  ],
  table: [15, u32],
  mark: [16, u32],
  via: [18, via],
  newdst: [19, bytes],
  pref: [20, choice(u8, preferences)],
  encapType: [21, u16],
  encap: [22, bytes],
  /** Seconds; written only, read as cacheinfo. */
  expires: [23, u32],
  uid: [25, u32],
  ttlPropagate: [26, u8],
  ipProto: [27, u8],
  sport: [28, be16],
  dport: [29, be16],
  nhId: [30, u32],
})

export const routeLayout = { header: rtmsg, attributes: routeTable } as const
