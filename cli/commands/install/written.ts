/** What somebody has written through the link of one plugin: cp(1) follows links, and takes no notice of whose file it is. */
import { realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { attempt, isMissing } from './error.ts'
import { type Found, look } from './files.ts'
import { LAUNCHER } from './layout.ts'

/** A file of theirs in the place of our copy of the launcher. */
export interface Written {
  readonly path: string
  readonly found: Found & { readonly kind: 'file' }
}

const realOf = (link: string): string | null => {
  try {
    return realpathSync(link)
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
}

/**
 * @param link a plugin of ours in the runtime's folder
 * @returns null where it leads to what the launcher beside its folder is, or to nothing
 */
export const writtenThrough = (link: string): Written | null =>
  attempt(`looking at what ${link} leads to`, () => {
    const path = realOf(link)
    const found = path === null ? null : look(path)
    if (path === null || found?.kind !== 'file') return null
    const launcher = look(join(dirname(path), '..', LAUNCHER))
    return launcher?.kind === 'file' && launcher.sha256 !== found.sha256 ? { path, found } : null
  })
