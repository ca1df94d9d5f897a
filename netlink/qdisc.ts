/** Queueing disciplines: in which order, and how fast, packets leave a link, or come in by it. */

import {
  formatHandle,
  formatPlace,
  type Handle,
  type Place,
  parseHandle,
  parsePlace,
  qdiscParents,
} from './qdisc/handle.ts'
import { qdiscKinds } from './qdisc/kinds.ts'
import {
  type KindOptions,
  kindAttributes,
  linkIndex,
  type OfKind,
  readKind,
  type TrafficAttributes,
  type TrafficFacts,
  type TrafficStatistics,
  toStatistics,
  trafficLayout,
} from './qdisc/layout.ts'
import { change, dump, NLM_F, type Request, readMessage } from './request.ts'

export type { Handle } from './qdisc/handle.ts'
export type { Htb } from './qdisc/htb.ts'
export type { TrafficStatistics } from './qdisc/layout.ts'
export { TICK, toTicks } from './qdisc/rate.ts'
export type { Tbf } from './qdisc/tbf.ts'

const RTM_NEWQDISC = 36
const RTM_DELQDISC = 37
const RTM_GETQDISC = 38

/** A place that a qdisc can have: `root`, `ingress` (clsact's as well), or a class. */
export type QdiscParent = Place<typeof qdiscParents>

/** A queueing discipline. */
export type Qdisc = TrafficFacts & {
  /** `0:` for one that the kernel has put there by default. */
  readonly handle: Handle
  readonly parent: QdiscParent
  readonly statistics: TrafficStatistics | undefined
} & OfKind<typeof qdiscKinds>

/** Where a qdisc is. */
export interface QdiscPlace {
  /** Index of the link. */
  readonly index: number
  readonly parent: QdiscParent
  readonly handle?: Handle | undefined
}

export type QdiscOptions = QdiscPlace & KindOptions<typeof qdiscKinds>

const headerOf = ({ index, parent, handle }: QdiscPlace) => ({
  ifindex: linkIndex(index),
  parent: parsePlace(qdiscParents, parent),
  handle: handle === undefined ? 0 : parseHandle(handle),
})

const describe = ({ index, parent, handle }: QdiscPlace): string =>
  `${handle === undefined ? '' : `${handle} `}at ${parent} of link ${index}`

/** @internal Makes a {@link Qdisc} of a message. */
export const toQdisc = (
  header: { readonly ifindex: number; readonly handle: number; readonly parent: number },
  attributes: TrafficAttributes,
): Qdisc => ({
  index: header.ifindex,
  handle: formatHandle(header.handle),
  parent: formatPlace(qdiscParents, header.parent),
  statistics: toStatistics(attributes),
  unknown: attributes.unknown ?? [],
  ...readKind(qdiscKinds, attributes),
})

const make =
  (verb: string, flags: number) =>
  (options: QdiscOptions): Request<void> =>
    change(trafficLayout, {
      op: `${verb} qdisc ${options.kind} ${describe(options)}`,
      type: RTM_NEWQDISC,
      flags,
      header: headerOf(options),
      attributes: kindAttributes(qdiscKinds, options),
    })

/**
 * Puts a qdisc in a place that has none, or the kernel's default. Equivalent: `tc qdisc add dev LINK root handle 1: tbf
 * rate 1mbit burst 10k limit 20k`; `tc qdisc add dev LINK handle ffff: ingress`.
 *
 * Errors: EEXIST (there is one, or its handle is another's), ENOENT (this kernel has no such kind, or there is no such
 * class), EINVAL, ENODEV.
 * @throws RangeError for what is no handle, or a number that is too large
 */
export const add = make('add', NLM_F.create | NLM_F.excl)

/**
 * The same where there may be one: one of the same kind and handle is changed in place and keeps what waits in it, one
 * with another handle goes. Equivalent: `tc qdisc replace …`.
 *
 * Errors: EINVAL (one of another kind has the handle), EOPNOTSUPP (its kind can't be changed), and as {@link add}.
 * @throws RangeError as {@link add}
 */
export const replace = make('replace', NLM_F.create | NLM_F.replace)

/**
 * Removes a qdisc, with its classes and filters. The kernel's default takes the place. Equivalent: `tc qdisc del dev LINK
 * root [handle 1:]`.
 *
 * Errors: ENOENT (there is none), EINVAL (there is one with another handle, or none at `ingress`), ENODEV.
 */
const remove = (place: QdiscPlace): Request<void> =>
  change(trafficLayout, {
    op: `delete qdisc ${describe(place)}`,
    type: RTM_DELQDISC,
    header: headerOf(place),
  })

export { remove as delete }

/**
 * One qdisc; undefined where there is only the kernel's default, of which it does not tell. Equivalent: `tc -s qdisc show
 * dev LINK root`.
 *
 * Errors: ENOENT or EINVAL (there is none at `ingress`, one with another handle, or, to older kernels, only the default),
 * ENODEV.
 */
export const get = (place: QdiscPlace): Request<Qdisc | undefined> => {
  const asked = {
    op: `get qdisc ${describe(place)}`,
    type: RTM_GETQDISC,
    // The kernel answers by a notification, which who asked gets only with this.
    flags: NLM_F.echo,
    header: headerOf(place),
  }
  return {
    ...change(trafficLayout, asked),
    read([message]) {
      if (!message) return undefined
      const found = readMessage(trafficLayout, message.payload)
      return toQdisc(found, found.attributes)
    },
  }
}

/**
 * All qdiscs, or those of a link (the kernel tells all; {@link get} asks for one). Equivalent: `tc -s qdisc show [dev
 * LINK]`.
 */
export const list = (filter: { readonly index?: number | undefined } = {}): Request<Qdisc[]> =>
  dump(trafficLayout, { op: 'list qdiscs', type: RTM_GETQDISC }, (message) =>
    filter.index === undefined || message.ifindex === filter.index
      ? toQdisc(message, message.attributes)
      : undefined,
  )
