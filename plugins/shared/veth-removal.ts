/** Finding and removing an attachment's veth pair. Bridge and ptp. */
import type { Attachment, Context } from '../../cni/plugin.ts'
import type { AttachmentId } from '../../cni/types.ts'
import { type BriefLink, type Link, link, nsid, sameMac } from '../../netlink/index.ts'
import { findBrief, findLink } from './check.ts'
import { aliasPrefix, isVethName, ownerAlias, ownerOfAlias } from './identity.ts'
import { deleteLink } from './veth.ts'

/** What DEL finds of a pair. */
export interface FoundVeth {
  /** Index of the container's end, where it is ours and has its name still. */
  readonly inside: number | undefined
  /** Indices of the host's ends to delete; the other one of each goes with it. */
  readonly ends: readonly number[]
  /** Index of the container's end, where its other one is not on the host. */
  readonly loose: number | undefined
  /** The name belongs to an interface of somebody else. What is known by container and name alone is that one's. */
  readonly taken: boolean
}

/**
 * The host's end of a container's veth; null where its other end is elsewhere. Indices are unique in a namespace only,
 * so the namespaces are compared too.
 */
export const peerOf = async (
  { host, netns }: Pick<Attachment<unknown>, 'host' | 'netns'>,
  inside: BriefLink,
): Promise<BriefLink | null> => {
  if (!netns || inside.kind !== 'veth' || inside.link === undefined) return null
  const peer = await findBrief(host, inside.link)
  if (peer?.kind !== 'veth' || peer.link !== inside.index) return null
  return peer.linkNetnsId === (await host.run(nsid.get(netns))) ? peer : null
}

/**
 * Why the interface of the attachment's name is not the attachment's; null where it is. An ADD that failed on a taken
 * name is followed by a DEL, which must not remove what was there before. Our pairs say by their alias whose they are.
 * Those of other implementations do not: they are known by the result of ADD, or else by where they are plugged in.
 */
const whyForeign = async (
  attachment: Attachment<unknown>,
  inside: BriefLink,
  peer: BriefLink | null,
  master: string | null,
): Promise<string | null> => {
  const { host, network, prevResult, ifName } = attachment
  if (inside.kind !== 'veth') return `it is no veth: ${inside.kind ?? 'hardware'}`
  if (peer?.alias?.startsWith(aliasPrefix))
    return peer.alias === ownerAlias(network, attachment) ? null : `it belongs to ${peer.alias}`
  const listed = prevResult?.interfaces ?? []
  if (peer && listed.some(({ name, sandbox }) => !sandbox && name === peer.name)) return null
  if (!peer) {
    const known = listed.some(
      ({ name, mac, sandbox }) => sandbox && name === ifName && mac && sameMac(mac, inside.address),
    )
    return known ? null : 'its other end is not on the host'
  }
  if (peer.master === undefined) return null
  const other = await findBrief(host, peer.master)
  return !other || other.name === master ? null : `${peer.name} is plugged into ${other.name}`
}

/** Indices of the host's ends of our pairs that belong to attachments of a network, by their alias. */
const ownedVeths = async ({
  host,
  network,
}: Context<unknown>): Promise<{ index: number; owner: AttachmentId }[]> =>
  (await host.run(link.listNames('veth'))).flatMap(({ index, alias }) => {
    const owner = ownerOfAlias(network, alias)
    return owner ? [{ index, owner }] : []
  })

/** Neither part of it holds a slash. */
const keyOf = ({ containerId, ifName }: AttachmentId): string => `${containerId}/${ifName}`

/** The host's ends by the result of ADD, where no alias tells. Its other veth pairs (a gateway's) stay on the host. */
const listedVeths = async ({ host, prevResult }: Attachment<unknown>): Promise<Link[]> => {
  const found: Link[] = []
  for (const { name, mac, sandbox } of prevResult?.interfaces ?? []) {
    if (sandbox || !mac || !isVethName(name)) continue
    const there = await findLink(host, name)
    const isSame = there?.kind === 'veth' && sameMac(mac, there.address)
    if (isSame && there.linkNetnsId !== undefined && !there.alias?.startsWith(aliasPrefix)) found.push(there)
  }
  return found
}

/**
 * Looks for the pair of an attachment: by its name in the container, or, where that is gone or renamed or the
 * namespace can't be reached, by the host's end.
 * @param master name of what the host's end is plugged into; null: nothing
 * @throws NetlinkError
 */
export const findVeth = async (
  attachment: Attachment<unknown>,
  master: string | null,
): Promise<FoundVeth> => {
  const { netns, ifName, log } = attachment
  const inside = netns && (await findBrief(attachment.container, ifName))
  const peer = inside && (await peerOf(attachment, inside))
  const foreign = inside && (await whyForeign(attachment, inside, peer, master))
  if (inside && foreign === null)
    return {
      inside: inside.index,
      ends: peer ? [peer.index] : [],
      loose: peer ? undefined : inside.index,
      taken: false,
    }
  if (inside) log.warn(`${ifName} is left alone: ${foreign}`)
  const owned = (await ownedVeths(attachment)).filter(({ owner }) => keyOf(owner) === keyOf(attachment))
  const links = owned.length > 0 ? owned : await listedVeths(attachment)
  return {
    inside: undefined,
    ends: links.map(({ index }) => index),
    loose: undefined,
    taken: inside !== null,
  }
}

/** Deletes what {@link findVeth} has found. What has gone since is no error. @throws NetlinkError */
export const removeVeth = async (
  { container, deleteHostLink }: Attachment<unknown>,
  { ends, loose }: FoundVeth,
): Promise<void> => {
  if (loose !== undefined) await deleteLink(container, loose)
  await Promise.all(ends.map(deleteHostLink))
}

/** Removes the pairs of a network whose attachments are not in the list. @throws NetlinkError */
export const collectVeths = async (
  context: Context<unknown>,
  valid: readonly AttachmentId[],
): Promise<void> => {
  const kept = new Set(valid.map(keyOf))
  const stale = (await ownedVeths(context)).filter(({ owner }) => !kept.has(keyOf(owner)))
  await Promise.all(stale.map(({ index }) => context.deleteHostLink(index)))
}
