/** What `linkwright install` has put below its prefix. */
import { realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { LAUNCHER, layoutOf, STANDALONE } from '../../install/layout.ts'
import { isExecutable } from './binaries.ts'

export interface InstallationFacts {
  /** Where the releases are, without links. */
  readonly lib: string
  /** The release that is used, without links; null where the link to it leads nowhere. */
  readonly current: string | null
  readonly launcher: boolean
  readonly standalone: boolean
}

const real = (path: string): string | null =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() ? realpathSync(path) : null

/** Null where nothing is installed there. @throws SystemError */
export const lookAtInstallation = (prefix: string, binDir: string): InstallationFacts | null => {
  const layout = layoutOf({ prefix, binDir, copy: false })
  const lib = real(layout.lib)
  if (lib === null) return null
  const current = real(layout.current)
  const has = (name: string): boolean => current !== null && isExecutable(join(current, name))
  return { lib, current, launcher: has(LAUNCHER), standalone: has(STANDALONE) }
}
