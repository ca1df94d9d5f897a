/**
 * Connection tracking (linux/netfilter/nfnetlink_conntrack.h): what flows the kernel knows, and how NAT changed them.
 * A flow keeps the translation it began with: a new rule does not touch it until its entry is gone.
 */
import { struct, table } from './codec/table.ts'
import { be16, be32, ip, u8, u32 } from './codec/types.ts'
import { Writer } from './codec/writer.ts'
import { change, dump, get, type Request, type readMessage } from './request.ts'

/** NFNL_SUBSYS_CTNETLINK, in the high byte of `nlmsg_type`, and `IPCTNL_MSG_CT_*`. */
const SUBSYSTEM = 1 << 8
const CT_GET = SUBSYSTEM | 1
const CT_DELETE = SUBSYSTEM | 2
const CT_GET_STATS = SUBSYSTEM | 5

/** AF_INET and AF_INET6. */
const families = { ip: 2, ip6: 10 } as const
/** `ip`: IPv4. */
export type ConntrackFamily = keyof typeof families

/** `IPPROTO_*` of protocols with ports. */
export const portProtocols = { tcp: 6, udp: 17, dccp: 33, sctp: 132, udplite: 136 } as const
export type PortProtocol = keyof typeof portProtocols

/** Bits of an entry's `status`, `enum ip_conntrack_status`. */
export const conntrackStatus = {
  expected: 1,
  seenReply: 2,
  assured: 4,
  confirmed: 8,
  srcNat: 16,
  dstNat: 32,
  dying: 512,
} as const

/** CTA_PROTO_* */
const protocolTable = table({
  num: [1, u8],
  srcPort: [2, be16],
  dstPort: [3, be16],
  icmpId: [4, be16],
  icmpType: [5, u8],
  icmpCode: [6, u8],
  icmpv6Id: [7, be16],
  icmpv6Type: [8, u8],
  icmpv6Code: [9, u8],
})
/** CTA_TUPLE_* */
const tuple = table({
  ip: [1, table({ v4Src: [1, ip], v4Dst: [2, ip], v6Src: [3, ip], v6Dst: [4, ip] })],
  proto: [2, protocolTable],
  zone: [3, be16],
})

/** `struct nfgenmsg` and `CTA_*`. */
export const conntrackLayout = {
  header: struct({ family: 'u8', version: 'u8', resId: 'be16' }),
  attributes: table({
    tupleOrig: [1, tuple],
    tupleReply: [2, tuple],
    status: [3, be32],
    timeout: [7, be32],
    mark: [8, be32],
    id: [12, be32],
    zone: [18, be16],
    filter: [25, table({ origFlags: [1, u32], replyFlags: [2, u32] })],
  }),
} as const

/** CTA_STATS_GLOBAL_* */
export const statisticsLayout = {
  header: conntrackLayout.header,
  attributes: table({ entries: [1, be32], maxEntries: [2, be32] }),
} as const

/** `CTA_FILTER_F_CTA_*`: parts of a tuple that a filter compares; the kernel keeps them to itself. */
const FILTER_F = { ipDst: 1 << 1, protoNum: 1 << 3, protoDstPort: 1 << 5 } as const

/** One direction of a flow. */
export interface Tuple {
  readonly source: string
  readonly destination: string
  /** IPPROTO_* */
  readonly protocol: number
  /** Undefined where the protocol has no ports. */
  readonly sourcePort: number | undefined
  readonly destinationPort: number | undefined
}

type Attributes = ReturnType<
  typeof readMessage<{ family: number }, typeof conntrackLayout.attributes.rows>
>['attributes']

/** An entry of the table, as the kernel lists it. */
export interface ConntrackEntry {
  readonly family: ConntrackFamily
  /** As the first packet was sent. */
  readonly original: Tuple
  /** As answers are sent: their source is where the flow really goes. */
  readonly reply: Tuple
  /** See {@link conntrackStatus}. */
  readonly status: number
  /** Seconds that are left; undefined for an entry that does not run out. */
  readonly timeout: number | undefined
  readonly mark: number
  readonly zone: number
  readonly id: number | undefined
  /** What names it to the kernel. */
  readonly raw: Attributes['tupleOrig']
}

/** Which entries. What is left out is not compared. */
export interface ConntrackFilter {
  /** Left out: both, and all entries travel, whatever else the filter says. */
  readonly family?: ConntrackFamily | undefined
  readonly protocol?: PortProtocol | undefined
  /** `--orig-port-dst`; needs `protocol`. */
  readonly originalDestinationPort?: number | undefined
  /** `--orig-dst` */
  readonly originalDestination?: string | undefined
}

