/**
 * The elements of an attachment, and the set that lists them: `portmap_of_HASH` in each table. Elements are found by it
 * with a few questions by key; a list of all elements would take longer with each container of the host.
 */
import { formatIp, network as networkOf, parseCidr, parseIp } from '../../netlink/ip.ts'
import {
  dataTypes,
  type RawElement,
  rawComment,
  rawElements,
  type SetElement,
  type SetOptions,
  type SetRef,
} from '../../netlink/nftables/index.ts'
import { masqueradeComment } from '../shared/masquerade-nftables.ts'
import { type Conditions, parseConditions } from './conditions.ts'
import { type Forwarding, type Owner, type PortMapping, protocols } from './forwarding.ts'
import { type HostTable, hostTables, mapFor, snatPrefix, snatSet, table } from './nftables-tables.ts'

/** Whose an element is, for programs and for people: `HASH-HASH, net: …, if: …, id: …`. */
export const ownerComment = (owner: Owner): string => masqueradeComment(owner)
/** Characters of the two hashes in it, and of the first. */
const HASHES = 33
const NETWORK_HASH = 16
/** What the comments of an attachment's elements begin with. */
export const ownerMark = (owner: Owner): string => ownerComment(owner).slice(0, HASHES)
/** What the comments of a network's elements begin with. */
export const networkMark = (network: string): string =>
  `${ownerComment({ network, containerId: '', ifName: '' }).slice(0, NETWORK_HASH)}-`
/** The mark of an element; undefined where it has none. */
export const markOf = (element: RawElement): string | undefined => {
  const mark = rawComment(element)?.slice(0, HASHES)
  return mark !== undefined && /^[0-9a-f]{16}-[0-9a-f]{16}$/.test(mark) ? mark : undefined
}

const listName = 'portmap_of_'
/** The mark that the name of a set of this kind ends with; undefined for another set. */
export const markOfList = (set: string): string | undefined =>
  set.startsWith(listName) ? set.slice(listName.length) : undefined

/** The set that lists an attachment's elements. */
export const listSet = (
  { family, address }: HostTable,
  mark: string,
  details: { readonly size?: number; readonly comment?: string | undefined } = {},
): SetOptions => ({
  family,
  table,
  set: `${listName}${mark}`,
  key: [address, 'inet_proto', 'inet_service', address],
  ...details,
})

/** An element, and the set or map that it is in. */
export interface Placed {
  readonly host: HostTable
  readonly set: SetRef
  readonly element: RawElement
}

/** What an attachment wants in one table. */
export interface Wanted {
  readonly host: HostTable
  readonly conditions: Conditions
  readonly prefixes: readonly number[]
  readonly elements: readonly Placed[]
}

const v4InV6 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/** The address that a mapping answers on: '' for all of this family, undefined where it is of the other. */
const answersOn = ({ hostIp }: PortMapping, { family, bits }: HostTable): string | undefined => {
  if (hostIp === undefined || hostIp === '') return ''
  const bytes = parseIp(v4InV6.exec(hostIp)?.[1] ?? hostIp)
  if (!bytes) throw new RangeError(`${JSON.stringify(hostIp)} is not an address of the host`)
  if (bytes.length * 8 !== bits) return undefined
  const address = formatIp(bytes)
  return address === (family === 'ip' ? '0.0.0.0' : '::') ? '' : address
}

const wantedIn = (host: HostTable, forwarding: Forwarding): Wanted => {
  const { family, bits, unspecified } = host
  const conditions = parseConditions(
    family,
    family === 'ip' ? forwarding.conditionsV4 : forwarding.conditionsV6,
  )
  const nothing = { host, conditions, prefixes: [], elements: [] }
  const cidrs = forwarding.addresses.map((text) => {
    const cidr = parseCidr(text)
    if (!cidr) throw new RangeError(`${JSON.stringify(text)} is not an address with the length of its prefix`)
    return cidr
  })
  const cidr = cidrs.find(({ ip }) => ip.length * 8 === bits)
  if (!cidr) return nothing
  const address = formatIp(cidr.ip)
  const comment = ownerComment(forwarding)
  /** By place: what comes last wins, as among containers. */
  const elements = new Map<string, Placed>()
  const place = (set: SetOptions, element: SetElement): void => {
    elements.set(`${set.set} ${element.key}`, { host, set, element: rawElements(set, [element])[0]! })
  }
  for (const mapping of forwarding.mappings) {
    const on = answersOn(mapping, host)
    if (on === undefined) continue
    const { protocol, hostPort, containerPort } = mapping
    place(mapFor(host, on === '' ? 'any' : 'hostip', conditions.group), {
      key: [...(on === '' ? [] : [on]), protocol, hostPort],
      value: [address, containerPort],
      comment,
    })
  }
  if (elements.size === 0) return nothing
  const prefixes = new Set<number>()
  const hide = (from: string, prefix: number): void => {
    prefixes.add(prefix)
    place(snatSet(host, prefix), { key: prefix === 0 ? [address] : [from, address], comment })
  }
  if (forwarding.snat && forwarding.masqAll) hide(unspecified, 0)
  else if (forwarding.snat) {
    hide(formatIp(networkOf(cidr)), cidr.prefix)
    // From the node itself: an answer to 127.0.0.1 would never leave the container.
    if (family === 'ip') hide('127.0.0.0', 8)
  }
  return { host, conditions, prefixes: [...prefixes], elements: [...elements.values()] }
}

