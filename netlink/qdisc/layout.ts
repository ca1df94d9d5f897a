/** The layout that messages of qdiscs, classes and filters share: `struct tcmsg` and `TCA_*`, linux/rtnetlink.h. */
import type { Reader } from '../codec/reader.ts'
import {
  type Attributes,
  type KnownKind,
  struct,
  table,
  type UnknownAttribute,
  type UnknownKind,
} from '../codec/table.ts'
import { bytes, type Codec, flag, string, u8, u32, u64, type Value } from '../codec/types.ts'
import { packed } from '../codec/values.ts'
import type { Writer } from '../codec/writer.ts'

/** What an object's kind says of it. Which layout it has follows from the kind, and from what the object is. */
interface Options {
  write(writer: Writer): void
  /** Where it was received. */
  readonly payload?: Reader
}

/** Without NLA_F_NESTED: some kinds have a plain struct here. */
const options: Codec<Options> = {
  write: (writer, value) => value.write(writer),
  read: (payload) => ({ payload, write: (writer) => writer.put(payload.bytes) }),
}

/** `struct gnet_stats_basic`. */
const basic: Codec<{ readonly bytes: bigint; readonly packets: number }> = {
  write(writer, value) {
    u64.write(writer, value.bytes)
    writer.u32(value.packets)
  },
  read: (payload) => ({ bytes: payload.u64(), packets: payload.u32(8) }),
}

/** `TCA_STATS_*`, linux/gen_stats.h. */
export const statisticsTable = table({
  basic: [1, basic],
  rateEst: [2, bytes],
  queue: [3, packed({ qlen: 'u32', backlog: 'u32', drops: 'u32', requeues: 'u32', overlimits: 'u32' })],
  app: [4, bytes],
  rateEst64: [5, bytes],
  basicHw: [7, bytes],
  pkt64: [8, bytes],
})

export const trafficLayout = {
  header: struct({
    family: 'u8',
    pad: [3],
    ifindex: 's32',
    handle: 'u32',
    parent: 'u32',
    info: 'u32',
  }),
  attributes: table({
    kind: [1, string],
    options: [2, options],
    stats: [3, bytes],
    xstats: [4, bytes],
    rate: [5, bytes],
    fcnt: [6, bytes],
    stats2: [7, statisticsTable],
    stab: [8, bytes],
    dumpInvisible: [10, flag],
    chain: [11, u32],
    hwOffload: [12, u8],
    ingressBlock: [13, u32],
    egressBlock: [14, u32],
    dumpFlags: [15, bytes],
    extWarnMsg: [16, string],
  }),
} as const

export type TrafficAttributes = Attributes<(typeof trafficLayout)['attributes']['rows']>

/** Kinds and the layouts of their options. */
export type Kinds = Readonly<Record<string, Codec<unknown>>>

/** A kind and its options, for a request. Those of a kind without a table are bytes, in `raw`. */
export type KindOptions<K extends Kinds> = KnownKind<K> | UnknownKind

/** `kind` tells the type of `data`. */
export type OfKind<K extends Kinds> =
  | {
      [N in keyof K & string]: {
        readonly kind: N
        readonly data: Value<K[N]> | undefined
        readonly rawData?: undefined
      }
    }[keyof K & string]
  | { readonly kind: string; readonly data?: undefined; readonly rawData?: Uint8Array | undefined }

const codecOf = (kinds: Kinds, kind: string): Codec<unknown> | undefined =>
  Object.hasOwn(kinds, kind) ? kinds[kind] : undefined

/** The attributes that say of which kind an object is. */
export const kindAttributes = (
  kinds: Kinds,
  {
    kind,
    data,
    raw,
  }: { readonly kind: string; readonly data?: unknown; readonly raw?: Uint8Array | undefined },
): TrafficAttributes => {
  const codec = codecOf(kinds, kind)
  if (codec && data !== undefined) return { kind, options: { write: (writer) => codec.write(writer, data) } }
  return { kind, options: raw && { write: (writer) => writer.put(raw) } }
}

/** The kind of an object and what its options say. */
export const readKind = <K extends Kinds>(
  kinds: K,
  { kind = '', options: sent }: TrafficAttributes,
): OfKind<K> => {
  const payload = sent?.payload
  const codec = codecOf(kinds, kind)
  const known = codec && payload && payload.length > 0
  const read = known
    ? { kind, data: codec.read(payload) }
    : { kind, data: undefined, rawData: codec ? undefined : payload?.bytes.slice() }
  return read as OfKind<K>
}

/** Counters of a qdisc or class. */
export interface TrafficStatistics {
  readonly bytes: bigint
  readonly packets: number
  /** Packets waiting. */
  readonly queued: number
  /** Bytes waiting. */
  readonly backlog: number
  readonly drops: number
  readonly requeues: number
  /** How often something had to wait because of the rate. */
  readonly overlimits: number
}

/** Undefined where the kernel told none. */
export const toStatistics = ({ stats2 }: TrafficAttributes): TrafficStatistics | undefined => {
  const { basic: sent, queue } = stats2 ?? {}
  if (!sent || !queue) return undefined
  const { qlen: queued, backlog, drops, requeues, overlimits } = queue
  return { bytes: sent.bytes, packets: sent.packets, queued, backlog, drops, requeues, overlimits }
}

/** What qdiscs, classes and filters have in common. */
export interface TrafficFacts {
  /** Index of the link. */
  readonly index: number
  readonly unknown: readonly UnknownAttribute[]
}

/** @throws RangeError for what is no index of a link */
export const linkIndex = (index: number): number => {
  if (!Number.isInteger(index) || index < 1 || index > 0x7fff_ffff)
    throw new RangeError(`${index} is not the index of a link`)
  return index
}
