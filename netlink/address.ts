/** IP addresses of links. */
import { type Attributes, struct, table, type UnknownAttribute } from './codec/table.ts'
import { bytes, ip, s32, string, u8, u32 } from './codec/types.ts'
import { type Choice, chooser, type Flags, packed, packFlags, unpackFlags } from './codec/values.ts'
import { bitsOf, type Family, fromAf, toAf, toPrefix } from './family.ts'
import { broadcast, formatIp } from './ip.ts'
import { change, dump, NLM_F, type Request } from './request.ts'

const RTM_NEWADDR = 20
const RTM_DELADDR = 21
const RTM_GETADDR = 22

/** `struct ifaddrmsg` and `IFA_*`, linux/if_addr.h. */
export const addressLayout = {
  header: struct({ family: 'u8', prefixLength: 'u8', flags: 'u8', scope: 'u8', index: 'u32' }),
  attributes: table({
    address: [1, ip],
    local: [2, ip],
    label: [3, string],
    broadcast: [4, ip],
    anycast: [5, ip],
    cacheinfo: [6, packed({ prefered: 'u32', valid: 'u32', cstamp: 'u32', tstamp: 'u32' })],
    multicast: [7, bytes],
    flags: [8, u32],
    rtPriority: [9, u32],
    targetNetnsid: [10, s32],
    proto: [11, u8],
  }),
} as const

/** `IFA_F_*`, linux/if_addr.h. For IPv6, `secondary` means a temporary address. */
export const addressFlags = {
  secondary: 0x01,
  nodad: 0x02,
  optimistic: 0x04,
  dadfailed: 0x08,
  homeaddress: 0x10,
  deprecated: 0x20,
  tentative: 0x40,
  permanent: 0x80,
  managetempaddr: 0x100,
  noprefixroute: 0x200,
  mcautojoin: 0x400,
  stablePrivacy: 0x800,
} as const

/** `RT_SCOPE_*`, linux/rtnetlink.h: where an address or a route is valid. */
export const scopes = { global: 0, site: 200, link: 253, host: 254, nowhere: 255 } as const
/** Names and numbers of {@link scopes}. */
export const scope = chooser(scopes)

const FOREVER = 0xffff_ffff

/** An IP address of a link. */
export interface Address {
  /** Of its link. */
  readonly index: number
  readonly family: Family
  /** The link's own address with its prefix length; /32 or /128 where there is a `peer`. */
  readonly address: string
  /** The same without the length. */
  readonly ip: string
  /** The other end of a point-to-point link, with the prefix length, where one was set. */
  readonly peer: string | undefined
  /** Length of the prefix that is reached by the link: of `peer`, where there is one. */
  readonly prefixLength: number
  readonly broadcast: string | undefined
  /** IPv4: the name under which old tools list it. */
  readonly label: string | undefined
  readonly scope: Choice<typeof scopes>
  readonly flags: { readonly [K in keyof typeof addressFlags]: boolean }
  /** Seconds that it is valid and preferred; `Infinity`: for ever. */
  readonly validLifetime: number
  readonly preferredLifetime: number
  /** Metric of its prefix route. */
  readonly metric: number | undefined
  /** Who set it: IFAPROT_*. */
  readonly protocol: number | undefined
  readonly unknown: readonly UnknownAttribute[]
}

/** Makes an {@link Address} of a message; undefined where the family is neither IPv4 nor IPv6. */
export const toAddress = (
  header: { family: number; prefixLength: number; flags: number; scope: number; index: number },
  attributes: Attributes<(typeof addressLayout)['attributes']['rows']>,
): Address | undefined => {
  const family = fromAf(header.family)
  const ownAddress = attributes.local ?? attributes.address
  if (family === undefined || ownAddress === undefined) return undefined
  const isPeer = attributes.address !== undefined && attributes.address !== ownAddress
  const lifetime = (seconds: number | undefined) =>
    seconds === undefined || seconds === FOREVER ? Number.POSITIVE_INFINITY : seconds
  return {
    index: header.index,
    family,
    address: `${ownAddress}/${isPeer ? bitsOf(family) : header.prefixLength}`,
    ip: ownAddress,
    peer: isPeer ? `${attributes.address}/${header.prefixLength}` : undefined,
    prefixLength: header.prefixLength,
    broadcast: attributes.broadcast,
    label: attributes.label,
    scope: scope.fromNumber(header.scope),
    flags: unpackFlags(addressFlags, attributes.flags ?? header.flags),
    validLifetime: lifetime(attributes.cacheinfo?.valid),
    preferredLifetime: lifetime(attributes.cacheinfo?.prefered),
    metric: attributes.rtPriority,
    protocol: attributes.proto,
    unknown: attributes.unknown ?? [],
  }
}

/** Which address. */
export interface AddressRef {
  /** Of the link. */
  readonly index: number
  /** `10.1.2.3/24`, `2001:db8::1/64`. Without a length: /32 or /128. */
  readonly address: string
  /** The other end of a point-to-point link; its length is the prefix's. */
  readonly peer?: string | undefined
  readonly label?: string | undefined
}

/** An address to be set. */
export interface AddressOptions extends AddressRef {
  /** IPv4: an address, or `'auto'`: all host bits set, for prefixes shorter than /31. Default: none. */
  readonly broadcast?: string | undefined
  /** Default: global; host for 127.0.0.0/8. For IPv6 the kernel knows it from the address. */
  readonly scope?: Choice<typeof scopes> | undefined
  /** E.g. `{ nodad: true, noprefixroute: true }`. */
  readonly flags?: Flags<typeof addressFlags> | undefined
  /** Seconds; default: for ever. */
  readonly validLifetime?: number | undefined
  /** Seconds, at most `validLifetime`; default: as long. */
  readonly preferredLifetime?: number | undefined
  /** Metric of its prefix route. */
  readonly metric?: number | undefined
  /** IFAPROT_*; since Linux 5.18. */
  readonly protocol?: number | undefined
}

