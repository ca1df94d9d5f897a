/** Removes the limits of attachments: the IFBs, and what is on a veth that stays. */
import type { Attachment, Context } from '../../cni/plugin.ts'
import type { AttachmentId } from '../../cni/types.ts'
import {
  type Connection,
  filter,
  isErrno,
  type Link,
  link,
  qdisc,
  type Request,
} from '../../netlink/index.ts'
import { findLink } from '../shared/check.ts'
import { aliasPrefix, ownerAlias, ownerOfAlias } from '../shared/identity.ts'
import { ifbNames, ownedBy, usedByAnother } from './ifb.ts'
import { type HostEnd, INGRESS, isGone, look, type NamedIfbs, type Redirects, redirectsOf } from './place.ts'
import { isOurs, ROOT } from './shape.ts'

/** The attachment's IFBs. One that does not say whose it is belongs to the attachment that uses it, or to nobody. */
const ownIfbs = async (
  attachment: Attachment<unknown>,
  { own, shared }: NamedIfbs,
  { own: redirects }: Redirects,
): Promise<Link[]> => {
  const targets = redirects.map(({ target }) => target)
  const isOwn = async (found: Link): Promise<boolean> =>
    ownedBy(attachment, found) ??
    (targets.includes(found.index) ||
      found.name === ifbNames(attachment.network, attachment).own ||
      !(await usedByAnother(attachment, found)))
  const ours: Link[] = []
  for (const found of [own, shared]) if (found && (await isOwn(found))) ours.push(found)
  return ours
}

/**
 * Whether a veth is the attachment's: a DEL also follows an ADD that failed because the container had an interface of the
 * name, which may be limited by another network's configuration.
 */
const isOwnEnd = (
  attachment: Attachment<unknown>,
  { link: { alias, name } }: HostEnd,
  redirects: Redirects,
  ifbs: readonly Link[],
): boolean => {
  if (alias?.startsWith(aliasPrefix)) return alias === ownerAlias(attachment.network, attachment)
  if (ifbs.some(({ index }) => redirects.own.some(({ target }) => target === index))) return true
  return attachment.prevResult?.interfaces?.some((one) => !one.sandbox && one.name === name) ?? false
}

/** What a veth has of ours. Somebody else's filters stay, and what they are in. */
const endRequests = (
  { link: { index }, root, ingress }: HostEnd,
  { own, others }: Redirects,
  ifbs: readonly Link[],
): Request<void>[] => {
  const ours = own.filter(({ target }) => target === 0 || ifbs.some((ifb) => ifb.index === target))
  const isAlone = ingress?.kind === 'ingress' && ours.length > 0 && ours.length === own.length && !others
  return [
    ...(isOurs(root) ? [qdisc.delete({ index, parent: 'root', handle: ROOT })] : []),
    ...(isAlone
      ? [qdisc.delete({ index, parent: 'ingress', handle: INGRESS })]
      : ours.map(({ selection }) => filter.delete(selection))),
  ]
}

/** In one datagram; that something has gone since is no error. @throws NetlinkError the first other one */
const removeAll = async (connection: Connection, requests: readonly Request<void>[]): Promise<void> => {
  if (requests.length === 0) return
  for (const outcome of await connection.batch(requests))
    if (!outcome.ok && !isGone(outcome.error)) throw outcome.error
}

const insideOf = async ({ netns, container, ifName }: Attachment<unknown>): Promise<Link | null> => {
  if (!netns) return null
  try {
    return await findLink(container, ifName)
  } catch (error) {
    if (isErrno(error, 'ENODEV')) return null
    throw error
  }
}

/** Needs neither the container's namespace, nor the result of ADD, nor its configuration. @throws NetlinkError */
export const removeLimits = async (attachment: Attachment<unknown>): Promise<void> => {
  const { host } = attachment
  const { end, ifbs } = await look(attachment, await insideOf(attachment))
  const redirects = end ? await redirectsOf(attachment, end) : { own: [], others: false }
  const ours = await ownIfbs(attachment, ifbs, redirects)
  const isOwn = end !== null && isOwnEnd(attachment, end, redirects, ours)
  // Redirected to an IFB that has gone, packets are dropped.
  await removeAll(host, [
    ...(isOwn ? endRequests(end, redirects, ours) : []),
    ...ours.map(({ index }) => link.delete(index)),
  ])
}

/**
 * Removes the IFBs of a network whose attachments are not in the list. Those of the Go plugin do not say whose they are,
 * not even of which network, and stay until their DEL.
 * @throws NetlinkError
 */
export const collectLimits = async (
  { host, network }: Context<unknown>,
  valid: readonly AttachmentId[],
): Promise<void> => {
  const stale = (await host.run(link.list({ kind: 'ifb' }))).filter(({ alias }) => {
    const owner = ownerOfAlias(network, alias)
    return owner && !valid.some((id) => id.containerId === owner.containerId && id.ifName === owner.ifName)
  })
  await removeAll(
    host,
    stale.map(({ index }) => link.delete(index)),
  )
}
