import { renameSync, rmSync, writeFileSync } from 'node:fs'

/** A file that holds this process's id: there with all of it, or not at all. */
export const writePidFile = (path: string): void => {
  const draft = `${path}.${process.pid}`
  // What an earlier process with this id has left is nobody's.
  rmSync(draft, { force: true })
  writeFileSync(draft, `${process.pid}`, { mode: 0o644, flag: 'wx' })
  renameSync(draft, path)
}
