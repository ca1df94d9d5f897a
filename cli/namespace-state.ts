/** Whether the container of an attachment is there still. */
import type { CacheEntry } from '../cni/cache.ts'
import { isErrno } from '../netlink/error.ts'
import { Netns, NotANamespaceError } from '../netlink/netns.ts'

/** `unknown`: it has no path, or the path can't be opened by this process. */
export type NamespaceState = 'there' | 'gone' | 'unknown'

/** Where an attachment's namespace is: releases of libcni before 1.3 do not keep it, but the result tells it, too. */
export const namespacePathOf = ({ netnsPath, result }: Pick<CacheEntry, 'netnsPath' | 'result'>): string => {
  if (netnsPath !== '') return netnsPath
  const interfaces: unknown = result?.interfaces
  if (!Array.isArray(interfaces)) return ''
  // All that are in the container are in the same one.
  const sandboxes = interfaces.map((one: unknown) => (one as { readonly sandbox?: unknown } | null)?.sandbox)
  return sandboxes.find((path): path is string => typeof path === 'string' && path.startsWith('/')) ?? ''
}

/** What is at the path of a namespace; empty: it has none. */
export const namespaceState = (path: string): NamespaceState => {
  if (path === '') return 'unknown'
  try {
    Netns.open(path).close()
    return 'there'
  } catch (error) {
    const gone = error instanceof NotANamespaceError || isErrno(error, 'ENOENT', 'ENOTDIR', 'ESRCH', 'ENXIO')
    return gone ? 'gone' : 'unknown'
  }
}
