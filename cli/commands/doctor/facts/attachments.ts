/** Attachments that the cache knows, and whether their containers are there. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { type CacheEntry, listCache, type UnreadableEntry } from '../../../../cni/cache.ts'
import { type NamespaceState, namespacePathOf, namespaceState } from '../../../namespace-state.ts'
import { isForbidden } from '../finding.ts'

export interface AttachmentFacts
  extends Pick<CacheEntry, 'network' | 'containerId' | 'ifName' | 'netnsPath'> {
  readonly namespace: NamespaceState
  /** Families of its addresses. */
  readonly families: readonly (4 | 6)[]
}

/** Families of the addresses in a result of any version. */
const familiesOf = ({ result }: CacheEntry): readonly (4 | 6)[] => {
  const text = JSON.stringify([result?.ips, result?.ip4, result?.ip6] as const)
  const addresses = [...text.matchAll(/"(?:address|ip)":"([^"/]+)\//g)].map(([, address]) => address!)
  return [...new Set(addresses.map((address) => (address.includes(':') ? 6 : 4)))]
}

export interface CacheFacts {
  readonly attachments: readonly AttachmentFacts[]
  /** Files that say of no attachment whose it is: broken ones, and those of old releases of libcni. */
  readonly unreadable: readonly UnreadableEntry[]
}

/**
 * What the cache knows; null where there is none.
 * @throws Error where this process may not read it, or a file of it: what that stands for would seem to be nobody's
 */
export const lookAtCache = (cacheDir: string): CacheFacts | null => {
  if (!statSync(join(cacheDir, 'results'), { throwIfNoEntry: false })) return null
  const { entries, unreadable } = listCache(cacheDir)
  const hidden = unreadable.find(({ why }) => isForbidden(why))
  if (hidden) throw new Error(`${hidden.path}: ${hidden.why}`)
  const attachments = entries.map((entry): AttachmentFacts => {
    const { network, containerId, ifName } = entry
    const netnsPath = namespacePathOf(entry)
    return {
      network,
      containerId,
      ifName,
      netnsPath,
      namespace: namespaceState(netnsPath),
      families: familiesOf(entry),
    }
  })
  return { attachments, unreadable }
}
