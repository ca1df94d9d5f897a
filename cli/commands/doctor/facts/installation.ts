/** What `linkwright install` has put below its prefix. */
import { realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { LAUNCHER, layoutOf, STANDALONE } from '../../install/layout.ts'
import { type Changes, changesIn } from '../../install/versions.ts'
import { canExecute } from './binaries.ts'

export interface InstallationFacts {
  /** Where the releases are, without links. */
  readonly lib: string
  /** The release that is used, without links; null where the link to it leads nowhere. */
  readonly current: string | null
  readonly launcher: boolean
  readonly standalone: boolean
  /** What is not as it was installed; null where that is not known. */
  readonly changes: Changes | null
}

/** {@link changesIn}, which reads all of a version, of each folder once. */
export const changesOnce = (): typeof changesIn => {
  const known = new Map<string, Changes | null>()
  return (folder) => {
    const changes = known.has(folder) ? known.get(folder)! : changesIn(folder)
    known.set(folder, changes)
    return changes
  }
}

const real = (path: string): string | null =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() ? realpathSync(path) : null

/** Null where nothing is installed there. @throws SystemError, InstallError */
export const lookAtInstallation = (
  prefix: string,
  binDir: string,
  changesIn: (folder: string) => Changes | null,
): InstallationFacts | null => {
  const layout = layoutOf({ prefix, binDir, copy: false })
  const lib = real(layout.lib)
  if (lib === null) return null
  const current = real(layout.current)
  const has = (name: string): boolean => current !== null && canExecute(join(current, name)) !== false
  const facts = { lib, current, launcher: has(LAUNCHER), standalone: has(STANDALONE) }
  return { ...facts, changes: current === null ? null : changesIn(current) }
}