const toTuple = (raw: Attributes['tupleOrig']): Tuple | undefined => {
  const source = raw?.ip?.v4Src ?? raw?.ip?.v6Src
  const destination = raw?.ip?.v4Dst ?? raw?.ip?.v6Dst
  const protocol = raw?.proto?.num
  if (source === undefined || destination === undefined || protocol === undefined) return undefined
  return {
    source,
    destination,
    protocol,
    sourcePort: raw?.proto?.srcPort,
    destinationPort: raw?.proto?.dstPort,
  }
}

const familyNames = new Map<number, ConntrackFamily>([
  [families.ip, 'ip'],
  [families.ip6, 'ip6'],
])

const toEntry = (number: number, attributes: Attributes): ConntrackEntry | undefined => {
  const family = familyNames.get(number)
  const { tupleOrig, tupleReply, status = 0, timeout, mark = 0, zone = 0, id } = attributes
  const original = toTuple(tupleOrig)
  const reply = toTuple(tupleReply)
  if (!family || !original || !reply) return undefined
  return { family, original, reply, status, timeout, mark, zone, id, raw: tupleOrig }
}

const meets = ({ family, original }: ConntrackEntry, filter: ConntrackFilter): boolean =>
  (filter.family === undefined || family === filter.family) &&
  (filter.protocol === undefined || original.protocol === portProtocols[filter.protocol]) &&
  (filter.originalDestinationPort === undefined ||
    original.destinationPort === filter.originalDestinationPort) &&
  (filter.originalDestination === undefined || original.destination === filter.originalDestination)

const filterAttributes = (filter: ConntrackFilter): Attributes => {
  const { family, protocol, originalDestinationPort: port, originalDestination: destination } = filter
  if (port !== undefined && protocol === undefined) throw new RangeError('a port needs its protocol')
  const flags =
    (destination === undefined ? 0 : FILTER_F.ipDst) |
    (protocol === undefined ? 0 : FILTER_F.protoNum) |
    (port === undefined ? 0 : FILTER_F.protoDstPort)
  // The kernel filters within one family only.
  if (flags === 0 || family === undefined) return {}
  return {
    tupleOrig: {
      ...(destination !== undefined && {
        ip: family === 'ip' ? { v4Dst: destination } : { v6Dst: destination },
      }),
      ...(protocol !== undefined && {
        proto: { num: portProtocols[protocol], ...(port !== undefined && { dstPort: port }) },
      }),
    },
    filter: { origFlags: flags, replyFlags: 0 },
  }
}

/** CTA_PROTO_NUM with its value, as it stands in a message. */
const protocolBytes = (protocol: PortProtocol): Buffer => {
  const writer = new Writer()
  protocolTable.write(writer, { num: portProtocols[protocol] })
  return Buffer.from(writer.finish().subarray(0, 5))
}

/**
 * `conntrack -L [-f FAMILY] [-p PROTOCOL] [--orig-port-dst PORT] [--orig-dst ADDRESS]`. The kernel goes through its
 * whole table, which takes milliseconds even where it is empty. Kernels before 5.8 send all entries of the family: what
 * does not meet the filter is left out here.
 * @throws RangeError for a port without a protocol
 */
export const list = (filter: ConntrackFilter): Request<ConntrackEntry[]> => {
  const { family, protocol, originalDestinationPort, originalDestination } = filter
  const all = dump(
    conntrackLayout,
    {
      op: ['list connections', family, protocol, originalDestinationPort, originalDestination]
        .filter((word) => word !== undefined)
        .join(' '),
      type: CT_GET,
      header: { family: family === undefined ? 0 : families[family] },
      attributes: filterAttributes(filter),
    },
    (message) => {
      const entry = toEntry(message.family, message.attributes)
      return entry && meets(entry, filter) ? entry : undefined
    },
  )
  if (protocol === undefined) return all
  // Cheaper than to decode what is of another protocol.
  const mark = protocolBytes(protocol)
  return {
    ...all,
    read: (messages) =>
      all.read(
        messages.filter(({ payload: { bytes } }) =>
          Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes(mark),
        ),
      ),
  }
}

/** How many entries there are, which the kernel knows without looking: `conntrack -C`. */
export const count = (): Request<number> =>
  get(
    statisticsLayout,
    { op: 'count connections', type: CT_GET_STATS },
    ({ attributes }) => attributes.entries ?? 0,
  )

/**
 * `conntrack -D` of this one entry: not of another one that took its place. ENOENT when it is gone. The next packet of
 * the flow makes a new entry, and passes the nat chains again.
 */
export const remove = ({ family, original, raw, zone, id }: ConntrackEntry): Request<void> =>
  change(conntrackLayout, {
    op: `delete connection ${original.source} to ${original.destination}, port ${original.destinationPort}, protocol ${original.protocol}`,
    type: CT_DELETE,
    header: { family: families[family] },
    attributes: { tupleOrig: raw, ...(id !== undefined && { id }), ...(zone !== 0 && { zone }) },
  })
