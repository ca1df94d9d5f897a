/** The IFB that what leaves a container is sent round by: the kernel queues only what leaves a link. */
import { createHash } from 'node:crypto'
import type { Attachment } from '../../cni/plugin.ts'
import type { AttachmentId } from '../../cni/types.ts'
import { filter, type Link, link } from '../../netlink/index.ts'
import { aliasPrefix, ownerAlias } from '../shared/identity.ts'
import { peerOf } from '../shared/veth-removal.ts'

/** IFNAMSIZ, less the NUL. */
const MAX_NAME = 15

const hashed = (text: string): string =>
  `bwp${createHash('sha512').update(text).digest('hex')}`.slice(0, MAX_NAME)

export interface IfbNames {
  /** The Go plugin's, which knows one IFB a container and network. Ours, too, as long as no other attachment has it. */
  readonly shared: string
  /** The attachment's alone. */
  readonly own: string
}

/** How the IFB of an attachment may be called. */
export const ifbNames = (network: string, { containerId, ifName }: AttachmentId): IfbNames => ({
  shared: hashed(network + containerId),
  // Neither a container's id nor an interface's name holds one.
  own: hashed(`${network}/${containerId}/${ifName}`),
})

/** Whose an IFB is by its alias; undefined where that does not tell: the Go plugin gives none. */
export const ownedBy = (
  attachment: Pick<Attachment<unknown>, 'network' | 'containerId' | 'ifName'>,
  { alias }: Link,
): boolean | undefined =>
  alias?.startsWith(aliasPrefix) ? alias === ownerAlias(attachment.network, attachment) : undefined

/** Filters that do something: u32 lists its tables, and every priority an entry of its own. */
export const isRule = ({ handle, kind, data }: filter.Filter): boolean =>
  handle !== 0 && (kind !== 'u32' || (data !== undefined && 'sel' in data && data.sel !== undefined))

/**
 * Whether another interface of the container uses an IFB that does not say whose it is: the Go plugin made it for that
 * one, under the name that it would have for this one as well.
 */
export const usedByAnother = async (attachment: Attachment<unknown>, { index }: Link): Promise<boolean> => {
  const { host, netns, container, ifName } = attachment
  // With its namespace its interfaces have gone.
  if (!netns) return false
  for (const other of await container.run(link.list({ kind: 'veth' }))) {
    if (other.name === ifName) continue
    const peer = await peerOf(attachment, other)
    const filters = peer ? await host.run(filter.list({ index: peer.index, parent: 'ffff:' })) : []
    if (filters.some((one) => filter.redirectOf(one) === index)) return true
  }
  return false
}
