/** Neighbours: which link-layer address an IP address on a link has (ARP and NDP entries). */
import { type Attributes, struct, table, type UnknownAttribute } from './codec/table.ts'
import { be16, bytes, ip, mac, s32, u8, u16, u32 } from './codec/types.ts'
import { type Choice, chooser, type Flags, packed, packFlags, unpackFlags } from './codec/values.ts'
import { type Family, fromAf, toAf, toPrefix } from './family.ts'
import { change, dump, NLM_F, type Request } from './request.ts'

const RTM_NEWNEIGH = 28
const RTM_DELNEIGH = 29
const RTM_GETNEIGH = 30

/** `struct ndmsg` and `NDA_*`, linux/neighbour.h. Forwarding entries of bridges have the same. */
export const neighbourLayout = {
  header: struct({ family: 'u8', pad: [3], index: 's32', state: 'u16', flags: 'u8', type: 'u8' }),
  attributes: table({
    dst: [1, ip],
    lladdr: [2, mac],
    /** Ages in hundredths of a second. */
    cacheinfo: [3, packed({ confirmed: 'u32', used: 'u32', updated: 'u32', refcnt: 'u32' })],
    probes: [4, u32],
    vlan: [5, u16],
    port: [6, be16],
    vni: [7, u32],
    ifindex: [8, u32],
    master: [9, u32],
    linkNetnsid: [10, s32],
    srcVni: [11, u32],
    protocol: [12, u8],
    nhId: [13, u32],
    fdbExtAttrs: [14, bytes],
    flagsExt: [15, u32],
    ndmStateMask: [16, u16],
    ndmFlagsMask: [17, u8],
  }),
} as const

/** `NUD_*`: what is known of a neighbour. */
export const neighbourStates = {
  none: 0,
  incomplete: 0x01,
  reachable: 0x02,
  stale: 0x04,
  delay: 0x08,
  probe: 0x10,
  failed: 0x20,
  noarp: 0x40,
  permanent: 0x80,
} as const
/** Names and numbers of {@link neighbourStates}. */
export const state = chooser(neighbourStates)

/** `NTF_*`. */
export const neighbourFlags = {
  use: 0x01,
  self: 0x02,
  master: 0x04,
  proxy: 0x08,
  extLearned: 0x10,
  offloaded: 0x20,
  sticky: 0x40,
  router: 0x80,
} as const

/** A neighbour. */
export interface Neighbour {
  /** Of its link. */
  readonly index: number
  readonly family: Family
  readonly ip: string
  /** Its link-layer address; undefined while it is not known, and for proxy entries. */
  readonly address: string | undefined
  readonly state: Choice<typeof neighbourStates>
  readonly flags: { readonly [K in keyof typeof neighbourFlags]: boolean }
  readonly probes: number | undefined
  readonly protocol: number | undefined
  readonly unknown: readonly UnknownAttribute[]
}

/** The header of a neighbour message. */
export interface NeighbourHeader {
  readonly family: number
  readonly index: number
  readonly state: number
  readonly flags: number
}

/** The attributes of a neighbour message. */
export type NeighbourAttributes = Attributes<(typeof neighbourLayout)['attributes']['rows']>

/** Makes a {@link Neighbour} of a message; undefined where the family is neither IPv4 nor IPv6. */
export const toNeighbour = (
  header: NeighbourHeader,
  attributes: NeighbourAttributes,
): Neighbour | undefined => {
  const family = fromAf(header.family)
  if (family === undefined || attributes.dst === undefined) return undefined
  return {
    index: header.index,
    family,
    ip: attributes.dst,
    address: attributes.lladdr,
    state: state.fromNumber(header.state),
    flags: unpackFlags(neighbourFlags, header.flags),
    probes: attributes.probes,
    protocol: attributes.protocol,
    unknown: attributes.unknown ?? [],
  }
}

/** Which neighbour. */
export interface NeighbourRef {
  /** Of the link. */
  readonly index: number
  /** Without a prefix length. */
  readonly ip: string
  /** A proxy entry: the host answers for this address. */
  readonly proxy?: boolean | undefined
}

/** A neighbour to be set. */
export interface NeighbourOptions extends NeighbourRef {
  /** Link-layer address; not for proxy entries. */
  readonly address?: string | undefined
  /** Default: permanent. */
  readonly state?: Choice<typeof neighbourStates> | undefined
  readonly flags?: Flags<Pick<typeof neighbourFlags, 'router' | 'extLearned' | 'use'>> | undefined
  readonly protocol?: number | undefined
}

const locate = ({ index, ip: address, proxy }: NeighbourRef) => {
  if (address.includes('/')) throw new RangeError(`${JSON.stringify(address)} is not an IP address`)
  const { family, address: dst } = toPrefix(address)
  return { header: { family: toAf(family), index, flags: proxy ? neighbourFlags.proxy : 0 }, dst }
}

const setRequest = (verb: string, flags: number, options: NeighbourOptions): Request<void> => {
  const { header, dst } = locate(options)
  return change(neighbourLayout, {
    op: `${verb} neighbour ${options.ip} of link ${options.index}`,
    type: RTM_NEWNEIGH,
    flags,
    header: {
      ...header,
      state: state.toNumber(options.state ?? 'permanent'),
      flags: header.flags | packFlags(neighbourFlags, options.flags ?? {}),
    },
    attributes: { dst, lladdr: options.address, protocol: options.protocol },
  })
}

/**
 * Adds a neighbour. Equivalent: `ip neighbour add IP lladdr MAC dev LINK [nud STATE] [router]`, or
 * `ip neighbour add proxy IP dev LINK`.
 *
 * Errors: EEXIST, ENODEV, EINVAL (no link-layer address where the state wants one).
 * @throws RangeError for what is no address
 */
export const add = (options: NeighbourOptions): Request<void> =>
  setRequest('add', NLM_F.create | NLM_F.excl, options)

/** Sets a neighbour, whether it is there already or not. Equivalent: `ip neighbour replace …`. */
export const replace = (options: NeighbourOptions): Request<void> =>
  setRequest('replace', NLM_F.create | NLM_F.replace, options)

/**
 * Deletes a neighbour. Equivalent: `ip neighbour del [proxy] IP dev LINK`.
 *
 * Errors: ENOENT, ENODEV.
 * @throws RangeError for what is no address
 */
const remove = (which: NeighbourRef): Request<void> => {
  const { header, dst } = locate(which)
  return change(neighbourLayout, {
    op: `delete neighbour ${which.ip} of link ${which.index}`,
    type: RTM_DELNEIGH,
    header,
    attributes: { dst },
  })
}

export { remove as delete }

/**
 * All neighbours, or those asked for. Equivalent: `ip [-4|-6] neighbour show [proxy] [dev LINK] [nud all]`. Entries
 * without a state (NUD_NONE) and those of multicast are among them.
 */
export const list = (
  filter: {
    /** Of this link. */
    readonly index?: number | undefined
    readonly family?: Family | undefined
    /** The proxy entries instead. */
    readonly proxy?: boolean | undefined
  } = {},
): Request<Neighbour[]> =>
  dump(
    neighbourLayout,
    {
      op: 'list neighbours',
      type: RTM_GETNEIGH,
      header: { family: toAf(filter.family), flags: filter.proxy ? neighbourFlags.proxy : 0 },
      attributes: { ifindex: filter.index },
    },
    (message) => {
      const neighbour = toNeighbour(message, message.attributes)
      const wanted =
        neighbour &&
        (filter.index === undefined || neighbour.index === filter.index) &&
        neighbour.flags.proxy === (filter.proxy ?? false)
      return wanted ? neighbour : undefined
    },
  )
