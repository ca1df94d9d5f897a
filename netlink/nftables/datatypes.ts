/**
 * nft's data types: how a value is written and read, how long it is, and the number by which nft remembers the type
 * of a set. The kernel does not look at that number, `nft list ruleset` prints elements by it.
 */
import { littleEndian } from '../codec/writer.ts'
import { formatIp, parseIp } from '../ip.ts'
import { formatMac, parseMac } from '../mac.ts'

/** A value as a person writes it. */
export type Scalar = string | number

export interface DataType {
  /** nft's word: `ipv4_addr`. */
  readonly name: string
  /** nft's number (`enum datatypes`). */
  readonly id: number
  /** Bytes. */
  readonly size: number
  /** Byte order of the value in packets and sets; nft counts strings as host order, and some single bytes as none. */
  readonly order: 'big' | 'host' | 'none'
  /** Throws RangeError for what is no value of the type. */
  encode(value: Scalar): Uint8Array
  /** The usual text form; names where there are any. */
  decode(bytes: Uint8Array): string
}

const invalid = (value: Scalar, what: string): never => {
  throw new RangeError(`${JSON.stringify(value)} is not ${what}`)
}

/** Number of a decimal or 0x text. */
const toNumber = (value: Scalar, size: number, what: string): number => {
  const number =
    typeof value === 'string' && /^(?:0x[0-9a-f]{1,8}|[0-9]{1,10})$/i.test(value) ? Number(value) : value
  if (typeof number !== 'number' || !Number.isInteger(number) || number < 0 || number >= 2 ** (8 * size))
    return invalid(value, what)
  return number
}

const integer = (
  name: string,
  id: number,
  size: 1 | 2 | 4,
  order: DataType['order'],
  names: Readonly<Record<string, number>> = {},
  print: (number: number) => string = String,
): DataType => {
  const little = order === 'host' && littleEndian
  const byNumber = new Map<number, string>()
  for (const [word, number] of Object.entries(names)) if (!byNumber.has(number)) byNumber.set(number, word)
  return {
    name,
    id,
    size,
    order,
    encode(value) {
      const number =
        typeof value === 'string' && Object.hasOwn(names, value)
          ? names[value]!
          : toNumber(value, size, `a value of type ${name}`)
      const bytes = new Uint8Array(size)
      for (let i = 0; i < size; i++) bytes[little ? i : size - 1 - i] = (number >>> (8 * i)) & 0xff
      return bytes
    },
    decode(bytes) {
      let number = 0
      for (let i = 0; i < bytes.length; i++) number = number * 256 + bytes[little ? bytes.length - 1 - i : i]!
      return byNumber.get(number) ?? print(number)
    },
  }
}

const hex = (digits: number) => (number: number) => `0x${number.toString(16).padStart(digits, '0')}`

const address = (name: string, id: number, size: 4 | 16): DataType => ({
  name,
  id,
  size,
  order: 'big',
  encode(value) {
    const bytes = typeof value === 'string' ? parseIp(value) : null
    return bytes?.length === size ? bytes : invalid(value, `an IPv${size === 4 ? 4 : 6} address`)
  },
  decode: formatIp,
})

const encoder = new TextEncoder()

/** IFNAMSIZ, the NUL included. */
const IFNAMSIZ = 16
const interfaceName: DataType = {
  name: 'ifname',
  id: 41,
  size: IFNAMSIZ,
  order: 'host',
  encode(value) {
    const name = encoder.encode(String(value))
    if (name.length === 0 || name.length >= IFNAMSIZ || name.includes(0))
      return invalid(value, 'an interface name')
    const bytes = new Uint8Array(IFNAMSIZ)
    bytes.set(name)
    return bytes
  },
  decode(bytes) {
    const end = bytes.indexOf(0)
    return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
  },
}

const macAddress: DataType = {
  name: 'ether_addr',
  id: 9,
  size: 6,
  order: 'big',
  encode(value) {
    const bytes = typeof value === 'string' ? parseMac(value) : null
    return bytes?.length === 6 ? bytes : invalid(value, 'an Ethernet address')
  },
  decode: formatMac,
}

/** IPPROTO_* by nft's words. */
export const protocols = {
  icmp: 1,
  igmp: 2,
  tcp: 6,
  udp: 17,
  dccp: 33,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: 58,
  'ipv6-icmp': 58,
  comp: 108,
  sctp: 132,
  udplite: 136,
} as const

