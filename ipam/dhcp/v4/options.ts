/** The options that a client here sends or understands: a row each. */
import type { Message } from './message.ts'
import {
  bytes,
  choice,
  classfulRoutes,
  classlessRoutes,
  codes,
  ip,
  ips,
  name,
  names,
  number,
  type OptionType,
  text,
} from './option-types.ts'

export type { Route } from './option-types.ts'

/** RFC 2132 section 9.6. */
export const messageTypes = {
  DISCOVER: 1,
  OFFER: 2,
  REQUEST: 3,
  DECLINE: 4,
  ACK: 5,
  NAK: 6,
  RELEASE: 7,
  INFORM: 8,
} as const
export type MessageType = keyof typeof messageTypes

/** The least MTU of IPv4 (RFC 2132 section 5.1). */
const MIN_MTU = 68
/** What every client takes (RFC 2132 section 9.10). */
const MIN_MESSAGE_SIZE = 576

/** The code, and what the value is. RFC 2132, but for those that say otherwise. */
const table = {
  subnetMask: [1, ip],
  routers: [3, ips],
  dnsServers: [6, ips],
  hostName: [12, name],
  domainName: [15, name],
  /** Bytes. */
  interfaceMtu: [26, number(2, MIN_MTU)],
  broadcastAddress: [28, ip],
  staticRoutes: [33, classfulRoutes],
  requestedAddress: [50, ip],
  /** Seconds; 4294967295 means for ever. */
  leaseTime: [51, number(4)],
  messageType: [53, choice(messageTypes)],
  serverId: [54, ip],
  parameterRequestList: [55, codes],
  /** Why a server or a client refuses, for people. */
  message: [56, text],
  /** Bytes, of the whole IP packet. */
  maxMessageSize: [57, number(2, MIN_MESSAGE_SIZE)],
  /** T1, seconds from the lease's beginning. */
  renewalTime: [58, number(4)],
  /** T2, seconds from the lease's beginning. */
  rebindingTime: [59, number(4)],
  vendorClass: [60, text],
  /** Made in client-id.ts. */
  clientId: [61, bytes],
  /** RFC 3004 wants it in parts, most send a text; nothing here looks into it. */
  userClass: [77, bytes],
  /** RFC 3397. */
  domainSearch: [119, names],
  /** RFC 3442. Where it is there, `routers` and `staticRoutes` do not count. */
  classlessRoutes: [121, classlessRoutes],
} as const satisfies Record<string, readonly [code: number, type: OptionType<unknown>]>

type Table = typeof table
export type OptionName = keyof Table

/** The value of an option. */
export type OptionValue<N extends OptionName> = Table[N][1] extends OptionType<infer T> ? T : never

/** Values by name. */
export type OptionValues = { readonly [N in OptionName]?: Readonly<OptionValue<N>> | undefined }

/** The codes by name: for a parameter request list. */
export const optionCodes = Object.fromEntries(
  Object.entries(table).map(([option, [code]]) => [option, code]),
) as { readonly [N in OptionName]: Table[N][0] }

/** What a message says about an option. Undefined where it is absent, and where its value is malformed. */
export const read = <N extends OptionName>(
  message: Pick<Message, 'options'>,
  option: N,
): OptionValue<N> | undefined => {
  const [code, type] = table[option]
  const value = message.options.get(code)
  return value && (type.read(value) as OptionValue<N> | undefined)
}

/**
 * Options of a message in the order of the object's keys; those that are undefined are left out.
 * @throws RangeError for a value that its option can't have
 */
export const write = (values: OptionValues): Map<number, Uint8Array> => {
  const options = new Map<number, Uint8Array>()
  for (const option of Object.keys(values) as OptionName[]) {
    const value = values[option]
    if (value === undefined) continue
    const [code, type] = table[option]
    options.set(code, (type as OptionType<unknown>).write(value))
  }
  return options
}

/**
 * Names of options in configurations. The first six are the Go plugin's, the others dhclient's, of which
 * `classless-static-routes` has several spellings.
 */
const configurationNames: Readonly<Record<string, number>> = {
  'dhcp-client-identifier': 61,
  'subnet-mask': 1,
  routers: 3,
  'host-name': 12,
  'user-class': 77,
  'vendor-class-identifier': 60,
  'domain-name-servers': 6,
  'domain-name': 15,
  'interface-mtu': 26,
  'broadcast-address': 28,
  'static-routes': 33,
  'dhcp-requested-address': 50,
  'dhcp-lease-time': 51,
  'dhcp-message-type': 53,
  'dhcp-server-identifier': 54,
  'dhcp-parameter-request-list': 55,
  'dhcp-message': 56,
  'dhcp-max-message-size': 57,
  'dhcp-renewal-time': 58,
  'dhcp-rebinding-time': 59,
  'domain-search': 119,
  'classless-static-routes': 121,
  'classless-routes': 121,
  'rfc3442-classless-static-routes': 121,
}

/** The code of an option as a configuration names it: a name or a decimal number from 0 to 255. Null where it is none. */
export const optionCode = (option: string): number | null => {
  if (Object.hasOwn(configurationNames, option)) return configurationNames[option]!
  const code = /^[0-9]{1,3}$/.test(option) ? Number(option) : 256
  return code <= 255 ? code : null
}
