/** What the configuration limits, and to what. */
import * as z from 'zod/mini'
import { invalidConfig } from '../../cni/error.ts'
import { commonConf, expects, runtimeConfigOf, texts } from '../../cni/schema.ts'
import { filter } from '../../netlink/index.ts'

/** Go's uint64. Beyond 2^53 a JSON number is not exact here, nor does it matter. */
const uint64 = z
  .number()
  .check(
    expects(
      (value) => Number.isInteger(value) && value >= 0 && value <= 2 ** 64,
      'integer from 0 to 18446744073709551615',
    ),
  )

const limitKeys = {
  /** Bits a second, into the container. */
  ingressRate: z.optional(uint64),
  /** Bits that may go at once after a pause. */
  ingressBurst: z.optional(uint64),
  /** Bits a second, out of the container. */
  egressRate: z.optional(uint64),
  egressBurst: z.optional(uint64),
  /** Only what comes from there, or goes there, is limited. */
  shapedSubnets: z.optional(texts),
  /** All is limited but what comes from there, or goes there. */
  unshapedSubnets: z.optional(texts),
} as const

/** Every key of the bandwidth plugin. */
export const bandwidthConf = z.object({
  ...commonConf,
  ...limitKeys,
  runtimeConfig: runtimeConfigOf({ bandwidth: z.optional(z.object(limitKeys)) }),
})

export type BandwidthConf = z.infer<typeof bandwidthConf>
type Block = Pick<BandwidthConf, keyof typeof limitKeys>

/** A rate and a burst. */
export interface Limit {
  /** Bytes a second. */
  readonly rate: bigint
  /** Bytes. */
  readonly burst: number
}

/** Which of the other side's addresses the limits are for. */
export interface Subnets {
  /** Whether they are for these, or for all others. */
  readonly shaped: boolean
  readonly list: readonly string[]
}

export interface Limits {
  /** Into the container; null: unlimited. */
  readonly ingress: Limit | null
  /** Out of the container. */
  readonly egress: Limit | null
  /** Null: for everything. */
  readonly subnets: Subnets | null
}

/** Bits of Go's largest burst: of what the kernel counts in 32 bits, in bytes. */
const MAX_BURST = 8 * 0xffff_ffff

const limitOf = (direction: string, rate = 0, burst = 0): Limit | null => {
  if (burst === 0 && rate !== 0)
    throw invalidConfig('if rate is set, burst must also be set', `it is ${direction}Burst that is missing`)
  if (rate === 0 && burst !== 0)
    throw invalidConfig('if burst is set, rate must also be set', `it is ${direction}Rate that is missing`)
  if (burst >= MAX_BURST)
    throw invalidConfig('burst cannot be more than 4GB', `${direction}Burst is ${burst} bits`)
  if (rate === 0) return null
  if (rate < 8 || burst < 8)
    throw invalidConfig(
      `${direction}Rate and ${direction}Burst must be at least 8`,
      `they are counted in bits, and the kernel counts in bytes: the rate is ${rate}, the burst ${burst}`,
    )
  return { rate: BigInt(rate) / 8n, burst: Math.floor(burst / 8) }
}

const subnetsOf = ({ shapedSubnets = [], unshapedSubnets = [] }: Block): Subnets | null => {
  if (shapedSubnets.length > 0 && unshapedSubnets.length > 0)
    throw invalidConfig(
      'unshapedSubnets and shapedSubnets cannot be both specified, one of them should be discarded',
    )
  const shaped = shapedSubnets.length > 0
  const list = shaped ? shapedSubnets : unshapedSubnets
  for (const subnet of list)
    try {
      if (!subnet.includes('/')) throw new RangeError('it has no prefix length')
      filter.matchSubnet('dst', subnet)
    } catch (error) {
      throw invalidConfig(
        `bad subnet ${JSON.stringify(subnet)} provided, details invalid CIDR address: ${subnet}`,
        (error as Error).message,
      )
    }
  return list.length > 0 ? { shaped, list } : null
}

const rates = ['ingressRate', 'ingressBurst', 'egressRate', 'egressBurst'] as const
const hasSubnets = ({ shapedSubnets, unshapedSubnets }: Block): boolean =>
  shapedSubnets !== undefined || unshapedSubnets !== undefined

/**
 * What counts: the keys of the configuration itself where one of the rates is among them, those of `runtimeConfig` where
 * not. Subnets of the configuration are also for the rates of a runtime that names none itself, as Kubernetes does.
 */
const blockOf = (conf: BandwidthConf): Block => {
  const runtime = conf.runtimeConfig?.bandwidth
  if (!runtime || rates.some((key) => conf[key] !== undefined)) return conf
  if (hasSubnets(runtime)) return runtime
  const { shapedSubnets, unshapedSubnets } = conf
  return { ...runtime, shapedSubnets, unshapedSubnets }
}

/**
 * @returns null where nothing is limited
 * @throws CniError code 7, in the Go plugin's words
 */
export const limitsOf = (conf: BandwidthConf): Limits | null => {
  const block = blockOf(conf)
  const ingress = limitOf('ingress', block.ingressRate, block.ingressBurst)
  const egress = limitOf('egress', block.egressRate, block.egressBurst)
  return ingress || egress ? { ingress, egress, subnets: subnetsOf(block) } : null
}
