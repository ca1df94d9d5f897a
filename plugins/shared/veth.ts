/** The veth pair of a container, each end born in its place by one message. Bridge and ptp. */
import { CniError } from '../../cni/error.ts'
import type { Attachment, Context } from '../../cni/plugin.ts'
import type { AttachmentId } from '../../cni/types.ts'
import { apply, type Step } from '../../cni/undo.ts'
import { type Connection, isErrno, type Link, link, NetlinkError } from '../../netlink/index.ts'
import { findLink } from './check.ts'
import { ownerAlias, ownerOfAlias, randomMac, vethName } from './identity.ts'

export interface VethOptions {
  /** Bytes, of both ends; 0: the kernel's default. */
  readonly mtu: number
  /** Of the container's end; empty: random. */
  readonly mac: string
  /** Index of the bridge that the host's end becomes a port of. */
  readonly master?: number | undefined
  /** Further requests for the host's end, which they know by its name. */
  readonly steps?: ((hostName: string) => readonly Step[]) | undefined
}

export interface Veth {
  /** The host's end, which is up. */
  readonly hostName: string
  /** Index of the container's end, which is down. */
  readonly index: number
  readonly mac: string
}

/** In a new namespace only the loopback has an index. */
const FIRST_INDEX = 2
const TRIES = 10

/** Deletes a link; that there is none (any more) is no error. */
export const deleteLink = async (connection: Connection, which: string | number): Promise<void> => {
  try {
    await connection.run(link.delete(which))
  } catch (error) {
    if (!isErrno(error, 'ENODEV')) throw error
  }
}

/** An index for the container's end that is free now. @throws CniError where its name is taken */
const freeIndex = async ({ container, ifName }: Attachment<unknown>, hostName: string): Promise<number> => {
  const links = await container.run(link.list())
  if (links.some(({ name }) => name === ifName))
    throw new CniError({
      code: 999,
      msg: `container veth name (${JSON.stringify(ifName)}) peer provided (${JSON.stringify(hostName)}) already exists`,
      details: `the container has an interface ${ifName} already; CNI_IFNAME has to name a new one`,
    })
  return Math.max(FIRST_INDEX, ...links.map(({ index }) => index + 1))
}

/**
 * Makes the pair. The index of the container's end is chosen here, so that addresses and routes can name it without
 * asking; where the guess is taken (EEXIST, EBUSY) a free one is looked up. Equivalent: `ip link add vethX master BR up
 * type veth peer name eth0 netns NS`.
 * @throws CniError, NetlinkError
 */
export const addVeth = async (attachment: Attachment<unknown>, options: VethOptions): Promise<Veth> => {
  const { host, hostNetns, netns, network, ifName, undo } = attachment
  const mac = options.mac || randomMac()
  const mtu = options.mtu || undefined
  const alias = ownerAlias(network, attachment)
  let index = FIRST_INDEX
  for (let attempt = 1; ; attempt++) {
    const hostName = vethName()
    const request = link.add({
      kind: 'veth',
      name: hostName,
      address: randomMac(),
      mtu,
      master: options.master,
      up: true,
      data: { peer: { name: ifName, index, address: mac, mtu, netns: netns ?? undefined } },
    })
    try {
      await apply(host, undo, [
        { request, undo: [`delete ${hostName}`, () => deleteLink(host, hostName)] },
        ...(alias ? [{ request: link.set(hostName, { alias }) }] : []),
        ...(options.steps?.(hostName) ?? []),
      ])
    } catch (error) {
      const taken =
        error instanceof NetlinkError && error.op === request.op && isErrno(error, 'EEXIST', 'EBUSY')
      if (attempt === TRIES || !taken) throw error
      index = await freeIndex(attachment, hostName)
      continue
    }
    // A container must not be able to advertise routes to the host. Without IPv6 there is no such setting.
    hostNetns.writeSysctls([{ name: `net/ipv6/conf/${hostName}/accept_ra`, value: '0' }])
    return { hostName, index, mac }
  }
}

/** The host's ends of veth pairs that belong to attachments of a network, by their alias. */
const ownedVeths = async ({
  host,
  network,
}: Context<unknown>): Promise<{ link: Link; owner: AttachmentId }[]> =>
  (await host.run(link.list({ kind: 'veth' }))).flatMap((found) => {
    const owner = ownerOfAlias(network, found.alias)
    return owner ? [{ link: found, owner }] : []
  })

const same = (a: AttachmentId, b: AttachmentId): boolean =>
  a.containerId === b.containerId && a.ifName === b.ifName

/**
 * Removes an attachment's pair: by its name in the container, or, where the namespace can't be reached, by the alias of
 * the host's end. An interface of that name that is no veth, or belongs to another attachment, is left alone: that is
 * what a DEL after an ADD that failed on a taken name meets.
 * @throws NetlinkError
 */
export const removeVeth = async (attachment: Attachment<unknown>): Promise<void> => {
  const { host, netns, network, ifName, log } = attachment
  if (!netns) {
    const left = (await ownedVeths(attachment)).filter(({ owner }) => same(owner, attachment))
    for (const { link: found } of left) await deleteLink(host, found.index)
    return
  }
  const found = await findLink(attachment.container, ifName)
  if (!found) return
  if (found.kind !== 'veth') {
    log.warn(`${ifName} is left alone: it is no veth`, { kind: found.kind ?? 'hardware' })
    return
  }
  const peer = found.link === undefined ? undefined : await peerOnHost(host, found.link)
  const owner = peer?.alias?.startsWith('linkwright:') ? peer.alias : undefined
  if (owner && owner !== ownerAlias(network, attachment)) {
    log.warn(`${ifName} is left alone: it belongs to another attachment`, { owner })
    return
  }
  await deleteLink(attachment.container, found.index)
}

/** The link on the host that a container's veth says is its peer; undefined where there is none of that index. */
const peerOnHost = async (host: Connection, index: number): Promise<Link | undefined> => {
  try {
    return await host.run(link.get(index))
  } catch (error) {
    if (isErrno(error, 'ENODEV')) return undefined
    throw error
  }
}

/** Removes the pairs of a network whose attachments are not in the list. */
export const collectVeths = async (
  context: Context<unknown>,
  valid: readonly AttachmentId[],
): Promise<void> => {
  for (const { link: found, owner } of await ownedVeths(context))
    if (!valid.some((id) => same(id, owner))) await deleteLink(context.host, found.index)
}
