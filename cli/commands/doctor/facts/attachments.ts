/** Attachments that the cache knows, and whether their containers are there. */
import { accessSync, constants, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type CacheEntry, listCache } from '../../../../cni/cache.ts'
import { isErrno } from '../../../../netlink/error.ts'
import { Netns, NotANamespaceError } from '../../../../netlink/netns.ts'

/** `unknown`: it has no path, or the path can't be opened by this process. */
export type NamespaceState = 'there' | 'gone' | 'unknown'

export interface AttachmentFacts
  extends Pick<CacheEntry, 'network' | 'containerId' | 'ifName' | 'netnsPath'> {
  readonly namespace: NamespaceState
  /** Families of its addresses. */
  readonly families: readonly (4 | 6)[]
}

const stateOf = (path: string): NamespaceState => {
  if (path === '') return 'unknown'
  try {
    Netns.open(path).close()
    return 'there'
  } catch (error) {
    const gone = error instanceof NotANamespaceError || isErrno(error, 'ENOENT', 'ENOTDIR', 'ESRCH', 'ENXIO')
    return gone ? 'gone' : 'unknown'
  }
}

/** Families of the addresses in a result of any version. */
const familiesOf = ({ result }: CacheEntry): readonly (4 | 6)[] => {
  const text = JSON.stringify([result?.ips, result?.ip4, result?.ip6] as const)
  const addresses = [...text.matchAll(/"(?:address|ip)":"([^"/]+)\//g)].map(([, address]) => address!)
  return [...new Set(addresses.map((address) => (address.includes(':') ? 6 : 4)))]
}

/** What can't be read would seem not to be there, and its attachments nobody's. @throws SystemError */
const checkReadable = (path: string): void => {
  try {
    accessSync(path, constants.R_OK)
  } catch (error) {
    // Deleted meanwhile.
    if (!isErrno(error, 'ENOENT')) throw error
  }
}

export interface CacheFacts {
  readonly attachments: readonly AttachmentFacts[]
  /** Files that say of no attachment whose it is: broken ones, and those of old releases of libcni. */
  readonly unread: number
}

/** What the cache knows; null where there is none. @throws SystemError where it, or a file of it, can't be read */
export const lookAtCache = (cacheDir: string): CacheFacts | null => {
  const results = join(cacheDir, 'results')
  if (!statSync(results, { throwIfNoEntry: false })) return null
  const names = readdirSync(results)
  for (const name of names) checkReadable(join(results, name))
  const attachments = listCache(cacheDir).map((entry): AttachmentFacts => {
    const { network, containerId, ifName, netnsPath } = entry
    return {
      network,
      containerId,
      ifName,
      netnsPath,
      namespace: stateOf(netnsPath),
      families: familiesOf(entry),
    }
  })
  return { attachments, unread: Math.max(0, names.length - attachments.length) }
}
