/**
 * Results of all versions of the spec. Inside there is one shape, that of 1.1.0; this file reads the others into it
 * and prints it as any of them, in Go's order of keys and text forms.
 */
import * as z from 'zod/mini'
import { canonicalCidr, formatIp, parseIp } from '../netlink/ip.ts'
import { CniError, codes } from './error.ts'
import { cidr, dns, int, ip, route as routeConf, text } from './fields.ts'
import { isObject, lookup } from './fold.ts'
import { goString } from './json.ts'
import { parseConf } from './schema.ts'
import type { Dns, Interface, IpConfig, JsonObject, Result, Route } from './types.ts'
import { currentVersion } from './version.ts'

/** Versions whose results have one shape. */
const shapes = [
  { versions: ['', '0.1.0', '0.2.0'], old: true },
  { versions: ['0.3.0', '0.3.1', '0.4.0'], old: false },
  { versions: ['1.0.0', '1.1.0'], old: false },
] as const

const shapeOf = (version: string) =>
  shapes.find(({ versions }) => versions.some((known) => known === version))

/** Built when a result is first read: most calls of an executable read none. */
const once = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

const route = once(() => {
  const number = z.optional(int)
  return z.object({
    ...routeConf.shape,
    mtu: number,
    advmss: number,
    priority: number,
    table: number,
    scope: number,
  })
})

const interfaceSchema = once(() => {
  const word = z.optional(text)
  return z.object({
    name: z._default(text, ''),
    mac: word,
    mtu: z.optional(int),
    sandbox: word,
    socketPath: word,
    pciID: word,
  })
})

const resultSchema = once(() =>
  z.object({
    interfaces: z.optional(z.array(interfaceSchema())),
    ips: z.optional(
      z.array(z.object({ address: cidr, gateway: z.optional(ip), interface: z.optional(int) })),
    ),
    routes: z.optional(z.array(route())),
    dns: z.optional(dns),
  }),
)

const oldResultSchema = once(() => {
  const entry = z.optional(
    z.object({ ip: cidr, gateway: z.optional(ip), routes: z.optional(z.array(route())) }),
  )
  return z.object({ ip4: entry, ip6: entry, dns: z.optional(dns) })
})

const fromOld = ({ ip4, ip6, dns }: z.infer<ReturnType<typeof oldResultSchema>>): Result => {
  const both = [ip4, ip6].filter((entry) => entry !== undefined)
  return {
    ips: both.map(({ ip, gateway }) => ({ address: ip, gateway })),
    routes: both.flatMap(({ routes = [] }) => routes),
    dns,
  }
}

/**
 * Reads a result of a known version. `cniVersion` inside it may be missing, but not of another shape.
 * @param prefix what the result is, for the error: `could not parse prevResult: `
 * @throws CniError code 7
 */
export const parseResult = (json: unknown, version: string, prefix = ''): Result => {
  const fail = (msg: string, details?: string) =>
    new CniError({ code: codes.invalidConfig, msg: prefix + msg, details })
  const shape = shapeOf(version)
  if (!shape) throw fail(`unsupported CNI result version ${goString(version)}`)
  if (isObject(json)) {
    const own = lookup(json, 'cniVersion') ?? ''
    if (typeof own !== 'string') throw fail(`cniVersion: expected string, got ${typeof own}`)
    if (own !== '' && shapeOf(own) !== shape)
      throw fail(
        `result type supports [${shape.versions.join(' ')}] but unmarshalled CNIVersion is ${goString(own)}`,
        `the configuration's cniVersion is ${goString(version)}`,
      )
  }
  try {
    return shape.old
      ? fromOld(parseConf(oldResultSchema(), json, 'result'))
      : parseConf(resultSchema(), json, 'result')
  } catch (error) {
    if (!(error instanceof CniError)) throw error
    throw fail(error.msg.replace(/^failed to load netconf: /, ''), error.details)
  }
}

/** Reads a result by the `cniVersion` it names itself, or else by the given one. @throws CniError code 7 */
export const parseOwnResult = (json: unknown, version: string, prefix = ''): Result => {
  const own = isObject(json) ? lookup(json, 'cniVersion') : undefined
  return parseResult(json, typeof own === 'string' && own !== '' ? own : version, prefix)
}

const isIpv4 = (address: string): boolean => parseIp(address.split('/')[0]!)?.length === 4

/** As Go prints it: canonical address, host bits kept, IPv4-mapped addresses as IPv4. */
const cidrText = (value: string): string => {
  const text = canonicalCidr(value)
  if (text === null)
    throw new RangeError(`${goString(value)} in a result is not an IP address with a prefix length`)
  return text
}

