/**
 * What host-local keeps in `<dataDir>/<network>/`, the same as the Go plugin:
 *
 *   10.1.2.3             a reservation: `<container id>\r\n<interface>`, or the id alone (written before 2018)
 *   last_reserved_ip.0   the last address reserved from range set 0
 *   lock                 empty, for flock(2)
 *
 * and of our own `.linkwright-new`, while a reservation is being made.
 */
import type { AttachmentId } from '../../cni/types.ts'
import { parseIp } from '../../netlink/ip.ts'

export const LOCK = 'lock'
const LAST_RESERVED = 'last_reserved_ip.'
export const lastReserved = (set: number): string => `${LAST_RESERVED}${set}`

/** One name is enough: whoever makes a reservation holds the lock. A left-over is removed by whoever comes next. */
export const NEW = '.linkwright-new'

/** Whether a file of the directory can be a reservation. */
export const isOwned = (name: string): boolean => name !== LOCK && !name.startsWith(LAST_RESERVED)

/** Whether it is named after an address. */
export const isAddress = (name: string): boolean => parseIp(name) !== null

/** Who holds a reservation: the trimmed content of its file. */
export type Owner = string

const SEPARATOR = '\r\n'

export const ownerOf = ({ containerId, ifName }: AttachmentId): Owner => `${containerId}${SEPARATOR}${ifName}`

/** What old releases wrote for any interface of the container. */
export const oldOwnerOf = ({ containerId }: Pick<AttachmentId, 'containerId'>): Owner => containerId

/** An owner in one line: `<container id>:<interface>`. Neither part can have a colon. */
export const showOwner = (owner: Owner): string => owner.replace(SEPARATOR, ':')

/** Whether a file's content could have been written for an attachment, or is something else that somebody put there. */
export const isOwner = (content: string): boolean =>
  /^[a-zA-Z0-9][a-zA-Z0-9_.-]*(?:\r\n[^/:\s\0]+)?$/.test(content)
