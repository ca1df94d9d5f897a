/** The interface of a lease, looked up each time it is needed: an open namespace would outlive its container. */
import {
  type Connection,
  isErrno,
  type Link,
  link,
  Netns,
  NotANamespaceError,
  sameMac,
} from '../../netlink/index.ts'
import type { Lower } from './lower.ts'

/** How an interface is found again. */
export interface Whereabouts {
  /** Path of the namespace, as this process sees it. */
  readonly path: string
  /** Its device and inode. Empty: whichever is there. */
  readonly netnsId: string
  readonly ifName: string
  /** Of the interface; 0: not known. */
  readonly index: number
  readonly mac: string
  /** Where it is heard what the interface does not hear. */
  readonly lower?: Lower | undefined
}

/** The namespace or the interface is not there any more, or is another one. */
export class GoneError extends Error {
  override readonly name = 'GoneError'
}

const openNetns = ({ path, netnsId }: Whereabouts): Netns => {
  let netns: Netns
  try {
    netns = Netns.open(path)
  } catch (error) {
    if (error instanceof NotANamespaceError || isErrno(error, 'ENOENT', 'ENOTDIR', 'ESRCH', 'ENXIO'))
      throw new GoneError(`the namespace ${path} is gone`, { cause: error })
    throw error
  }
  if (netnsId === '' || netns.identity === netnsId) return netns
  netns.close()
  throw new GoneError(`${path} is another namespace now`)
}

/** The interface by its number, unless that is another's by now; else by its name and MAC. */
const find = async (connection: Connection, { ifName, index, mac }: Whereabouts): Promise<Link | null> => {
  const look = async (which: number | string): Promise<Link | null> => {
    try {
      return await connection.run(link.get(which))
    } catch (error) {
      if (isErrno(error, 'ENODEV')) return null
      throw error
    }
  }
  if (index === 0) return await look(ifName)
  const same = await look(index)
  // It may have been renamed, or have got another MAC (tuning); hardly both.
  if (same && (same.name === ifName || sameMac(mac, same.address))) return same
  const named = await look(ifName)
  return named && sameMac(mac, named.address) ? named : null
}

/** An interface, in a namespace that is open. */
export interface OpenPlace {
  readonly netns: Netns
  readonly connection: Connection
  readonly link: Link
}

/**
 * Does something with the interface of a lease while its namespace is open.
 * @throws GoneError; SystemError where the namespace can't be opened
 */
export const atPlace = async <T>(where: Whereabouts, work: (place: OpenPlace) => Promise<T>): Promise<T> => {
  using netns = openNetns(where)
  const connection = netns.connect()
  try {
    const found = await find(connection, where)
    if (!found) throw new GoneError(`${where.path} has no interface ${where.ifName}`)
    return await work({ netns, connection, link: found })
  } finally {
    connection.close()
  }
}

/** The namespace alone, to be closed. @throws GoneError; SystemError */
export const openPlace = (where: Whereabouts): Netns => openNetns(where)
