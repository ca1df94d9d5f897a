/** Rates, and the time that bytes take at a rate. */

/** `TC_LINKLAYER_ETHERNET`: the kernel computes with the rate alone and wants no table of transmission times. */
const ETHERNET = 1
const MAX_U32 = 0xffff_ffff

type RateFields<P extends string> = {
  readonly [K in `${P}CellLog` | `${P}LinkLayer`]: 'u8'
} & { readonly [K in `${P}Overhead` | `${P}CellAlign` | `${P}Mpu`]: 'u16' } & { readonly [K in P]: 'u32' }

/** The fields of a `struct tc_ratespec`, linux/pkt_sched.h. */
export const rateFields = <const P extends string>(name: P): RateFields<P> =>
  ({
    [`${name}CellLog`]: 'u8',
    [`${name}LinkLayer`]: 'u8',
    [`${name}Overhead`]: 'u16',
    [`${name}CellAlign`]: 'u16',
    [`${name}Mpu`]: 'u16',
    [name]: 'u32',
  }) as RateFields<P>

type RateValues<P extends string> = { readonly [K in keyof RateFields<P>]: number }

/** Their values. A rate that does not fit is told by an attribute of its own, {@link rate64}. */
export const rateValues = <const P extends string>(name: P, rate: bigint): RateValues<P> =>
  ({
    [`${name}CellLog`]: 0,
    [`${name}LinkLayer`]: rate === 0n ? 0 : ETHERNET,
    [`${name}Overhead`]: 0,
    [`${name}CellAlign`]: 0,
    [`${name}Mpu`]: 0,
    [name]: Number(rate > MAX_U32 ? BigInt(MAX_U32) : rate),
  }) as RateValues<P>

/** The attribute for a rate of 32 GBit/s and more, undefined for a smaller one. */
export const rate64 = (rate: bigint): bigint | undefined => (rate > MAX_U32 ? rate : undefined)

/** The rate that both tell. */
export const readRate = (rate: number, large: bigint | undefined): bigint => large ?? BigInt(rate)

/**
 * Nanoseconds of a tick, the unit of buffers: 2 ^ `PSCHED_SHIFT`, include/net/pkt_sched.h. `/proc/net/psched` says so,
 * too: its first number through its second. It is the same in every kernel since 2.6.31.
 */
export const TICK = 64

/** Microseconds in ticks, at most the largest number that the kernel takes (274 seconds). */
export const toTicks = (microseconds: number): number =>
  Math.min(Math.floor((microseconds * 1000) / TICK), MAX_U32)
