/** A lease: what a server's DHCPACK grants, in a form that can be kept in a file. */
import * as z from 'zod/mini'
import { parseIp } from '../../../netlink/index.ts'
import type { Message } from './message.ts'
import { type Route, read } from './options.ts'

const time = z.nullable(z.number())
const texts = z.readonly(z.array(z.string()))
const routes = z.readonly(z.array(z.object({ dst: z.string(), router: z.string() })))

/** All that is known of a lease. Moments are milliseconds of the timebase; null: never. */
export const lease4 = z.object({
  version: z.literal(4),
  address: z.ipv4(),
  prefixLength: z.int().check(z.gte(0), z.lte(32)),
  /** Server identifier: where renewals and the release go. */
  server: z.ipv4(),
  /** Where its DHCPACK came from on the link: the server's MAC, or a relay's or router's. Empty: not known. */
  serverMac: z.string(),
  obtainedAt: z.number(),
  renewAt: time,
  rebindAt: time,
  expiresAt: time,
  routers: texts,
  classlessRoutes: z.optional(routes),
  staticRoutes: routes,
  dnsServers: texts,
  domainName: z.string(),
  domainSearch: texts,
  /** Bytes. */
  mtu: z.optional(z.int()),
})
export type Lease4 = z.infer<typeof lease4>

/** Whether it has ended. */
export const isOver = ({ expiresAt }: Lease4, now: number): boolean => expiresAt !== null && now >= expiresAt

/** Seconds, where a server does not say (it must, RFC 2131 table 3). */
const DEFAULT_LEASE_TIME = 3600
const INFINITE = 0xffff_ffff

/** Of the address's class, RFC 791: what a mask is where none is given. */
const classPrefix = (first: number): number => (first < 128 ? 8 : first < 192 ? 16 : 24)

/** Null where the mask has holes. */
const prefixOf = (mask: string): number | null => {
  const bytes = parseIp(mask)
  if (!bytes) return null
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  return /^1*0*$/.test(bits) ? bits.replace(/0+$/, '').length : null
}

/** Whether a host can have it. */
export const isHostAddress = (text: string): boolean => {
  const first = Number(text.split('.')[0])
  return first > 0 && first !== 127 && first < 224
}

/** Those that the kernel takes: by a host, or on the link. One that it refuses would cost the whole lease. */
const leadingSomewhere = (all: readonly Route[] | undefined): Route[] | undefined => {
  const some = all?.filter(({ router }) => router === '0.0.0.0' || isHostAddress(router)) ?? []
  return some.length > 0 ? some : undefined
}

/** T1 and T2 in seconds as the server gives them, or, where they make no sense, 1/2 and 7/8 (RFC 2131 4.4.5). */
const timersOf = (message: Message, leaseTime: number): { readonly t1: number; readonly t2: number } => {
  const t1 = read(message, 'renewalTime') ?? leaseTime / 2
  const t2 = read(message, 'rebindingTime') ?? (leaseTime * 7) / 8
  return t1 > 0 && t1 < t2 && t2 < leaseTime ? { t1, t2 } : { t1: leaseTime / 2, t2: (leaseTime * 7) / 8 }
}

/**
 * Reads an offer or an acknowledgement.
 * @param obtainedAt when the request for it was sent: a lease begins then, RFC 2131 4.4.1
 * @param random of [0, 1): nodes that began together are not to renew together
 * @returns null where it grants nothing that can be used
 */
export const leaseOf = (
  message: Message,
  serverMac: string,
  obtainedAt: number,
  random: number,
): Lease4 | null => {
  const server = read(message, 'serverId')
  const seconds = read(message, 'leaseTime') ?? DEFAULT_LEASE_TIME
  const mask = read(message, 'subnetMask')
  const first = Number(message.yiaddr.split('.')[0])
  const prefixLength = mask === undefined ? classPrefix(first) : prefixOf(mask)
  if (
    !server ||
    !isHostAddress(server) ||
    !isHostAddress(message.yiaddr) ||
    prefixLength === null ||
    prefixLength === 0 ||
    seconds === 0
  )
    return null
  const { t1, t2 } = timersOf(message, seconds)
  const moment = (after: number): number | null =>
    seconds === INFINITE ? null : obtainedAt + Math.round(after * 1000)
  return {
    version: 4,
    address: message.yiaddr,
    prefixLength,
    server,
    serverMac,
    obtainedAt,
    // Up to a twentieth earlier.
    renewAt: moment(t1 * (1 - random / 20)),
    rebindAt: moment(t2),
    expiresAt: moment(seconds),
    routers: (read(message, 'routers') ?? []).filter(isHostAddress),
    classlessRoutes: leadingSomewhere(read(message, 'classlessRoutes')),
    staticRoutes: leadingSomewhere(read(message, 'staticRoutes')) ?? [],
    dnsServers: (read(message, 'dnsServers') ?? []).filter(isHostAddress),
    domainName: read(message, 'domainName') ?? '',
    domainSearch: read(message, 'domainSearch') ?? [],
    mtu: read(message, 'interfaceMtu'),
  }
}
