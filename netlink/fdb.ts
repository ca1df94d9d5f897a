/** Forwarding entries of bridges and VXLAN links: behind which port, or host, a MAC address is. */
import type { UnknownAttribute } from './codec/table.ts'
import { type Choice, chooser, type Flags, packFlags, unpackFlags } from './codec/values.ts'
import { AF_BRIDGE } from './family.ts'
import {
  type NeighbourAttributes,
  type NeighbourHeader,
  neighbourFlags,
  neighbourLayout,
} from './neighbour.ts'
import { change, dump, NLM_F, type Request } from './request.ts'

const RTM_NEWNEIGH = 28
const RTM_DELNEIGH = 29
const RTM_GETNEIGH = 30

const NUD_NOARP = 0x40

/** What `NUD_*` bits mean of a forwarding entry, in the words of `bridge fdb`; others stay numbers. */
export const fdbStates = {
  /** The host's own address. */
  permanent: 0x80,
  /** Does not age. VXLAN links want NUD_REACHABLE with NUD_NOARP, bridges do not mind. */
  static: 0x42,
  /** Learned, or as if; ages. */
  dynamic: 0x02,
  stale: 0x04,
} as const
const state = chooser(fdbStates)

/** A forwarding entry. */
export interface FdbEntry {
  /** Index of the port, or of the link itself. */
  readonly index: number
  /** MAC address. */
  readonly address: string
  readonly state: Choice<typeof fdbStates>
  readonly flags: { readonly [K in keyof typeof neighbourFlags]: boolean }
  readonly vlan: number | undefined
  /** Index of the bridge. */
  readonly master: number | undefined
  /** VXLAN: the host behind which it is, and how that is reached. */
  readonly dst: string | undefined
  readonly port: number | undefined
  readonly vni: number | undefined
  readonly unknown: readonly UnknownAttribute[]
}

/** Makes an {@link FdbEntry} of a message; undefined where it is something else. */
export const toFdbEntry = (
  header: NeighbourHeader,
  attributes: NeighbourAttributes,
): FdbEntry | undefined => {
  if (header.family !== AF_BRIDGE || attributes.lladdr === undefined) return undefined
  return {
    index: header.index,
    address: attributes.lladdr,
    state: header.state === NUD_NOARP ? 'static' : state.fromNumber(header.state),
    flags: unpackFlags(neighbourFlags, header.flags),
    vlan: attributes.vlan,
    master: attributes.master,
    dst: attributes.dst,
    port: attributes.port,
    vni: attributes.vni,
    unknown: attributes.unknown ?? [],
  }
}

/** Which entry. */
export interface FdbRef {
  /** Index of the port, or of the link itself. */
  readonly index: number
  /** MAC address. */
  readonly address: string
  readonly vlan?: number | undefined
  /** Whose table: `self`, the link's own (the default), or `master`, that of the bridge it is a port of. */
  readonly flags?:
    | Flags<Pick<typeof neighbourFlags, 'self' | 'master' | 'sticky' | 'extLearned' | 'router'>>
    | undefined
  readonly dst?: string | undefined
  readonly port?: number | undefined
  readonly vni?: number | undefined
}

/** An entry to be set. */
export interface FdbOptions extends FdbRef {
  /** Default: permanent. */
  readonly state?: Choice<typeof fdbStates> | undefined
}

const request = (verb: string, type: number, flags: number, options: FdbOptions): Request<void> =>
  change(neighbourLayout, {
    op: `${verb} forwarding entry ${options.address} of link ${options.index}`,
    type,
    flags,
    header: {
      family: AF_BRIDGE,
      index: options.index,
      state: state.toNumber(options.state ?? 'permanent'),
      flags: packFlags(neighbourFlags, options.flags ?? { self: true }),
    },
    attributes: {
      lladdr: options.address,
      vlan: options.vlan,
      dst: options.dst,
      port: options.port,
      vni: options.vni,
    },
  })

/**
 * Adds an entry. Equivalent: `bridge fdb add MAC dev LINK [self|master] [permanent|static|dynamic] [vlan N] [dst IP]`.
 *
 * Errors: EEXIST, ENODEV, EOPNOTSUPP (the link has no such table), EINVAL.
 */
export const add = (options: FdbOptions): Request<void> =>
  request('add', RTM_NEWNEIGH, NLM_F.create | NLM_F.excl, options)

/** Sets an entry, whether it is there already or not. Equivalent: `bridge fdb replace …`. */
export const replace = (options: FdbOptions): Request<void> =>
  request('replace', RTM_NEWNEIGH, NLM_F.create | NLM_F.replace, options)

/**
 * Adds a further destination to an entry of a VXLAN link. Equivalent: `bridge fdb append MAC dev LINK dst IP`.
 */
export const append = (options: FdbOptions): Request<void> =>
  request('append', RTM_NEWNEIGH, NLM_F.create | NLM_F.append, options)

/** Deletes an entry. Equivalent: `bridge fdb del MAC dev LINK [self|master] [vlan N]`. Errors: ENOENT, ENODEV. */
const remove = (which: FdbRef): Request<void> => request('delete', RTM_DELNEIGH, 0, which)

export { remove as delete }

/** All entries, or those asked for. Equivalent: `bridge fdb show [br BRIDGE] [brport PORT]`. Errors: ENODEV. */
export const list = (
  filter: {
    /** Index of a port. */
    readonly index?: number | undefined
    /** Index of a bridge. */
    readonly master?: number | undefined
  } = {},
): Request<FdbEntry[]> =>
  dump(
    neighbourLayout,
    {
      op: 'list forwarding entries',
      type: RTM_GETNEIGH,
      header: { family: AF_BRIDGE },
      attributes: { ifindex: filter.index, master: filter.master },
    },
    (message) => {
      const entry = toFdbEntry(message, message.attributes)
      return entry && (filter.index === undefined || entry.index === filter.index) ? entry : undefined
    },
  )
