/** A lease: what a server's message grants to an interface, in a form that can be kept in a file. */
import * as z from 'zod/mini'
import { parseIp } from '../../../netlink/ip.ts'
import type { Message } from './message.ts'
import { type IaAddress, type IaNa, INFINITY, type StatusCode } from './options.ts'

const moment = z.nullable(z.number())
const isIpv6 = (text: string): boolean => text.includes(':') && parseIp(text) !== null
const ipv6 = z.string().check(z.refine(isIpv6, 'not an IPv6 address'))

/** All that is known of a lease. Moments are milliseconds of the timebase; null: never. */
export const lease6 = z.object({
  version: z.literal(6),
  address: ipv6,
  /** What else is on the link is for routers to say (RFC 8415 section 18.2.10.1). */
  prefixLength: z.literal(128),
  /** DUID of the server that gave it, in hex. */
  server: z.string().check(z.regex(/^([0-9a-f]{2}){3,130}$/)),
  obtainedAt: z.number(),
  renewAt: moment,
  rebindAt: moment,
  /** From then on the address is not for new connections. */
  preferredUntil: moment,
  expiresAt: moment,
  dnsServers: z.array(z.string()),
  domainSearch: z.array(z.string()),
})
export type Lease6 = z.infer<typeof lease6>

/** Why a message gives no lease: what the server says, or that it says nothing, or takes the address away. */
export type Refusal = Exclude<StatusCode, 'Success'> | 'missing' | 'withdrawn'

export type Answer =
  | { readonly lease: Lease6; readonly refusal?: undefined; readonly text?: undefined }
  | { readonly lease?: undefined; readonly refusal: Refusal; readonly text: string }

/** Who asked, and when the answer came. */
export interface Asked {
  readonly iaid: number
  /** The address that the client has; null where it has none. */
  readonly held: string | null
  readonly now: number
}

/** Whether an interface can have it: not multicast, not of the link, not of the block of `::`, `::1` and mapped ones. */
export const isHostAddress = (text: string): boolean => {
  const bytes = isIpv6(text) ? parseIp(text) : null
  if (bytes?.length !== 16) return false
  const [first, second] = bytes as unknown as [number, number]
  return first !== 0 && first !== 0xff && !(first === 0xfe && (second & 0xc0) === 0x80)
}

const isServerAddress = (text: string): boolean => !/^(::|ff)/.test(text)

/** Seconds of T1 and T2, where the server leaves them to the client (sections 14.2 and 21.4) or says what can't be. */
const timersOf = ({ t1, t2 }: IaNa, { preferredLifetime, validLifetime }: IaAddress) => {
  // An address that is deprecated already can still be extended.
  const base = preferredLifetime || validLifetime
  const of = (part: number, seconds: number): number => (seconds === INFINITY ? INFINITY : part * seconds)
  const rebind = t2 || of(0.8, base)
  let renew = t1 || of(0.5, base)
  // A time after the end would mean never; never has a value of its own.
  if (renew !== INFINITY && renew >= validLifetime) renew = of(0.5, validLifetime)
  return { renew: Math.min(renew, t1 ? INFINITY : rebind), rebind: Math.max(rebind, t2 ? 0 : renew) }
}

const isFailure = (status: { readonly code: StatusCode } | undefined): boolean =>
  status !== undefined && status.code !== 'Success'

/** Whether an address that the client has is taken from it. */
const takes = ({ iaAddress = [] }: IaNa, held: string | null): boolean =>
  iaAddress.some(({ address, validLifetime }) => address === held && validLifetime === 0)

/** The address to use: the one that is held where it may be kept, or else the first that is not deprecated. */
const choose = (addresses: readonly IaAddress[], held: string | null): IaAddress | undefined => {
  const usable = addresses.filter(
    ({ address, preferredLifetime, validLifetime, statusCode }) =>
      isHostAddress(address) &&
      validLifetime > 0 &&
      preferredLifetime <= validLifetime &&
      !isFailure(statusCode),
  )
  return (
    usable.find(({ address }) => address === held) ??
    usable.find(({ preferredLifetime }) => preferredLifetime > 0) ??
    usable[0]
  )
}

/**
 * Reads what an ADVERTISE or a REPLY says about an interface (sections 18.2.9 and 18.2.10.1).
 * @param server DUID in hex, from the same message
 */
export const answerOf = ({ options }: Message, server: string, { iaid, held, now }: Asked): Answer => {
  const refused = (refusal: Refusal, text = ''): Answer => ({ refusal, text })
  const { statusCode } = options
  if (statusCode && statusCode.code !== 'Success') {
    const { code, message } = statusCode
    // That an address is off the link, dnsmasq says by lifetimes of 0, and calls the whole NoAddrsAvail.
    return refused(
      options.iaNa?.some((one) => one.iaid === iaid && takes(one, held)) ? 'withdrawn' : code,
      message,
    )
  }
  // T1 after T2: as if it were not there (section 21.4).
  const ia = options.iaNa?.find((one) => one.iaid === iaid && !(one.t1 > one.t2 && one.t2 > 0))
  if (!ia) return refused('missing')
  if (ia.statusCode && ia.statusCode.code !== 'Success')
    return refused(ia.statusCode.code, ia.statusCode.message)
  const addresses = ia.iaAddress ?? []
  const chosen = choose(addresses, held)
  if (!chosen) {
    const failed = addresses.find((one) => isFailure(one.statusCode))?.statusCode
    if (failed && failed.code !== 'Success') return refused(failed.code, failed.message)
    return refused(takes(ia, held) ? 'withdrawn' : 'missing')
  }
  const { renew, rebind } = timersOf(ia, chosen)
  const after = (seconds: number): number | null =>
    seconds === INFINITY ? null : now + Math.round(seconds * 1000)
  return {
    lease: {
      version: 6,
      address: chosen.address,
      prefixLength: 128,
      server,
      obtainedAt: now,
      renewAt: after(renew),
      rebindAt: after(rebind),
      preferredUntil: after(chosen.preferredLifetime),
      expiresAt: after(chosen.validLifetime),
      dnsServers: (options.dnsServers ?? []).filter(isServerAddress),
      domainSearch: [...(options.domainSearch ?? [])],
    },
  }
}

/** A refusal in words. @param server DUID in hex */
export const describeRefusal = (server: string, refusal: Refusal, text: string): string => {
  if (refusal === 'missing') return `server ${server} gave no address that can be used`
  const why = text && `: ${text}`
  if (refusal === 'withdrawn') return `server ${server} took the address back${why}`
  return `server ${server} said ${typeof refusal === 'number' ? `status ${refusal}` : refusal}${why}`
}

/** The first of some moments; null: never. */
export const earliest = (...moments: readonly (number | null)[]): number | null => {
  const some = moments.filter((one) => one !== null)
  return some.length > 0 ? Math.min(...some) : null
}