/** Bits of `ct state` (NF_CT_STATE_BIT) by nft's words. */
export const ctStates = { invalid: 1, established: 2, related: 4, new: 8, untracked: 64 } as const
/** Bits of `ct status` (IPS_*). */
export const ctStatuses = {
  expected: 1,
  'seen-reply': 2,
  assured: 4,
  confirmed: 8,
  snat: 16,
  dnat: 32,
  dying: 512,
} as const
/** Bits of `tcp flags`. */
export const tcpFlags = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ecn: 64, cwr: 128 } as const

const icmpTypes = {
  'echo-reply': 0,
  'destination-unreachable': 3,
  'source-quench': 4,
  redirect: 5,
  'echo-request': 8,
  'router-advertisement': 9,
  'router-solicitation': 10,
  'time-exceeded': 11,
  'parameter-problem': 12,
  'timestamp-request': 13,
  'timestamp-reply': 14,
} as const
const icmpv6Types = {
  'destination-unreachable': 1,
  'packet-too-big': 2,
  'time-exceeded': 3,
  'parameter-problem': 4,
  'echo-request': 128,
  'echo-reply': 129,
  'mld-listener-query': 130,
  'mld-listener-report': 131,
  'mld-listener-done': 132,
  'nd-router-solicit': 133,
  'nd-router-advert': 134,
  'nd-neighbor-solicit': 135,
  'nd-neighbor-advert': 136,
  'nd-redirect': 137,
  'mld2-listener-report': 143,
} as const
/** RTN_*, of `fib daddr type`. */
const routeTypes = {
  unspec: 0,
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
} as const

/** The types by nft's names. */
export const dataTypes = {
  nf_proto: integer('nf_proto', 2, 1, 'none', { ipv4: 2, ipv6: 10 }),
  ipv4_addr: address('ipv4_addr', 7, 4),
  ipv6_addr: address('ipv6_addr', 8, 16),
  ether_addr: macAddress,
  ether_type: integer(
    'ether_type',
    10,
    2,
    'big',
    { ip: 0x800, arp: 0x806, ip6: 0x86dd, vlan: 0x8100 },
    hex(4),
  ),
  arp_op: integer('arp_op', 11, 2, 'big', { request: 1, reply: 2 }),
  inet_proto: integer('inet_proto', 12, 1, 'none', protocols),
  inet_service: integer('inet_service', 13, 2, 'big'),
  icmp_type: integer('icmp_type', 14, 1, 'big', icmpTypes),
  tcp_flag: integer('tcp_flag', 15, 1, 'big', tcpFlags, hex(2)),
  mark: integer('mark', 19, 4, 'host', {}, hex(8)),
  iface_index: integer('iface_index', 20, 4, 'host'),
  iface_type: integer('iface_type', 21, 2, 'host', { ether: 1, ppp: 512, loopback: 772 }),
  ct_state: integer('ct_state', 26, 4, 'host', ctStates, hex(8)),
  ct_dir: integer('ct_dir', 27, 1, 'none', { original: 0, reply: 1 }),
  ct_status: integer('ct_status', 28, 4, 'host', ctStatuses, hex(8)),
  icmpv6_type: integer('icmpv6_type', 29, 1, 'big', icmpv6Types),
  pkt_type: integer('pkt_type', 31, 1, 'host', { host: 0, broadcast: 1, multicast: 2, other: 3 }),
  devgroup: integer('devgroup', 35, 4, 'host', { default: 0 }),
  fib_addrtype: integer('fib_addrtype', 38, 4, 'host', routeTypes),
  boolean: integer('boolean', 39, 4, 'host', { missing: 0, exists: 1 }),
  ifname: interfaceName,
} as const satisfies Record<string, DataType>
export type DataTypeName = keyof typeof dataTypes

const byId = new Map<number, DataType>(Object.values(dataTypes).map((type) => [type.id, type]))

/** Bits of one type in the number of a concatenation (TYPE_BITS of nft). */
const TYPE_BITS = 6

/** nft's number of a concatenation: the parts' numbers, six bits each. */
export const concatId = (types: readonly DataType[]): number =>
  types.reduce((id, type) => ((id << TYPE_BITS) | type.id) >>> 0, 0)

/** The types in a number, undefined where one is unknown. */
export const typesOfId = (id: number): readonly DataType[] | undefined => {
  const types: DataType[] = []
  for (let rest = id; rest > 0; rest >>>= TYPE_BITS) {
    const type = byId.get(rest & ((1 << TYPE_BITS) - 1))
    if (!type) return undefined
    types.unshift(type)
  }
  return types.length > 0 ? types : undefined
}
