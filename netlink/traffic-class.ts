/** Classes of a qdisc: the parts that it divides its link into. */
import {
  formatHandle,
  formatPlace,
  type Handle,
  type Place,
  parseHandle,
  qdiscParents,
} from './qdisc/handle.ts'
import { classKinds } from './qdisc/kinds.ts'
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
import { change, dump, NLM_F, type Request } from './request.ts'

export type { HtbClass } from './qdisc/htb.ts'

const RTM_NEWTCLASS = 40
const RTM_DELTCLASS = 41
const RTM_GETTCLASS = 42

/** A class. */
export type TrafficClass = TrafficFacts & {
  readonly handle: Handle
  /** The class above, or the qdisc: `root` where it is the uppermost. */
  readonly parent: Place<typeof qdiscParents>
  /** Handle of the qdisc inside it, where that is not the default. */
  readonly leaf: Handle | undefined
  readonly statistics: TrafficStatistics | undefined
} & OfKind<typeof classKinds>

export type ClassOptions = {
  /** Index of the link. */
  readonly index: number
  readonly handle: Handle
  /** The class above, or the qdisc. */
  readonly parent: Handle
} & KindOptions<typeof classKinds>

/** @internal Makes a {@link TrafficClass} of a message. */
export const toTrafficClass = (
  header: {
    readonly ifindex: number
    readonly handle: number
    readonly parent: number
    readonly info: number
  },
  attributes: TrafficAttributes,
): TrafficClass => ({
  index: header.ifindex,
  handle: formatHandle(header.handle),
  parent: formatPlace(qdiscParents, header.parent),
  leaf: header.info === 0 ? undefined : formatHandle(header.info),
  statistics: toStatistics(attributes),
  unknown: attributes.unknown ?? [],
  ...readKind(classKinds, attributes),
})

const make =
  (verb: string, flags: number) =>
  (options: ClassOptions): Request<void> =>
    change(trafficLayout, {
      op: `${verb} class ${options.kind} ${options.handle} of link ${options.index}`,
      type: RTM_NEWTCLASS,
      flags,
      header: {
        ifindex: linkIndex(options.index),
        handle: parseHandle(options.handle),
        parent: parseHandle(options.parent),
      },
      attributes: kindAttributes(classKinds, options),
    })

/**
 * Makes a class. Equivalent: `tc class add dev LINK parent 1: classid 1:30 htb rate 1mbit burst 10k`.
 *
 * Errors: EEXIST, ENOENT (no such qdisc), EINVAL, ENODEV.
 * @throws RangeError for what is no handle, or a number that is too large
 */
export const add = make('add', NLM_F.create | NLM_F.excl)

/** Makes a class or changes it. Equivalent: `tc class replace …`. Errors and throws as {@link add}, without EEXIST. */
export const replace = make('replace', NLM_F.create)

/**
 * Removes a class. Equivalent: `tc class del dev LINK classid 1:30`.
 *
 * Errors: ENOENT, EBUSY (it has classes below, or a filter leads to it), ENODEV.
 */
const remove = ({ index, handle }: Pick<ClassOptions, 'index' | 'handle'>): Request<void> =>
  change(trafficLayout, {
    op: `delete class ${handle} of link ${index}`,
    type: RTM_DELTCLASS,
    header: { ifindex: linkIndex(index), handle: parseHandle(handle) },
  })

export { remove as delete }

/** The classes of a link. Equivalent: `tc -s class show dev LINK`. A link that does not exist has none. */
export const list = ({ index }: { readonly index: number }): Request<TrafficClass[]> =>
  dump(
    trafficLayout,
    {
      op: `list classes of link ${index}`,
      type: RTM_GETTCLASS,
      header: { ifindex: linkIndex(index) },
    },
    (message) => toTrafficClass(message, message.attributes),
  )
