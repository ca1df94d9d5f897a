/** What a configuration and its arguments make a client say, in a form that can be kept in a file. */
import * as z from 'zod/mini'
import { invalidConfig } from '../../cni/error.ts'
import { type Link, parseMac } from '../../netlink/index.ts'
import type { DhcpConf } from './conf.ts'
import { domainName } from './domain-names.ts'
import { duidUuid, iaidOf } from './duid.ts'
import type { LeaseCall } from './lease-keeper.ts'
import type { Settings as ClientSettings } from './v4/client.ts'
import { duidClientId, goClientId, macClientId, parseClientId } from './v4/client-id.ts'
import { optionCode, optionCodes, write } from './v4/options.ts'
import { type Settings as ClientSettings6, defaultRequest } from './v6/surroundings.ts'

const hex = z.string().check(z.regex(/^([0-9a-f]{2})*$/))

/** Bytes are written as hex digits. */
export const settings = z.object({
  clientId: hex,
  duid: hex,
  iaid: z.int(),
  broadcast: z.boolean(),
  request: z.array(z.int().check(z.gte(0), z.lte(255))),
  provide: z.array(z.tuple([z.int().check(z.gte(0), z.lte(255)), hex])),
  arpProbe: z.boolean(),
  /** Metric of the routes. */
  priority: z.int(),
  /** The configuration says which MTU the interface has: the network's does not count. */
  fixedMtu: z.boolean(),
  waitForRouter: z.boolean(),
  rapidCommit: z.boolean(),
})
export type Settings = z.infer<typeof settings>

/** RFC 3442 wants classless routes before the others. */
const usual: readonly number[] = [
  optionCodes.classlessRoutes,
  optionCodes.subnetMask,
  optionCodes.routers,
  optionCodes.staticRoutes,
  optionCodes.dnsServers,
  optionCodes.domainName,
  optionCodes.domainSearch,
  optionCodes.interfaceMtu,
]

const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const fromHex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))

const codeOf = (name: string): number => {
  const code = optionCode(name)
  if (code === null) throw invalidConfig(`Can not parse option ${JSON.stringify(name)}`)
  return code
}

/** The values of all keys of CNI_ARGS: of a key that is there twice the last. A value may have `=` in it. */
const argumentsOf = (args: string): ReadonlyMap<string, string> =>
  new Map(
    args
      .split(';')
      .filter((pair) => pair.includes('='))
      .map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  )

const requestOf = ({ ipam: { request } }: DhcpConf): number[] => {
  const own = request.flatMap(({ option }) => (option === undefined ? [] : [codeOf(option)]))
  const all = request.some(({ skipDefault }) => skipDefault) ? own : [...own, ...usual]
  const codes = [...new Set(all.length > 0 ? all : usual)]
  // RFC 3442: ahead of all other routes.
  const { classlessRoutes } = optionCodes
  return codes.includes(classlessRoutes)
    ? [classlessRoutes, ...codes.filter((code) => code !== classlessRoutes)]
    : codes
}

/** @throws CniError code 7 where an argument is too long, or is to be a host name and is none */
const provideOf = ({ ipam }: DhcpConf, args: ReadonlyMap<string, string>): Map<number, Uint8Array> => {
  const provided = new Map<number, Uint8Array>()
  const hostName = ipam.hostname === 'pod' ? (args.get('K8S_POD_NAME') ?? '') : ipam.hostname
  if (hostName !== '') {
    if (domainName(hostName) === undefined)
      throw invalidConfig(`K8S_POD_NAME ${JSON.stringify(hostName)} is not a host name`)
    for (const [code, value] of write({ hostName })) provided.set(code, value)
  }
  for (const { option, value, fromArg } of ipam.provide) {
    const text = (fromArg === '' ? '' : args.get(fromArg)) || value
    if (text === '') continue
    const bytes = new TextEncoder().encode(text)
    if (bytes.length > 255)
      throw invalidConfig(`value too long for option ${JSON.stringify(option)}: ${bytes.length} bytes`)
    provided.set(codeOf(option), bytes)
  }
  return provided
}

/**
 * @param found the container's interface
 * @param broadcast what the keeper was told for all its leases
 * @throws CniError code 7
 */
export const settingsOf = (
  conf: DhcpConf,
  call: LeaseCall,
  found: Pick<Link, 'address' | 'kind'>,
  broadcast: boolean,
): Settings => {
  const { ipam, name } = conf
  const { containerId, ifName, args } = call
  const provided = provideOf(conf, argumentsOf(args))
  const duid = duidUuid(containerId)
  const iaid = iaidOf(name, ifName)
  const asked = ipam.clientId === '' ? null : parseClientId(ipam.clientId)
  const clientId =
    // As Go has it: raw, without a type.
    provided.get(optionCodes.clientId) ??
    (asked?.form === 'bytes'
      ? asked.bytes
      : asked?.form === 'mac'
        ? macClientId(1, parseMac(found.address) ?? new Uint8Array(6))
        : asked?.form === 'duid'
          ? duidClientId(iaid, duid)
          : goClientId(containerId, name, ifName))
  provided.delete(optionCodes.clientId)
  return {
    clientId: toHex(clientId),
    duid: toHex(duid),
    iaid,
    // All ipvlan interfaces of a master have its MAC, and get nothing for an address that they do not have yet.
    broadcast: ipam.broadcast ?? (broadcast || found.kind === 'ipvlan'),
    request: requestOf(conf),
    provide: [...provided].map(([code, value]) => [code, toHex(value)]),
    arpProbe: ipam.arpProbe,
    priority: ipam.priority,
    fixedMtu: typeof call.conf.mtu === 'number' && call.conf.mtu > 0,
    waitForRouter: ipam.waitForRouter,
    rapidCommit: ipam.rapidCommit,
  }
}

/** Milliseconds between a message and its repetitions. */
export interface Pace {
  readonly firstTimeout: number
  readonly maxTimeout: number
}

/** For the DHCPv4 client of an interface. */
export const clientSettings = (
  { clientId, broadcast, request, provide, arpProbe }: Settings,
  mac: string,
  { firstTimeout, maxTimeout }: Pace,
): ClientSettings => ({
  mac: parseMac(mac) ?? new Uint8Array(6),
  clientId: fromHex(clientId),
  broadcast,
  request,
  provide: new Map(provide.map(([code, value]) => [code, fromHex(value)])),
  arpProbe,
  firstTimeout,
  maxTimeout,
})

/** For the DHCPv6 client of an interface. */
export const clientSettings6 = ({ duid, iaid, arpProbe, rapidCommit }: Settings): ClientSettings6 => ({
  clientId: fromHex(duid),
  iaid,
  request: defaultRequest,
  provide: new Map(),
  rapidCommit,
  probe: arpProbe,
})