const locate = ({ index, address, peer, label }: AddressRef) => {
  const own = toPrefix(address)
  const other = peer === undefined ? own : toPrefix(peer)
  if (other.family !== own.family)
    throw new RangeError(`${address} and its peer ${peer} are of different families`)
  return { own, family: toAf(own.family), prefixLength: other.length, index, address: other.address, label }
}

const lifetimes = ({ validLifetime, preferredLifetime }: AddressOptions) => {
  if (validLifetime === undefined && preferredLifetime === undefined) return undefined
  const valid = validLifetime ?? Number.POSITIVE_INFINITY
  const seconds = (value: number) => {
    if (value !== Number.POSITIVE_INFINITY && !(Number.isInteger(value) && value >= 0 && value < FOREVER))
      throw new RangeError(`${value} is not a lifetime in seconds`)
    return Math.min(value, FOREVER)
  }
  return { valid: seconds(valid), prefered: seconds(preferredLifetime ?? valid), cstamp: 0, tstamp: 0 }
}

const setRequest = (verb: string, flags: number, options: AddressOptions): Request<void> => {
  const { own, family, prefixLength, index, address, label } = locate(options)
  const isLoopback = own.family === 4 && own.cidr.ip[0] === 127
  const flagBits = packFlags(addressFlags, options.flags ?? {})
  const automatic =
    options.broadcast === 'auto' && own.family === 4 && prefixLength < 31
      ? formatIp(broadcast({ ip: own.cidr.ip, prefix: prefixLength }))
      : undefined
  return change(addressLayout, {
    op: `${verb} address ${options.address} of link ${options.index}`,
    type: RTM_NEWADDR,
    flags,
    header: {
      family,
      prefixLength,
      index,
      // IFA_FLAGS, where it is given, is the whole truth.
      flags: flagBits > 0xff ? 0 : flagBits,
      scope: scope.toNumber(options.scope ?? (isLoopback ? 'host' : 'global')),
    },
    attributes: {
      local: own.address,
      address,
      label,
      broadcast: options.broadcast === 'auto' ? automatic : options.broadcast,
      flags: flagBits > 0xff ? flagBits : undefined,
      cacheinfo: lifetimes(options),
      rtPriority: options.metric,
      proto: options.protocol,
    },
  })
}

/**
 * Gives a link an address. Equivalent: `ip address add 10.1.2.3/24 [peer P] [broadcast B|+] [label L] [scope S]
 * [valid_lft S] [preferred_lft S] [metric N] [nodad] [noprefixroute] dev LINK`.
 *
 * An IPv6 address is `tentative` until duplicate address detection is over, unless `nodad` or the link says otherwise;
 * `waitForAddress` waits for that.
 *
 * Errors: EEXIST (it has it already), ENODEV (no such link), EINVAL, EACCES (IPv6 is disabled on the link).
 * @throws RangeError for what is no address
 */
export const add = (options: AddressOptions): Request<void> =>
  setRequest('add', NLM_F.create | NLM_F.excl, options)

/**
 * Sets an address whether the link has it already or not; flags, lifetimes and metric become these. Equivalent:
 * `ip address replace …`. Errors and exceptions as {@link add}, without EEXIST.
 */
export const replace = (options: AddressOptions): Request<void> =>
  setRequest('replace', NLM_F.create | NLM_F.replace, options)

/**
 * Takes an address from a link. Equivalent: `ip address del 10.1.2.3/24 dev LINK`. With an IPv4 address the secondary
 * ones of its prefix go too, unless `promote_secondaries` is set.
 *
 * Errors: EADDRNOTAVAIL (the link does not have it), ENODEV.
 */
const remove = (which: AddressRef): Request<void> => {
  const { own, family, prefixLength, index, address, label } = locate(which)
  return change(addressLayout, {
    op: `delete address ${which.address} of link ${which.index}`,
    type: RTM_DELADDR,
    header: { family, prefixLength, index },
    attributes: { local: own.address, address, label },
  })
}

export { remove as delete }

/**
 * What makes an address that was listed once more, with changes or without: `address.add(address.restate(found))`. The
 * flags are those that somebody sets; an address that the kernel was still probing is probed again.
 */
export const restate = (found: Address): AddressOptions => {
  const { nodad, noprefixroute, managetempaddr, mcautojoin, homeaddress } = found.flags
  return {
    index: found.index,
    address: found.address,
    peer: found.peer,
    label: found.label,
    broadcast: found.broadcast,
    scope: found.scope,
    metric: found.metric,
    protocol: found.protocol,
    validLifetime: found.validLifetime,
    preferredLifetime: found.preferredLifetime,
    flags: { nodad, noprefixroute, managetempaddr, mcautojoin, homeaddress },
  }
}

/** Which addresses {@link list} gives. */
export interface AddressFilter {
  /** Of this link. */
  readonly index?: number | undefined
  readonly family?: Family | undefined
}

/**
 * All addresses, or those asked for. Equivalent: `ip [-4|-6] address show [dev LINK]`.
 *
 * Errors: ENODEV (no such link).
 */
export const list = ({ index, family }: AddressFilter = {}): Request<Address[]> =>
  dump(
    addressLayout,
    {
      op: index === undefined ? 'list addresses' : `list addresses of link ${index}`,
      type: RTM_GETADDR,
      header: { family: toAf(family), index },
    },
    (message) => {
      const address = toAddress(message, message.attributes)
      return address && (index === undefined || address.index === index) ? address : undefined
    },
  )
