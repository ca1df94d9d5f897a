/** Where an attachment's traffic passes on the host: the other end of its veth pair, and what is there already. */
import { CniError, codes, invalidConfig } from '../../cni/error.ts'
import type { Attachment } from '../../cni/plugin.ts'
import type { Result } from '../../cni/types.ts'
import {
  filter,
  isErrno,
  type Link,
  link,
  nsid,
  type Outcome,
  type Qdisc,
  qdisc,
} from '../../netlink/index.ts'
import { findLink } from '../shared/check.ts'
import { containerNetns } from '../shared/netns.ts'
import { ifbNames, isRule } from './ifb.ts'
import { isOurs } from './shape.ts'

/** Of ingress and clsact: there is one place for it. */
export const INGRESS = 'ffff:'

/** The host's end of the pair. */
export interface HostEnd {
  readonly link: Link
  /** What limits what goes to the container; undefined: the kernel's default. */
  readonly root: Qdisc | undefined
  /** What looks at what comes from the container. */
  readonly ingress: Qdisc | undefined
}

/** IFBs that have a name that the attachment's may have. */
export interface NamedIfbs {
  readonly shared: Link | null
  readonly own: Link | null
}

export interface Looked {
  readonly end: HostEnd | null
  readonly ifbs: NamedIfbs
}

/** The value, or `otherwise` where there is no such thing. @throws NetlinkError any other */
const orNone = <T>(outcome: Outcome<T>, otherwise: T, ...codesOfNone: readonly string[]): T => {
  if (outcome.ok) return outcome.value
  if (codesOfNone.includes(outcome.code)) return otherwise
  throw outcome.error
}

const isIfb = (found: Link | null): Link | null => (found?.kind === 'ifb' ? found : null)

/**
 * Looks at everything on the host in one datagram.
 * @param inside the container's interface; null where it is gone
 */
export const look = async (attachment: Attachment<unknown>, inside: Link | null): Promise<Looked> => {
  const { host, netns, network } = attachment
  const names = ifbNames(network, attachment)
  const named = [link.get(names.shared), link.get(names.own)] as const
  const none = (outcome: Outcome<Link>): Link | null => orNone<Link | null>(outcome, null, 'ENODEV')
  const index = inside?.kind === 'veth' ? inside.link : undefined
  if (!netns || index === undefined) {
    const [shared, own] = await host.batch(named)
    return { end: null, ifbs: { shared: isIfb(none(shared)), own: isIfb(none(own)) } }
  }
  const [shared, own, peer, id, root, ingress] = await host.batch([
    ...named,
    link.get(index),
    nsid.get(netns),
    qdisc.get({ index, parent: 'root' }),
    qdisc.get({ index, parent: 'ingress' }),
  ])
  const ifbs = { shared: isIfb(none(shared)), own: isIfb(none(own)) }
  const found = none(peer)
  // Indices are unique in a namespace only.
  const isPeer =
    found?.kind === 'veth' && found.link === inside?.index && found.linkNetnsId === orNone(id, undefined)
  if (!found || !isPeer) return { end: null, ifbs }
  const told = (outcome: Outcome<Qdisc | undefined>): Qdisc | undefined => {
    const value = orNone(outcome, undefined, 'ENOENT', 'EINVAL', 'ENODEV')
    return value?.handle === '0:' ? undefined : value
  }
  return { end: { link: found, root: told(root), ingress: told(ingress) }, ifbs }
}

/**
 * The host's end of the container's interface, and what is there.
 * @throws CniError code 7 where the interface is no veth, or its other end is not on the host: what the plugin does is
 *   done there
 */
export const findPlace = async (
  attachment: Attachment<unknown>,
  { interfaces = [] }: Result,
): Promise<Looked & { readonly end: HostEnd }> => {
  const { container, ifName } = attachment
  containerNetns(attachment)
  if (interfaces.length === 0)
    throw invalidConfig('no interfaces provided', 'the plugin before it in the chain has made none')
  const inside = await findLink(container, ifName)
  const useful = 'bandwidth works on the host, at the other end of a veth pair: use it behind bridge or ptp'
  if (inside?.kind !== 'veth' || inside.link === undefined) {
    const why = inside ? `it is a ${inside.kind ?? 'device of hardware'}` : 'there is no such interface'
    throw invalidConfig(`container interface ${ifName} has no veth peer: ${why}`, useful)
  }
  const looked = await look(attachment, inside)
  if (looked.end) return { ...looked, end: looked.end }
  throw invalidConfig(`veth peer with index ${inside.link} is not in host ns`, useful)
}

const inTheWay = (name: string, what: string): CniError =>
  new CniError({
    code: codes.internal,
    msg: `interface ${name} has ${what} already: file exists`,
    details: `somebody else shapes its traffic: look at it by tc qdisc show dev ${name}, tc filter show dev ${name} ingress`,
  })

/** A filter that sends a link's incoming packets to another link. */
export interface Redirect {
  /** Index of the link that it leads to; 0 where that is gone. */
  readonly target: number
  readonly selection: filter.FilterSelection
}

/** What looks at a link's incoming packets. */
export interface Redirects {
  /** In the order in which they are asked. */
  readonly own: readonly Redirect[]
  /** Whether there are others, that do something else. */
  readonly others: boolean
}

/** @throws NetlinkError */
export const redirectsOf = async (
  { host }: Pick<Attachment<unknown>, 'host'>,
  { link: { index }, ingress }: HostEnd,
): Promise<Redirects> => {
  const own: Redirect[] = []
  let others = false
  if (!ingress) return { own, others }
  for (const one of await host.run(filter.list({ index, parent: INGRESS }))) {
    if (!isRule(one)) continue
    const target = one.kind === 'u32' ? filter.redirectOf(one) : undefined
    const { priority, protocol, handle, kind } = one
    if (target === undefined) others = true
    else own.push({ target, selection: { index, parent: INGRESS, priority, protocol, handle, kind } })
  }
  return { own, others }
}

/**
 * Refuses a link whose traffic somebody else has shaped.
 * @param ifb the attachment's of an earlier ADD
 * @throws CniError naming what is there
 */
export const refuseForeign = (
  { link: { name }, root, ingress }: HostEnd,
  { own, others }: Redirects,
  into: boolean,
  out: boolean,
  ifb: Link | undefined,
): void => {
  if (into && root && !isOurs(root)) throw inTheWay(name, `qdisc ${root.kind} ${root.handle}`)
  if (!out || !ingress) return
  if (ingress.kind !== 'ingress') throw inTheWay(name, `qdisc ${ingress.kind} ${ingress.handle}`)
  const foreign = own.some(({ target }) => target !== 0 && target !== ifb?.index)
  if (others || foreign) throw inTheWay(name, 'filters for what comes in')
}

/** Whether an error of the kernel says that a thing is not there. */
export const isGone = (error: unknown): boolean => isErrno(error, 'ENOENT', 'EINVAL', 'ENODEV')
