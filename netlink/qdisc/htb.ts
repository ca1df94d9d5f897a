/** Hierarchical token buckets: a qdisc, and classes of which each has a rate. */
import { table } from '../codec/table.ts'
import { bytes, type Codec, flag, u32, u64 } from '../codec/types.ts'
import { packed } from '../codec/values.ts'
import { rate64, rateFields, rateValues, readRate } from './rate.ts'

/** `HTB_VER` of net/sched/sch_htb.c, its upper half: what `tc` has to be made for. */
const VERSION = 3
/** As `tc` has it: a class sends a tenth of its rate in a row. */
const RATE_TO_QUANTUM = 10

/** `TCA_HTB_*`, linux/pkt_sched.h: of the qdisc `init`, of its classes `parms`. */
export const htbTable = table({
  parms: [
    1,
    packed({
      ...rateFields('rate'),
      ...rateFields('ceil'),
      buffer: 'u32',
      cbuffer: 'u32',
      quantum: 'u32',
      level: 'u32',
      prio: 'u32',
    }),
  ],
  init: [2, packed({ version: 'u32', rate2quantum: 'u32', defcls: 'u32', debug: 'u32', directPkts: 'u32' })],
  ctab: [3, bytes],
  rtab: [4, bytes],
  directQlen: [5, u32],
  rate64: [6, u64],
  ceil64: [7, u64],
  offload: [9, flag],
})

export interface Htb {
  /** Minor number of the class for what no filter claims. 0: it goes at once, unlimited. */
  readonly defaultClass: number
  /** Default 10. */
  readonly rateToQuantum?: number | undefined
  /** Packets that may wait to go unlimited. Default: the link's `txQueueLength`, 2 at least. */
  readonly directQueueLength?: number | undefined
}

/** `tc qdisc add … htb default N [r2q N] [direct_qlen N]` */
export const htb: Codec<Htb> = {
  nested: true,
  write(writer, { defaultClass, rateToQuantum = RATE_TO_QUANTUM, directQueueLength }) {
    htbTable.write(writer, {
      init: { version: VERSION, rate2quantum: rateToQuantum, defcls: defaultClass, debug: 0, directPkts: 0 },
      directQlen: directQueueLength,
    })
  },
  read(payload) {
    const { init, directQlen: directQueueLength } = htbTable.read(payload)
    return { defaultClass: init?.defcls ?? 0, rateToQuantum: init?.rate2quantum, directQueueLength }
  },
}

export interface HtbClass {
  /** Bytes a second that it has of its own. */
  readonly rate: bigint
  /** Bytes a second with what its parent lends it; a class below the root takes what it likes up to this. Default: the rate. */
  readonly ceil?: bigint | undefined
  /** What may go at once at the rate, in ticks (`toTicks`). */
  readonly buffer: number
  /** The same at the ceiling. Default: `buffer`. */
  readonly ceilBuffer?: number | undefined
  /** Bytes it sends in a row when others wait. Default: as the qdisc's `rateToQuantum` has it. */
  readonly quantum?: number | undefined
  /** 0 to 7; the smallest goes first. */
  readonly priority?: number | undefined
}

/** `tc class add … htb rate R [ceil R] [burst B] [cburst B] [quantum N] [prio N]` */
export const htbClass: Codec<HtbClass> = {
  nested: true,
  write(writer, { rate, ceil = rate, buffer, ceilBuffer = buffer, quantum = 0, priority = 0 }) {
    htbTable.write(writer, {
      rate64: rate64(rate),
      ceil64: rate64(ceil),
      parms: {
        ...rateValues('rate', rate),
        ...rateValues('ceil', ceil),
        buffer,
        cbuffer: ceilBuffer,
        quantum,
        level: 0,
        prio: priority,
      },
    })
  },
  read(payload) {
    const { parms, rate64: large, ceil64: largeCeil } = htbTable.read(payload)
    return {
      rate: readRate(parms?.rate ?? 0, large),
      ceil: readRate(parms?.ceil ?? 0, largeCeil),
      buffer: parms?.buffer ?? 0,
      ceilBuffer: parms?.cbuffer ?? 0,
      quantum: parms?.quantum ?? 0,
      priority: parms?.prio ?? 0,
    }
  },
}
