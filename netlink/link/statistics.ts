import { Reader } from '../codec/reader.ts'

/** The fields of `struct rtnl_link_stats64`, linux/if_link.h, in order. */
export const statisticNames = [
  'rxPackets',
  'txPackets',
  'rxBytes',
  'txBytes',
  'rxErrors',
  'txErrors',
  'rxDropped',
  'txDropped',
  'multicast',
  'collisions',
  'rxLengthErrors',
  'rxOverErrors',
  'rxCrcErrors',
  'rxFrameErrors',
  'rxFifoErrors',
  'rxMissedErrors',
  'txAbortedErrors',
  'txCarrierErrors',
  'txFifoErrors',
  'txHeartbeatErrors',
  'txWindowErrors',
  'rxCompressed',
  'txCompressed',
  'rxNohandler',
  'rxOtherhostDropped',
] as const

/** Counters of a link. What an older kernel does not count is left out. */
export type Statistics = { -readonly [K in (typeof statisticNames)[number]]?: bigint | undefined }

/** Reads IFLA_STATS64. */
export const toStatistics = (payload: Uint8Array): Statistics => {
  const reader = new Reader(payload)
  const statistics: Statistics = {}
  for (const [i, name] of statisticNames.entries())
    if (reader.length >= (i + 1) * 8) statistics[name] = reader.u64(i * 8)
  return statistics
}
