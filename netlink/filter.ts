/** Filters of traffic control: which packets go to which class, or have something done with them. */
import { type Choice, chooser } from './codec/values.ts'
import { littleEndian } from './codec/writer.ts'
import type { Action } from './qdisc/action.ts'
import { filterParents, formatPlace, type Place, parsePlace } from './qdisc/handle.ts'
import {
  type KindOptions,
  kindAttributes,
  linkIndex,
  type OfKind,
  readKind,
  type TrafficAttributes,
  type TrafficFacts,
  trafficLayout,
} from './qdisc/layout.ts'
import { matchall } from './qdisc/matchall.ts'
import { u32 } from './qdisc/u32.ts'
import { change, dump, NLM_F, type Request } from './request.ts'

export type { Action, Mirred } from './qdisc/action.ts'
export { matchAll, matchSubnet, type U32Key } from './qdisc/u32.ts'

const RTM_NEWTFILTER = 44
const RTM_DELTFILTER = 45
const RTM_GETTFILTER = 46

/** TCA_KIND of a filter to the layout of its TCA_OPTIONS. */
export const filterKinds = { matchall, u32 } as const

/** `ETH_P_*`, linux/if_ether.h: whose packets a filter sees. */
export const filterProtocols = {
  all: 0x0003,
  ip: 0x0800,
  arp: 0x0806,
  '802.1q': 0x8100,
  ipv6: 0x86dd,
} as const
const protocols = chooser(filterProtocols)

/** The qdisc that a filter works for: its handle; `ingress` and `egress` are the hooks of clsact, the first also of ingress. */
export type FilterParent = Place<typeof filterParents>

interface FilterFacts {
  readonly parent: FilterParent
  /** Filters are asked in this order; those of one priority are of one kind and protocol. `pref` to `tc`. */
  readonly priority: number
  readonly protocol: Choice<typeof filterProtocols>
}

/** A filter, or, of u32, one of the tables that its filters are in. */
export type Filter = TrafficFacts &
  FilterFacts & {
    /** A number of the kind's own. */
    readonly handle: number
    readonly chain: number | undefined
  } & OfKind<typeof filterKinds>

export type FilterOptions = FilterFacts & {
  /** Index of the link. */
  readonly index: number
  /** Default: the kernel's choice. */
  readonly handle?: number | undefined
} & KindOptions<typeof filterKinds>

/** A filter, or all of a priority, or all of a qdisc. */
export interface FilterSelection {
  readonly index: number
  readonly parent: FilterParent
  readonly priority?: number | undefined
  readonly protocol?: Choice<typeof filterProtocols> | undefined
  readonly handle?: number | undefined
  /** Needed for a single one. */
  readonly kind?: string | undefined
}

/** `TC_H_MAKE(priority << 16, htons(protocol))` */
const infoOf = ({ priority = 0, protocol }: Pick<FilterSelection, 'priority' | 'protocol'>): number => {
  if (!Number.isInteger(priority) || priority < 0 || priority > 0xffff)
    throw new RangeError(`${priority} is not a priority from 0 to 65535`)
  const number = protocol === undefined ? 0 : protocols.toNumber(protocol)
  return priority * 0x1_0000 + swapped(number)
}

/** Between the machine's byte order and the network's. */
const swapped = (number: number): number => (littleEndian ? ((number & 0xff) << 8) | (number >>> 8) : number)

const describe = ({ index, parent, priority }: FilterSelection): string =>
  `${priority === undefined ? '' : `${priority} `}at ${parent} of link ${index}`

/** @internal Makes a {@link Filter} of a message. */
export const toFilter = (
  header: {
    readonly ifindex: number
    readonly handle: number
    readonly parent: number
    readonly info: number
  },
  attributes: TrafficAttributes,
): Filter => ({
  index: header.ifindex,
  handle: header.handle,
  parent: formatPlace(filterParents, header.parent),
  priority: header.info >>> 16,
  protocol: protocols.fromNumber(swapped(header.info & 0xffff)),
  chain: attributes.chain,
  unknown: attributes.unknown ?? [],
  ...readKind(filterKinds, attributes),
})

const make =
  (verb: string, flags: number) =>
  (options: FilterOptions): Request<void> =>
    change(trafficLayout, {
      op: `${verb} filter ${options.kind} ${describe(options)}`,
      type: RTM_NEWTFILTER,
      flags,
      header: {
        ifindex: linkIndex(options.index),
        handle: options.handle,
        parent: parsePlace(filterParents, options.parent),
        info: infoOf(options),
      },
      attributes: kindAttributes(filterKinds, options),
    })

/**
 * Makes a filter. Equivalent: `tc filter add dev LINK parent 1: protocol ip pref 16 u32 match ip dst P flowid 1:1`; `tc
 * filter add dev LINK parent ffff: protocol all pref 1 u32 match u32 0 0 action mirred egress redirect dev IFB`.
 *
 * Errors: EEXIST (its handle is taken), EINVAL (no such qdisc, or the priority has filters of another kind or protocol),
 * ENOENT (this kernel has no such kind or action), ENODEV (no such link, or none to redirect to).
 * @throws RangeError for what is no handle, or a number that is too large
 */
export const add = make('add', NLM_F.create | NLM_F.excl)

/** Makes a filter or changes the one with its handle. Equivalent: `tc filter replace …`. As {@link add}. */
export const replace = make('replace', NLM_F.create)

/**
 * Removes a filter, all filters of a priority, or all of a qdisc. Equivalent: `tc filter del dev LINK parent 1: [pref N]`.
 *
 * Errors: ENOENT (there is none), EINVAL (no such qdisc), ENODEV.
 */
const remove = (which: FilterSelection): Request<void> =>
  change(trafficLayout, {
    op: `delete filter ${describe(which)}`,
    type: RTM_DELTFILTER,
    header: {
      ifindex: linkIndex(which.index),
      handle: which.handle,
      parent: parsePlace(filterParents, which.parent),
      info: infoOf(which),
    },
    attributes: { kind: which.kind },
  })

export { remove as delete }

/**
 * The filters of a qdisc. Equivalent: `tc -s filter show dev LINK parent 1:`. A link or a qdisc that does not exist has
 * none.
 */
export const list = ({ index, parent }: Pick<FilterSelection, 'index' | 'parent'>): Request<Filter[]> =>
  dump(
    trafficLayout,
    {
      op: `list filters ${describe({ index, parent })}`,
      type: RTM_GETTFILTER,
      header: { ifindex: linkIndex(index), parent: parsePlace(filterParents, parent) },
    },
    (message) => toFilter(message, message.attributes),
  )

/** The link that a filter redirects to; undefined where it does not. */
export const redirectOf = (found: Filter): number | undefined => {
  const acts: readonly Action[] | undefined =
    found.kind === 'u32' || found.kind === 'matchall' ? found.data?.act : undefined
  for (const act of acts ?? [])
    if (act.kind === 'mirred' && act.data?.to === 'egressRedir') return act.data.index
  return undefined
}