/**
 * What an attachment wants in both tables.
 * @throws RangeError for what is no address; CniError code 7 for conditions that are not understood
 */
export const wantedOf = (forwarding: Forwarding): readonly Wanted[] =>
  hostTables.map((host) => wantedIn(host, forwarding))

/** Where the elements are that a list names, in every group: their keys only. */
export const placesOf = (
  host: HostTable,
  list: readonly RawElement[],
  groups: readonly string[],
): readonly Placed[] =>
  list.flatMap(({ key }): Placed[] => {
    const bytes = key?.value
    const size = host.bits / 8
    if (!bytes || bytes.length !== 2 * size + 8) return []
    const of = (set: SetOptions, value: Uint8Array): Placed => ({
      host,
      set,
      element: { key: { value } },
    })
    // ADDRESS . protocol . port . ADDRESS, each padded to four bytes; protocol 0: NETWORK . 0 . length . CONTAINER.
    const protocol = bytes[size]!
    const port = (bytes[size + 4]! << 8) | bytes[size + 5]!
    const container = bytes.subarray(size + 8)
    if (protocol === 0)
      return port === 0
        ? [of(snatSet(host, 0), container)]
        : [of(snatSet(host, port), Buffer.concat([bytes.subarray(0, size), container]))]
    const any = bytes.subarray(0, size).every((byte) => byte === 0)
    return groups.map((group) =>
      any
        ? of(mapFor(host, 'any', group), bytes.subarray(size, size + 8))
        : of(mapFor(host, 'hostip', group), bytes.subarray(0, size + 8)),
    )
  })

/** What the list of its attachment says of an element: the reverse of {@link placesOf}. */
export const entryOf = ({ host, set: { set }, element }: Placed): RawElement => {
  const size = host.bits / 8
  const key = element.key!.value!
  const value = new Uint8Array(2 * size + 8)
  const prefix = snatPrefix(set)
  if (prefix !== undefined) {
    value[size + 5] = prefix
    value.set(key.subarray(0, key.length - size), 0)
    value.set(key.subarray(key.length - size), size + 8)
  } else {
    value.set(key, size + 8 - key.length)
    value.set(element.data!.value!.subarray(0, size), size + 8)
  }
  return { key: { value } }
}

/** The mapping that an element makes; undefined for one of another kind. */
export const mappingOf = ({ host, set, element }: Placed): PortMapping | undefined => {
  const key = element.key?.value
  const value = element.data?.value
  const size = host.bits / 8
  if (!key || !value || value.length !== size + 4) return undefined
  const [types, number, hostPort] = [dataTypes, key.at(-8), (key.at(-4)! << 8) | key.at(-3)!]
  const protocol = protocols.find((name) => types.inet_proto.encode(name)[0] === number)
  if (!protocol) return undefined
  return {
    protocol,
    hostPort,
    containerPort: (value[size]! << 8) | value[size + 1]!,
    hostIp: set.set.startsWith('portmap_hostip') ? formatIp(key.subarray(0, size)) : undefined,
  }
}

const withPort = (ip: string, port: number): string =>
  ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`

/** An element in words: `8080/tcp of 192.0.2.1 to 10.22.0.5:80`. */
export const wordsOf = (placed: Placed): string => {
  const mapping = mappingOf(placed)
  const size = placed.host.bits / 8
  if (!mapping) {
    const key = placed.element.key!.value!
    const from = key.length > size ? ` from the network ${formatIp(key.subarray(0, size))}` : ''
    return `masquerade${from} to ${formatIp(key.subarray(key.length - size))} (${placed.set.set})`
  }
  const { protocol, hostPort, containerPort, hostIp } = mapping
  const target = withPort(formatIp(placed.element.data!.value!.subarray(0, size)), containerPort)
  return `port ${hostPort}/${protocol}${hostIp === undefined ? '' : ` of ${hostIp}`} to ${target}`
}