const ipText = (value: string | undefined): string | undefined => {
  if (!value) return undefined
  const parsed = parseIp(value)
  if (!parsed) throw new RangeError(`${goString(value)} in a result is not an IP address`)
  return formatIp(parsed)
}

/** Go's omitempty: nothing for the empty text, 0 and empty lists. JSON.stringify leaves undefined out. */
const some = <T>(value: readonly T[] | undefined): readonly T[] | undefined =>
  value && value.length > 0 ? value : undefined
const or = <T extends string | number>(value: T | undefined): T | undefined => value || undefined

const dnsJson = ({ nameservers, domain, search, options }: Dns): JsonObject => ({
  nameservers: some(nameservers),
  domain: or(domain),
  search: some(search),
  options: some(options),
})

const sorted = (json: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(json).sort(([a], [b]) => (a < b ? -1 : 1)))

const routeJson = ({ dst, gw, mtu, advmss, priority, table, scope }: Route): JsonObject => ({
  dst: cidrText(dst),
  gw: ipText(gw),
  mtu: or(mtu),
  advmss: or(advmss),
  priority: or(priority),
  table,
  scope,
})

const ipJson = ({ address, gateway, interface: index }: IpConfig): JsonObject => ({
  address: cidrText(address),
  gateway: ipText(gateway),
  interface: index,
})

const interfaceJson = ({ name, mac, mtu, sandbox, socketPath, pciID }: Interface): JsonObject => ({
  mac: or(mac),
  mtu: or(mtu),
  name,
  pciID: or(pciID),
  sandbox: or(sandbox),
  socketPath: or(socketPath),
})

const isEmptyDns = ({ nameservers, domain, search, options }: Dns): boolean =>
  !domain && !nameservers?.length && !search?.length && !options?.length

const toNew = ({ interfaces, ips, routes, dns = {} }: Result, version: string): JsonObject => ({
  cniVersion: version,
  dns: isEmptyDns(dns) ? undefined : sorted(dnsJson(dns)),
  interfaces: some(interfaces?.map(interfaceJson)),
  ips: some(ips?.map(ipJson)),
  routes: some(routes?.map((route) => sorted(routeJson(route)))),
})

const toMiddle = ({ interfaces, ips, routes, dns = {} }: Result, version: string): JsonObject => ({
  cniVersion: version,
  interfaces: some(
    interfaces?.map(({ name, mac, sandbox }) => ({ name, mac: or(mac), sandbox: or(sandbox) })),
  ),
  ips: some(
    ips?.map((entry) => ({
      version: isIpv4(entry.address) ? '4' : '6',
      interface: entry.interface,
      address: cidrText(entry.address),
      gateway: ipText(entry.gateway),
    })),
  ),
  routes: some(routes?.map(routeJson)),
  dns: dnsJson(dns),
})

const toOld = ({ ips = [], routes = [], dns = {} }: Result, version: string): JsonObject => {
  const family = (four: boolean): JsonObject | undefined => {
    const first = ips.find(({ address }) => isIpv4(address) === four)
    return (
      first && {
        ip: cidrText(first.address),
        gateway: ipText(first.gateway),
        routes: some(
          routes
            .filter(({ dst }) => isIpv4(dst) === four)
            .map(({ dst, gw }) => ({ dst: cidrText(dst), gw: ipText(gw) })),
        ),
      }
    )
  }
  const [ip4, ip6] = [family(true), family(false)]
  if (!ip4 && !ip6)
    throw new CniError({
      code: codes.internal,
      msg: 'cannot convert: no valid IP addresses',
      details: `a result of cniVersion ${version} needs an address; use cniVersion 0.3.0 or newer`,
    })
  return { cniVersion: version, ip4, ip6, dns: dnsJson(dns) }
}

/**
 * A result in the shape of a version, its keys in the order Go prints them. Absent values are undefined: print it with
 * `printJson`.
 * @throws CniError code 999 where it can't be expressed: `cannot convert: no valid IP addresses` (before 0.3.0)
 */
export const toVersion = (result: Result, version: string = currentVersion): JsonObject => {
  const shape = shapeOf(version)
  if (!shape)
    throw new CniError({
      code: codes.internal,
      msg: `no converter for CNI result version ${goString(version)}`,
    })
  if (shape === shapes[2]) return toNew(result, version)
  if (shape === shapes[1]) return toMiddle(result, version)
  return toOld(result, version || '0.1.0')
}
