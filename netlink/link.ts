/** Links: network interfaces. `import { link } from 'linkwright/netlink'`, then `await conn.run(link.add({...}))`. */
import type { Attributes, KnownKind, UnknownKind } from './codec/table.ts'
import type { Value } from './codec/types.ts'
import type { Choice } from './codec/values.ts'
import type { afSpec as afSpecTable } from './link/af-spec.ts'
import { RTEXT_FILTER } from './link/attributes.ts'
import type { bridgePort } from './link/bridge-port.ts'
import { IFF, type linkModes } from './link/flags.ts'
import type { kinds, portKinds } from './link/kinds.ts'
import { briefLayout, linkLayout } from './link/layout.ts'
import { checkAltName, checkName, isLinkName } from './link/name.ts'
import { type NamespaceRef, namespaceAttributes } from './link/namespace.ts'
import { type BriefLink, type Link, toLink } from './link/object.ts'
import { type CommonOptions, commonAttributes } from './link/options.ts'
import { change, dump, get as getOne, NLM_F, type Request, readOne } from './request.ts'

export { checkAltName, checkName } from './link/name.ts'
export { type LinkNames, listNames } from './link/names.ts'
export type { BriefLink, Link, LinkFacts, LinkKind, LinkPort } from './link/object.ts'
export type { CommonOptions } from './link/options.ts'
export type { VethPeer } from './link/veth.ts'

const RTM_NEWLINK = 16
const RTM_DELLINK = 17
const RTM_GETLINK = 18
const RTM_NEWLINKPROP = 108
const RTM_DELLINKPROP = 109

type LinkAttributes = Attributes<(typeof linkLayout)['attributes']['rows']>

/** A link by its index, or by its name (an alternative name will do). */
export type LinkRef = number | string

/** Kind and kind's own settings. A kind that this library has no table for takes its data as bytes in `raw`. */
export type KindOptions = KnownKind<typeof kinds> | UnknownKind

/** The flags that can be asked for. */
export interface FlagOptions {
  /** IFF_UP. */
  readonly up?: boolean | undefined
  readonly promisc?: boolean | undefined
  readonly allMulti?: boolean | undefined
  readonly multicast?: boolean | undefined
  /** Whether it resolves addresses: the opposite of IFF_NOARP. */
  readonly arp?: boolean | undefined
  readonly dynamic?: boolean | undefined
}

export type AddOptions = CommonOptions &
  FlagOptions &
  KindOptions & {
    /** Index of the lower interface, in the namespace of the connection unless `linkNetnsId` says otherwise. */
    readonly link?: number | undefined
    readonly linkNetnsId?: number | undefined
    /** Index of the bridge, bond or VRF it becomes a port of. */
    readonly master?: number | undefined
  }

const headerOf = (
  index: number | undefined,
  options: FlagOptions,
): { index: number | undefined; flags: number; change: number } => {
  let flags = 0
  let mask = 0
  for (const name of ['up', 'promisc', 'allMulti', 'multicast', 'dynamic'] as const)
    if (options[name] !== undefined) {
      mask |= IFF[name]
      if (options[name]) flags |= IFF[name]
    }
  if (options.arp !== undefined) {
    mask |= IFF.noArp
    if (!options.arp) flags |= IFF.noArp
  }
  return { index, flags, change: mask }
}

/** What names a link in a message: its header's index, or an attribute. */
interface Identity {
  readonly index: number
  readonly ifname: string | undefined
  readonly altIfname: string | undefined
}

const identify = (which: LinkRef): Identity => {
  if (typeof which === 'number') {
    if (!Number.isInteger(which) || which < 1 || which > 0x7fff_ffff)
      throw new RangeError(`${which} is not the index of a link`)
    return { index: which, ifname: undefined, altIfname: undefined }
  }
  return isLinkName(which)
    ? { index: 0, ifname: which, altIfname: undefined }
    : { index: 0, ifname: undefined, altIfname: checkAltName(which) }
}

/**
 * Makes a link. Equivalent: `ip link add NAME [index N] [mtu N] [address MAC] [netns NS] [link LOWER] type KIND …`,
 * and with `up` and `master` also `ip link set NAME up master MASTER`.
 *
 * The kernel takes no family settings (`afSpec`, EAFNOSUPPORT) and drops an alias when it makes a link: {@link set} them
 * in the same batch. A veth peer can't be born up (ENOTCONN).
 *
 * Errors: EEXIST (name or index taken), EOPNOTSUPP (this kernel has no such kind), ENODEV (no such lower interface),
 * EINVAL, EBUSY (the lower interface allows no more).
 * @throws RangeError for a name no interface can have, before anything is sent
 */
