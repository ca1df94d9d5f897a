/** Ranges of addresses that host-local assigns from, with the reference's defaults and its words for what is wrong. */
import { asIpv4, formatIp, parseCidr } from '../netlink/ip.ts'
import { type Address, bitsOf, type Family, formatAddress, parseAddress, toAddress } from './address.ts'

/** A range as configured: text forms that are known to be addresses, or empty. */
export interface RangeConf {
  readonly subnet?: string | undefined
  readonly rangeStart?: string | undefined
  readonly rangeEnd?: string | undefined
  readonly gateway?: string | undefined
}

/** The addresses `start` to `end`, both included, of one subnet. */
export interface Range {
  readonly family: Family
  /** Prefix length of the subnet. */
  readonly prefix: number
  readonly start: bigint
  readonly end: bigint
  /** Never assigned. It may lie outside of the subnet, or be of the other family. */
  readonly gateway: Address
}

/** Ranges that together yield one address for an attachment. Never empty, of one family, without overlaps. */
export type RangeSet = readonly Range[]

/** Says what is wrong with a range, in the reference's words. */
export class RangeProblem extends Error {
  override readonly name = 'RangeProblem'
}

const showAddress = ({ family, value }: Address): string => formatAddress(family, value)

const addressOf = (text: string | undefined): Address | null => (text ? parseAddress(text) : null)

/** Fills in what a range leaves out. @throws RangeProblem */
export const canonicalRange = ({ subnet, rangeStart, rangeEnd, gateway }: RangeConf): Range => {
  const cidr = subnet ? parseCidr(subnet) : null
  if (!cidr) throw new RangeProblem('IP <nil> not v4 nor v6')
  const { ip, prefix } = asIpv4(cidr)
  const text = `${formatIp(ip)}/${prefix}`
  // In the lengths that were written: an IPv4-mapped prefix counts its 128 bits here.
  if (cidr.prefix > cidr.ip.length * 8 - 2)
    throw new RangeProblem(`Network ${text} too small to allocate from`)
  if (ip !== cidr.ip) throw new RangeProblem('IPNet IP and Mask version mismatch')
  const { family, value } = toAddress(ip)
  const hosts = (1n << BigInt(bitsOf(family) - prefix)) - 1n
  const network = value & ~hosts
  if (network !== value)
    throw new RangeProblem(
      `Network has host bits set. For a subnet mask of length ${prefix} the network address is ${formatAddress(family, network)}`,
    )
  const last = network + hosts
  const inside = (address: Address, from: bigint): boolean =>
    address.family === family && address.value >= from && address.value <= last

  const first = addressOf(rangeStart)
  const final = addressOf(rangeEnd)
  const beyond = first && final && first.family === final.family && first.value > final.value
  if (first && (beyond || !inside(first, network)))
    throw new RangeProblem(`RangeStart ${showAddress(first)} not in network ${text}`)
  const start = first?.value ?? network + 1n
  if (final && !inside(final, start))
    throw new RangeProblem(`RangeEnd ${showAddress(final)} not in network ${text}`)
  const end = final?.value ?? (family === 4 ? last - 1n : last)
  // A range that starts at the broadcast address and ends by default before it: the reference counts on for ever.
  if (end < start) throw new RangeProblem(`RangeEnd ${formatAddress(family, end)} not in network ${text}`)
  return { family, prefix, start, end, gateway: addressOf(gateway) ?? { family, value: network + 1n } }
}

export const contains = (range: Range, { family, value }: Address): boolean =>
  family === range.family && value >= range.start && value <= range.end

const overlap = (a: Range, b: Range): boolean => a.family === b.family && a.start <= b.end && b.start <= a.end

export const setContains = (set: RangeSet, address: Address): boolean =>
  set.some((range) => contains(range, address))

/** Whether a number inside of the range may be assigned: all but its gateway. */
export const isAssignable = ({ family, gateway }: Range, value: bigint): boolean =>
  gateway.value !== value || gateway.family !== family

/** Whether there is nothing to assign: no range has more than its gateway. */
export const isEmptySet = (set: RangeSet): boolean =>
  set.every((range) => range.start === range.end && !isAssignable(range, range.start))

const showRange = ({ family, start, end }: Range): string =>
  `${formatAddress(family, start)}-${formatAddress(family, end)}`

/** `10.1.0.2-10.1.0.9,10.1.0.20-10.1.0.29` */
export const showSet = (set: RangeSet): string => set.map(showRange).join(',')

const canonicalSet = (confs: readonly RangeConf[]): RangeSet => {
  if (confs.length === 0) throw new RangeProblem('empty range set')
  const set: Range[] = []
  for (const conf of confs) {
    const range = canonicalRange(conf)
    if (set[0] && set[0].family !== range.family) throw new RangeProblem('mixed address families')
    set.push(range)
  }
  for (const [i, a] of set.entries())
    for (const b of set.slice(i + 1))
      if (overlap(a, b)) throw new RangeProblem(`subnets ${showRange(a)} and ${showRange(b)} overlap`)
  return set
}

/**
 * All range sets of a configuration, in the order of their numbers.
 * @param cniVersion results before 0.3.0 have room for one address of each family
 * @throws RangeProblem
 */
export const canonicalSets = (
  confs: readonly (readonly RangeConf[])[],
  cniVersion: string,
): readonly RangeSet[] => {
  if (confs.length === 0) throw new RangeProblem('no IP ranges specified')
  const sets = confs.map((conf, i) => {
    try {
      return canonicalSet(conf)
    } catch (error) {
      throw error instanceof RangeProblem
        ? new RangeProblem(`invalid range set ${i}: ${error.message}`)
        : error
    }
  })
  const problem = tooManyAddresses(
    sets.map(([range]) => range!.family),
    cniVersion,
  )
  if (problem) throw new RangeProblem(problem)
  for (const [i, a] of sets.entries())
    for (let j = i + 1; j < sets.length; j++)
      if (sets[j]!.some((b) => a.some((range) => overlap(range, b))))
        throw new RangeProblem(`range set ${i} overlaps with ${j}`)
  return sets
}

/** What is wrong with addresses of these families in a result of this version; null where nothing is. */
export const tooManyAddresses = (families: readonly Family[], cniVersion: string): string | null =>
  (cniVersion === '0.1.0' || cniVersion === '0.2.0') && new Set(families).size < families.length
    ? `CNI version ${cniVersion} does not support more than 1 address per family`
    : null

/** A run of numbers of one range, both ends included. */
export interface Stretch {
  readonly range: Range
  readonly from: bigint
  readonly to: bigint
}

/**
 * Every number of a set once, in the order in which they are tried: round about from the one after `last`, or from
 * the beginning where that is not in the set.
 */
export const roundRobin = (set: RangeSet, last: Address | null): Stretch[] => {
  const at = last ? set.findIndex((range) => contains(range, last)) : -1
  const whole = (range: Range): Stretch => ({ range, from: range.start, to: range.end })
  if (!last || at < 0) return set.map(whole)
  const range = set[at]!
  const rest = [...set.slice(at + 1), ...set.slice(0, at)].map(whole)
  return [
    { range, from: last.value + 1n, to: range.end },
    ...rest,
    { range, from: range.start, to: last.value },
  ].filter(({ from, to }) => from <= to)
}
