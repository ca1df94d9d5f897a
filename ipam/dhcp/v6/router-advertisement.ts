/**
 * Router solicitations and advertisements (RFC 4861 sections 4.1 and 4.2), from the ICMPv6 header on. What the message
 * does not show is for whoever has the packet: the checksum, that the hop limit is 255 and that an advertisement's
 * source is link-local (section 6.1.2). The source is the router's address.
 */
import { formatMac } from '../../../netlink/mac.ts'
import { ipv6List, ipv6Text, nameList } from './options.ts'

/** A prefix of the link, section 4.6.2. */
export interface PrefixInformation {
  /** Host bits as they came: they mean nothing. */
  readonly prefix: string
  readonly prefixLength: number
  /** Its addresses are on the link. */
  readonly onLink: boolean
  /** Hosts may make addresses of it. */
  readonly autonomous: boolean
  /** Seconds; 4294967295 means for ever. */
  readonly validLifetime: number
  /** Seconds; 4294967295 means for ever. */
  readonly preferredLifetime: number
}

/** Resolvers and where to search, RFC 8106. */
interface DnsOption {
  /** Seconds; 4294967295 means for ever, 0 that it is to be used no more. */
  readonly lifetime: number
}
export interface RecursiveServers extends DnsOption {
  readonly servers: readonly string[]
}
export interface SearchList extends DnsOption {
  readonly domains: readonly string[]
}

export interface RouterAdvertisement {
  /** 0: the router does not say. */
  readonly hopLimit: number
  /** M: addresses are to be had by DHCPv6. */
  readonly managed: boolean
  /** O: other configuration is to be had by DHCPv6. */
  readonly other: boolean
  /** RFC 4191 section 2.2. */
  readonly preference: 'high' | 'medium' | 'low'
  /** Seconds for which it is a default router; 0: it is none. */
  readonly routerLifetime: number
  /** Milliseconds; 0: the router does not say. */
  readonly reachableTime: number
  /** Milliseconds; 0: the router does not say. */
  readonly retransTimer: number
  readonly prefixes: readonly PrefixInformation[]
  /** Bytes; undefined where the router does not say. */
  readonly mtu: number | undefined
  readonly recursiveServers: readonly RecursiveServers[]
  readonly searchLists: readonly SearchList[]
  /** The router's link-layer address, as a MAC address is written. */
  readonly sourceLinkLayer: string | undefined
}

const ROUTER_SOLICITATION = 133
const ROUTER_ADVERTISEMENT = 134
/** ICMPv6 header included. */
const SOLICITATION_LENGTH = 8
const ADVERTISEMENT_LENGTH = 16
/** Lengths of options are counted in these. */
const UNIT = 8

const SOURCE_LINK_LAYER = 1
const PREFIX_INFORMATION = 3
const MTU = 5
const RDNSS = 25
const DNSSL = 31

const FLAG_MANAGED = 0x80
const FLAG_OTHER = 0x40
const FLAG_ON_LINK = 0x80
const FLAG_AUTONOMOUS = 0x40

/**
 * A router solicitation, its checksum zero.
 * @param sourceLinkLayer the sender's link-layer address, so that a router need not ask for it. Not where the packet
 *   comes from `::` (section 4.1)
 */
export const encodeSolicitation = (sourceLinkLayer?: Uint8Array): Uint8Array => {
  const option = sourceLinkLayer ? Math.ceil((2 + sourceLinkLayer.length) / UNIT) : 0
  const bytes = new Uint8Array(SOLICITATION_LENGTH + option * UNIT)
  bytes[0] = ROUTER_SOLICITATION
  if (sourceLinkLayer) {
    bytes[SOLICITATION_LENGTH] = SOURCE_LINK_LAYER
    bytes[SOLICITATION_LENGTH + 1] = option
    bytes.set(sourceLinkLayer, SOLICITATION_LENGTH + 2)
  }
  return bytes
}

/** Two bits. The fourth value is reserved, and read as the middle one. */
const preferences = ['medium', 'high', 'medium', 'low'] as const

type Collected = {
  prefixes: PrefixInformation[]
  mtu: number | undefined
  recursiveServers: RecursiveServers[]
  searchLists: SearchList[]
  sourceLinkLayer: string | undefined
}

/** Takes what an option says. One of another length than its type has is passed over, as an unknown one is. */
const readOption = (option: Uint8Array, into: Collected): void => {
  const view = new DataView(option.buffer, option.byteOffset, option.byteLength)
  switch (option[0]) {
    case SOURCE_LINK_LAYER:
      // Ethernet's six bytes fill the option.
      if (option.length === UNIT) into.sourceLinkLayer ??= formatMac(option.subarray(2))
      break
    case PREFIX_INFORMATION:
      if (option.length !== 32 || option[2]! > 128) break
      into.prefixes.push({
        prefix: ipv6Text(option.subarray(16, 32)),
        prefixLength: option[2]!,
        onLink: (option[3]! & FLAG_ON_LINK) !== 0,
        autonomous: (option[3]! & FLAG_AUTONOMOUS) !== 0,
        validLifetime: view.getUint32(4),
        preferredLifetime: view.getUint32(8),
      })
      break
    case MTU:
      if (option.length === UNIT) into.mtu ??= view.getUint32(4)
      break
    case RDNSS: {
      const servers = ipv6List.read(option.subarray(8))
      if (servers) into.recursiveServers.push({ lifetime: view.getUint32(4), servers })
      break
    }
    case DNSSL: {
      const domains = nameList.read(option.subarray(8))
      if (domains) into.searchLists.push({ lifetime: view.getUint32(4), domains })
      break
    }
  }
}

/** Reads an advertisement; null for what section 6.1.2 has a host drop, and for any other message. Never throws. */
export const parseAdvertisement = (bytes: Uint8Array): RouterAdvertisement | null => {
  if (bytes.length < ADVERTISEMENT_LENGTH || bytes[0] !== ROUTER_ADVERTISEMENT || bytes[1] !== 0) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const options: Collected = {
    prefixes: [],
    mtu: undefined,
    recursiveServers: [],
    searchLists: [],
    sourceLinkLayer: undefined,
  }
  for (let at = ADVERTISEMENT_LENGTH; at < bytes.length; ) {
    const end = at + (bytes[at + 1] ?? 0) * UNIT
    if (end === at || end > bytes.length) return null
    readOption(bytes.subarray(at, end), options)
    at = end
  }
  const flags = bytes[5]!
  return {
    hopLimit: bytes[4]!,
    managed: (flags & FLAG_MANAGED) !== 0,
    other: (flags & FLAG_OTHER) !== 0,
    preference: preferences[(flags >> 3) & 3]!,
    routerLifetime: view.getUint16(6),
    reachableTime: view.getUint32(8),
    retransTimer: view.getUint32(12),
    ...options,
  }
}