export const add = (options: AddOptions): Request<void> => {
  const attributes: LinkAttributes = commonAttributes(options)
  attributes.link = options.link
  attributes.linkNetnsid = options.linkNetnsId
  attributes.master = options.master
  attributes.linkinfo = { own: options }
  return change(linkLayout, {
    op: `add link ${options.name ?? options.index ?? ''} (${options.kind})`,
    type: RTM_NEWLINK,
    flags: NLM_F.create | NLM_F.excl,
    header: headerOf(options.index, options),
    attributes,
  })
}

/** What {@link set} can change. */
export interface SetOptions extends FlagOptions {
  /** The new name; the link has to be given by its index. Linux before 6.2 wants the link to be down. */
  readonly name?: string | undefined
  readonly mtu?: number | undefined
  readonly address?: string | undefined
  readonly broadcast?: string | undefined
  /** Index of its new bridge, bond or VRF; null takes it out. */
  readonly master?: number | null | undefined
  readonly txQueueLength?: number | undefined
  readonly group?: number | undefined
  /** The empty string removes it. */
  readonly alias?: string | undefined
  /** Moves it; what else is set is applied there. Its addresses and routes are lost. */
  readonly netns?: NamespaceRef | undefined
  /** The index it shall have in `netns`; since Linux 5.12. */
  readonly newIndex?: number | undefined
  readonly carrier?: boolean | undefined
  readonly protoDown?: boolean | undefined
  readonly linkMode?: Choice<typeof linkModes> | undefined
  readonly gsoMaxSegs?: number | undefined
  readonly gsoMaxSize?: number | undefined
  /** Settings by address family, e.g. `{ inet: { conf: { arpNotify: 1 } }, inet6: { addrGenMode: 'none' } }`. */
  readonly afSpec?: Value<typeof afSpecTable> | undefined
}

/**
 * Changes a link. Equivalent: `ip link set LINK [up|down] [name NEW] [mtu N] [master M|nomaster] [netns NS] …`; with
 * `afSpec` `ip link set LINK addrgenmode MODE` or `sysctl net.ipv4.conf.LINK.SETTING=N`.
 *
 * A change of a port's settings can't share a message with `master`: the kernel asks the old master.
 *
 * Errors: ENODEV (no such link), EEXIST (name taken), EBUSY, EINVAL (MTU out of range), EADDRNOTAVAIL (MAC not
 * allowed), ENETUNREACH, EPERM.
 * @throws RangeError for a name no interface can have, or for a new name where the link is given by its name
 */
export const set = (which: LinkRef, options: SetOptions): Request<void> => {
  const { index, ifname, altIfname } = identify(which)
  if (options.name !== undefined && index === 0)
    throw new RangeError(`link ${JSON.stringify(which)} can only be renamed by its index`)
  const { netNsFd, netNsPid } = namespaceAttributes(options.netns)
  const attributes: LinkAttributes = {
    ifname,
    altIfname,
    mtu: options.mtu,
    address: options.address,
    broadcast: options.broadcast,
    master: options.master === null ? 0 : options.master,
    txqlen: options.txQueueLength,
    group: options.group,
    ifalias: options.alias,
    netNsFd,
    netNsPid,
    newIfindex: options.newIndex,
    carrier: options.carrier,
    protoDown: options.protoDown,
    linkmode: options.linkMode,
    gsoMaxSegs: options.gsoMaxSegs,
    gsoMaxSize: options.gsoMaxSize,
    afSpec: options.afSpec,
  }
  if (options.name !== undefined) attributes.ifname = checkName(options.name)
  return change(linkLayout, {
    op: `set link ${which} (${Object.keys(options).join(', ')})`,
    type: RTM_NEWLINK,
    header: headerOf(index, options),
    attributes,
  })
}

/**
 * Changes what only links of its kind have. Equivalent: `ip link set LINK type KIND …`, e.g.
 * `ip link set br0 type bridge vlan_filtering 1`.
 *
 * Errors: ENODEV, EOPNOTSUPP (it is of another kind, or the kernel was built without the feature), EINVAL.
 */
export const setKind = (which: LinkRef, kind: KindOptions): Request<void> => {
  const { index, ifname, altIfname } = identify(which)
  return change(linkLayout, {
    op: `set ${kind.kind} ${which} (${Object.keys(kind.data ?? {}).join(', ')})`,
    type: RTM_NEWLINK,
    header: { index },
    attributes: { ifname, altIfname, linkinfo: { own: kind } },
  })
}

/**
 * Changes what a master keeps of its port. Equivalent: `ip link set LINK type KIND_slave …`.
 *
 * Errors: ENODEV, EOPNOTSUPP (it is no port, or of a master of another kind), EINVAL.
 */
