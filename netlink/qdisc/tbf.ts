import { table } from '../codec/table.ts'
import { bytes, type Codec, u32, u64 } from '../codec/types.ts'
import { packed } from '../codec/values.ts'
import { rate64, rateFields, rateValues, readRate } from './rate.ts'

/** `TCA_TBF_*` and `struct tc_tbf_qopt`, linux/pkt_sched.h. */
export const tbfTable = table({
  parms: [
    1,
    packed({ ...rateFields('rate'), ...rateFields('peakrate'), limit: 'u32', buffer: 'u32', mtu: 'u32' }),
  ],
  rtab: [2, bytes],
  ptab: [3, bytes],
  rate64: [4, u64],
  prate64: [5, u64],
  burst: [6, u32],
  pburst: [7, u32],
})

/** A token bucket filter: a rate, and what may go at once after a pause. */
export interface Tbf {
  /** Bytes a second. */
  readonly rate: bigint
  /** Bytes that may wait; more are dropped. */
  readonly limit: number
  /** What may go at once, as the time it takes at the rate, in ticks (`toTicks`). Larger packets are dropped. */
  readonly buffer: number
  /** The same in bytes: then it counts, not `buffer`. The kernel never tells it back. */
  readonly burst?: number | undefined
  /** Bytes a second; a limit to what goes at once, too. */
  readonly peakRate?: bigint | undefined
  /** What may go at once at the peak rate, in ticks. */
  readonly peakBuffer?: number | undefined
}

/** `tc qdisc add … tbf rate R burst B limit L [peakrate R mtu B]` */
export const tbf: Codec<Tbf> = {
  nested: true,
  write(writer, { rate, limit, buffer, burst, peakRate = 0n, peakBuffer = 0 }) {
    tbfTable.write(writer, {
      parms: {
        ...rateValues('rate', rate),
        ...rateValues('peakrate', peakRate),
        limit,
        buffer,
        mtu: peakBuffer,
      },
      burst,
      rate64: rate64(rate),
      prate64: rate64(peakRate),
    })
  },
  read(payload) {
    const { parms, rate64: large, prate64: largePeak } = tbfTable.read(payload)
    const peakRate = readRate(parms?.peakrate ?? 0, largePeak)
    return {
      rate: readRate(parms?.rate ?? 0, large),
      limit: parms?.limit ?? 0,
      buffer: parms?.buffer ?? 0,
      ...(peakRate > 0n ? { peakRate, peakBuffer: parms?.mtu } : {}),
    }
  },
}
