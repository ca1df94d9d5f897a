/**
 * ip-num, and the only file that knows it. Importing it costs 10 ms in a process that lives for 30: at start it builds
 * 16 well-known ranges, the IPv6 ones through regular expressions of more than 1 kB; then 9 to 21 µs for every address
 * that it reads. So it is loaded when somebody wants to know about a pool (STATUS, a pool that is full, tools); an ADD
 * computes with plain bigints (address.ts, ranges.ts), and the tests hold those against ip-num.
 *
 * Two things to know before using more of it: `IPv6.toString()` is not RFC 5952 (`collapseIPv6Number` is), and
 * `RangedSet.isOverlapping` is false for ranges that have only one end in common (10.0.0.1-10.0.0.5 and
 * 10.0.0.5-10.0.0.9).
 */
import {
  type AbstractIPNum,
  collapseIPv6Number,
  IPv4,
  IPv4CidrRange,
  IPv4Prefix,
  IPv6,
  IPv6CidrRange,
  IPv6Prefix,
  RangedSet,
} from 'ip-num'
import type { Range, RangeSet } from './ranges.ts'

/** A range set in numbers and words. */
export interface Pool {
  /** How many addresses it can assign: all of its ranges but the gateways that lie in them. */
  readonly size: bigint
  /** `253 addresses: 10.1.0.2-10.1.0.254 of 10.1.0.0/24 without the gateway 10.1.0.1` */
  readonly text: string
}

const describe = <T extends AbstractIPNum>(
  first: T,
  last: T,
  gateway: T | null,
  print: (address: T) => string,
  subnet: string,
): Pool => {
  const range = new RangedSet(first, last)
  const without = gateway !== null && range.contains(RangedSet.fromSingleIP(gateway))
  return {
    size: range.getSize() - (without ? 1n : 0n),
    text: `${print(first)}-${print(last)} of ${subnet}${without ? ` without the gateway ${print(gateway)}` : ''}`,
  }
}

const describeRange = ({ family, start, end, prefix, gateway }: Range): Pool => {
  const own = gateway.family === family
  const length = BigInt(prefix)
  if (family === 4) {
    const [first, last] = [IPv4.fromNumber(start), IPv4.fromNumber(end)]
    const network = new IPv4CidrRange(first, IPv4Prefix.fromNumber(length)).getFirst()
    const subnet = `${network.toString()}/${prefix}`
    return describe(first, last, own ? IPv4.fromNumber(gateway.value) : null, String, subnet)
  }
  const print = (address: IPv6): string => collapseIPv6Number(address.toString())
  const [first, last] = [IPv6.fromBigInt(start), IPv6.fromBigInt(end)]
  const subnet = `${print(new IPv6CidrRange(first, IPv6Prefix.fromNumber(length)).getFirst())}/${prefix}`
  return describe(first, last, own ? IPv6.fromBigInt(gateway.value) : null, print, subnet)
}

export const describePool = (set: RangeSet): Pool => {
  const ranges = set.map(describeRange)
  const size = ranges.reduce((sum, range) => sum + range.size, 0n)
  return {
    size,
    text: `${size} ${size === 1n ? 'address' : 'addresses'}: ${ranges.map(({ text }) => text).join(', ')}`,
  }
}