export const setPort = (which: LinkRef, port: KnownKind<typeof portKinds> | UnknownKind): Request<void> => {
  const { index, ifname, altIfname } = identify(which)
  return change(linkLayout, {
    op: `set ${port.kind} port ${which} (${Object.keys(port.data ?? {}).join(', ')})`,
    type: RTM_NEWLINK,
    header: { index },
    attributes: { ifname, altIfname, linkinfo: { port } },
  })
}

/** {@link setPort} of a bridge. Equivalent: `ip link set LINK type bridge_slave hairpin on isolated on …`. */
export const setBridgePort = (which: LinkRef, data: Value<typeof bridgePort>): Request<void> =>
  setPort(which, { kind: 'bridge', data })

/**
 * Deletes a link, or all links of a group with one request (which is far quicker than one by one: they share the
 * kernel's grace period). Equivalent: `ip link delete LINK`, `ip link delete group N`.
 *
 * Errors: ENODEV (no such link, or nothing in the group), EOPNOTSUPP (hardware and loopback stay).
 */
const remove = (which: LinkRef | { readonly group: number }): Request<void> => {
  if (typeof which === 'object')
    return change(linkLayout, {
      op: `delete links of group ${which.group}`,
      type: RTM_DELLINK,
      attributes: { group: which.group },
    })
  const { index, ifname, altIfname } = identify(which)
  return change(linkLayout, {
    op: `delete link ${which}`,
    type: RTM_DELLINK,
    header: { index },
    attributes: { ifname, altIfname },
  })
}

export { remove as delete }

/** What {@link get} and {@link list} are to tell. */
export interface DetailOptions {
  /** With counters. Default false. */
  readonly statistics?: boolean | undefined
  /** Further `RTEXT_FILTER_*` bits, e.g. 1 for virtual functions. They come as unknown attributes. */
  readonly extMask?: number | undefined
}

const extMask = (options: DetailOptions): number =>
  (options.statistics ? 0 : RTEXT_FILTER.skipStats) | (options.extMask ?? 0)

/**
 * One link. Equivalent: `ip -d link show LINK`.
 *
 * Errors: ENODEV.
 */
export const get = (which: LinkRef, options: DetailOptions = {}): Request<Link> => {
  const { index, ifname, altIfname } = identify(which)
  return getOne(
    linkLayout,
    {
      op: `get link ${which}`,
      type: RTM_GETLINK,
      header: { index },
      attributes: { ifname, altIfname, extMask: extMask(options) },
    },
    (message) => toLink(message, message.attributes, options.statistics),
  )
}

/**
 * One link in brief: of the 150 attributes of a message a dozen are read. Equivalent: `ip link show LINK`.
 *
 * Errors: ENODEV.
 */
export const getBrief = (which: LinkRef): Request<BriefLink> => {
  const request = get(which)
  return {
    ...request,
    read: readOne(request.op, briefLayout, (message) => toLink(message, message.attributes)),
  }
}

/** Which links {@link list} gives. All conditions must hold. */
export interface ListOptions extends DetailOptions {
  readonly kind?: string | undefined
  /** Index of the bridge, bond or VRF. */
  readonly master?: number | undefined
  readonly up?: boolean | undefined
}

/** All links, or those asked for. Equivalent: `ip -d link show [up] [master M] [type KIND]`. */
export const list = (options: ListOptions = {}): Request<Link[]> =>
  dump(
    linkLayout,
    {
      op: 'list links',
      type: RTM_GETLINK,
      attributes: {
        extMask: extMask(options),
        master: options.master,
        linkinfo: options.kind === undefined ? undefined : { own: { kind: options.kind } },
      },
    },
    (message) => {
      // The kernel filters, but not by a kind whose module is not loaded: then it gives all.
      const found = toLink(message, message.attributes, options.statistics)
      if (options.kind !== undefined && found.kind !== options.kind) return undefined
      if (options.master !== undefined && found.master !== options.master) return undefined
      return options.up === undefined || found.up === options.up ? found : undefined
    },
  )

const altNames =
  (type: number, verb: string) =>
  (which: LinkRef, names: readonly string[]): Request<void> => {
    const { index, ifname, altIfname } = identify(which)
    return change(linkLayout, {
      op: `${verb} alternative names of link ${which}`,
      type,
      flags: type === RTM_NEWLINKPROP ? NLM_F.create | NLM_F.excl | NLM_F.append : 0,
      header: { index },
      attributes: { ifname, altIfname, propList: names.map(checkAltName) },
    })
  }

/** Gives it more names. Equivalent: `ip link property add dev LINK altname NAME …`. Errors: EEXIST, ENODEV. */
export const addAltNames = altNames(RTM_NEWLINKPROP, 'add')
/** Takes names from it. Equivalent: `ip link property del dev LINK altname NAME …`. Errors: ENOENT, ENODEV. */
export const deleteAltNames = altNames(RTM_DELLINKPROP, 'delete')
