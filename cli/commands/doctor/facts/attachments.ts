/** Attachments that the cache knows, and whether their containers are there. */
import { statSync } from 'node:fs'
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

/** The cache's attachments; null where there is no cache. @throws SystemError where it can't be read */
export const lookAtAttachments = (cacheDir: string): readonly AttachmentFacts[] | null => {
  if (!statSync(join(cacheDir, 'results'), { throwIfNoEntry: false })) return null
  return listCache(cacheDir).map((entry) => {
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
}
