import * as z from 'zod/mini'
import { checkNetworkName } from '../../cni/environment.ts'
import { invalidConfig } from '../../cni/error.ts'
import type { Context } from '../../cni/plugin.ts'
import {
  argsOf,
  cidr,
  commonConf,
  ip,
  ipOrCidr,
  routes,
  rule,
  runtimeConfigOf,
  text,
} from '../../cni/schema.ts'
import { canonicalSets, RangeProblem, type RangeSet } from '../ranges.ts'

const rangeFields = {
  /** `address/prefix`; network address and broadcast address are not assigned unless asked for. */
  subnet: z.optional(cidr),
  /** First address to assign. Default: the second of the subnet (the gateway, unless another is given, and so skipped). */
  rangeStart: z.optional(ip),
  /** Last address to assign. Default: the last of the subnet, for IPv4 the last but one. */
  rangeEnd: z.optional(ip),
  /** Never assigned, and named in the result. Default: the second address of the subnet. */
  gateway: z.optional(ip),
}
const range = z.object(rangeFields)
/** Each set gives one address to an attachment. */
const rangeSets = z.array(z.array(range))
/** Addresses that the attachment has to get; a prefix length is ignored. */
const requested = z.optional(z.array(ipOrCidr))

const fields = z.object({
  ...commonConf,
  ipam: z.optional(
    z.object({
      type: z.optional(text),
      /** One range, the first set of all but those of runtimeConfig. Used only with `subnet`. */
      ...rangeFields,
      ranges: z.optional(rangeSets),
      routes: z.optional(routes),
      /** Default `/var/lib/cni/networks`. The reservations are in a directory of it with the network's name. */
      dataDir: z.optional(text),
      /** A resolv.conf from which the result's dns is taken. */
      resolvConf: z.optional(text),
    }),
  ),
  runtimeConfig: runtimeConfigOf({ ips: requested, ipRanges: z.optional(rangeSets) }),
  args: argsOf({ ips: requested }),
})
export type HostLocalConf = z.infer<typeof fields>

/** The range sets, in the order of their numbers: of runtimeConfig, the one without a list, the listed ones. */
const readRangeSets = ({ ipam, runtimeConfig, cniVersion }: HostLocalConf): readonly RangeSet[] => {
  if (!ipam) throw new RangeProblem("IPAM config missing 'ipam' key")
  return canonicalSets(
    [...(runtimeConfig?.ipRanges ?? []), ...(ipam.subnet ? [[ipam]] : []), ...(ipam.ranges ?? [])],
    cniVersion,
  )
}

/** Of configurations that have validated. */
const known = new WeakMap<HostLocalConf, readonly RangeSet[]>()

const problem = (conf: HostLocalConf): string | null => {
  try {
    known.set(conf, readRangeSets(conf))
    return null
  } catch (error) {
    if (error instanceof RangeProblem) return error.message
    throw error
  }
}

/** Every key of host-local. Ranges that are impossible do not validate. */
export const hostLocalConf = fields.check(
  rule(
    (conf) => problem(conf) === null,
    (conf) => problem(conf) ?? '',
  ),
)

/** The range sets of a configuration that has validated. @throws CniError code 7 */
export const rangeSetsOf = (conf: HostLocalConf): readonly RangeSet[] => {
  try {
    return known.get(conf) ?? readRangeSets(conf)
  } catch (error) {
    throw error instanceof RangeProblem ? invalidConfig(error.message) : error
  }
}

/** Where a network's files are. */
export interface Places {
  readonly reservations: string
  /** See owner-index.ts. */
  readonly index: string
}

const DEFAULT_DATA_DIR = '/var/lib/cni/networks'

/** @throws CniError code 7 where the network's name would lead elsewhere */
export const placesOf = ({ conf, network }: Pick<Context<HostLocalConf>, 'conf' | 'network'>): Places => {
  checkNetworkName(network)
  const dataDir = conf.ipam?.dataDir || DEFAULT_DATA_DIR
  return { reservations: `${dataDir}/${network}`, index: `${dataDir}/.linkwright/${network}` }
}
