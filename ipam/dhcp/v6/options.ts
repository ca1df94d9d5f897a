/** The options that a client here sends or understands: a row each. RFC 8415, but for those that say otherwise. */
import { formatIp, parseIp } from '../../../netlink/ip.ts'
import { decodeNames, encodeNames } from '../domain-names.ts'
import { number, type OptionType, text } from '../v4/option-types.ts'
import { container, optionTable } from './option-table.ts'

/** Seconds of a lifetime or of T1 and T2 that never end (section 7.7). */
export const INFINITY = 0xffff_ffff

/** Section 21.13. */
export const statusCodes = {
  Success: 0,
  UnspecFail: 1,
  NoAddrsAvail: 2,
  NoBinding: 3,
  NotOnLink: 4,
  UseMulticast: 5,
  NoPrefixAvail: 6,
} as const

/** A name, or the number itself where it has no name here. */
export type StatusCode = keyof typeof statusCodes | number

export interface Status {
  readonly code: StatusCode
  /** For people, fit for a log. */
  readonly message: string
}

const IPV6 = 16
const BYTES_MAPPED = 12

/** Text of 16 bytes. An IPv4-mapped address stays one of IPv6. */
export const ipv6Text = (bytes: Uint8Array): string => {
  const text = formatIp(bytes)
  return text.includes(':') ? text : `::ffff:${text}`
}

const ipv6Bytes = (text: string): Uint8Array => {
  const bytes = text.includes(':') ? parseIp(text) : null
  if (!bytes) throw new RangeError(`${JSON.stringify(text)} is not an IPv6 address`)
  if (bytes.length === IPV6) return bytes
  const mapped = new Uint8Array(IPV6).fill(0xff, BYTES_MAPPED - 2)
  mapped.set(bytes, BYTES_MAPPED)
  return mapped
}

export const ipv6: OptionType<string> = {
  write: ipv6Bytes,
  read: (bytes) => (bytes.length === IPV6 ? ipv6Text(bytes) : undefined),
}

/** Addresses, the preferred one first. None is malformed. */
export const ipv6List: OptionType<string[]> = {
  write: (value) => Uint8Array.from(value.flatMap((one) => [...ipv6Bytes(one)])),
  read(bytes) {
    if (bytes.length === 0 || bytes.length % IPV6 !== 0) return undefined
    return Array.from({ length: bytes.length / IPV6 }, (_, i) =>
      ipv6Text(bytes.subarray(i * IPV6, (i + 1) * IPV6)),
    )
  },
}

/** Names, none compressed (section 10). */
export const nameList: OptionType<string[]> = {
  write: encodeNames,
  read: (bytes) => decodeNames(bytes, { compression: false }),
}

/** Two bytes of type, and one to 128 of what only their maker understands (section 11.1). */
const duid: OptionType<Uint8Array> = {
  write(value) {
    if (value.length < 3 || value.length > 130)
      throw new RangeError(`a DUID has 3 to 130 bytes, not ${value.length}`)
    return value
  },
  read: (bytes) => (bytes.length >= 3 && bytes.length <= 130 ? bytes : undefined),
}

/** Option codes. */
const codeList: OptionType<number[]> = {
  write(value) {
    const code = number(2)
    return Uint8Array.from(value.flatMap((one) => [...code.write(one)]))
  },
  read(bytes) {
    if (bytes.length % 2 !== 0) return undefined
    return Array.from({ length: bytes.length / 2 }, (_, i) => (bytes[2 * i]! << 8) | bytes[2 * i + 1]!)
  },
}

/** There or not there. `false` can't be written: leave it out. */
const flag: OptionType<true> = {
  write: () => new Uint8Array(0),
  read: (bytes) => (bytes.length === 0 ? true : undefined),
}

const statusNames = new Map<number, StatusCode>(
  Object.entries(statusCodes).map(([name, code]) => [code, name as keyof typeof statusCodes]),
)

const status: OptionType<Status> = {
  write({ code, message }) {
    const forPeople = message === '' ? [] : text.write(message)
    return Uint8Array.of(
      ...number(2).write(typeof code === 'number' ? code : statusCodes[code]),
      ...forPeople,
    )
  },
  read(bytes) {
    if (bytes.length < 2) return undefined
    const code = (bytes[0]! << 8) | bytes[1]!
    return { code: statusNames.get(code) ?? code, message: text.read(bytes.subarray(2)) ?? '' }
  },
}

const statusCode = [13, status] as const

/** Section 21.6. */
const iaAddress = container(
  {
    address: [IPV6, ipv6],
    /** Seconds. */
    preferredLifetime: [4, number(4)],
    /** Seconds. */
    validLifetime: [4, number(4)],
  },
  optionTable({ statusCode }),
)

/** Section 21.4. */
const iaNa = container(
  {
    iaid: [4, number(4)],
    /** Seconds until the client asks the server for more time; 0: its own choice. */
    t1: [4, number(4)],
    /** Seconds until it asks any server. */
    t2: [4, number(4)],
  },
  optionTable({ iaAddress: [5, iaAddress, 'multi'], statusCode }),
)

export const optionRows = optionTable({
  clientId: [1, duid],
  serverId: [2, duid],
  iaNa: [3, iaNa, 'multi'],
  /** Options that the client would like to have. */
  optionRequest: [6, codeList],
  preference: [7, number(1)],
  /** Hundredths of a second. */
  elapsedTime: [8, number(2)],
  statusCode,
  rapidCommit: [14, flag],
  /** RFC 3646. */
  dnsServers: [23, ipv6List],
  /** RFC 3646. */
  domainSearch: [24, nameList],
  /** Seconds, section 21.23. */
  informationRefreshTime: [32, number(4)],
  /** Seconds, section 21.24. */
  solMaxRt: [82, number(4)],
  /** Seconds, section 21.25. */
  infMaxRt: [83, number(4)],
})

/** The codes by name. */
export const optionCodes = optionRows.codes

/** The options of a message, or a part of them. */
export type Options = typeof optionRows extends OptionType<infer T> ? T : never
export type IaNa = NonNullable<Options['iaNa']>[number]
export type IaAddress = NonNullable<IaNa['iaAddress']>[number]
