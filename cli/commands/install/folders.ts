import { chmodSync, mkdirSync, rmdirSync, rmSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { isErrno } from '../../../netlink/error.ts'
import { attempt, InstallError } from './error.ts'
import { leftoversIn } from './files.ts'
import { missingFolders } from './layout.ts'
import type { Step } from './step.ts'

/** Folders that are missing, with those above them; each once. */
export const allMissing = (paths: readonly string[]): string[] => [
  ...new Set(paths.flatMap((path) => attempt(`looking for ${path}`, () => missingFolders(path)))),
]

export const makeFolderStep = (path: string): Step => ({
  action: 'mkdir',
  path,
  text: `make the folder ${path}`,
  take: ({ undo }) =>
    attempt(`making ${path}`, () => {
      try {
        mkdirSync(path)
      } catch (error) {
        // Another installer was faster.
        if (isErrno(error, 'EEXIST')) return
        throw error
      }
      undo.push(`remove ${path}`, () => {
        removeEmpty(path)
      })
      chmodSync(path, 0o755)
    }),
})

/** Removes a folder unless something is in it. @returns whether it is gone */
export const removeEmpty = (path: string): boolean => {
  try {
    rmdirSync(path)
    return true
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return true
    // Busy: something is mounted there, as in a container.
    if (isErrno(error, 'ENOTEMPTY', 'EEXIST', 'EBUSY')) return false
    throw error
  }
}

/** Whether somebody else than root could put another thing in the place of what is in there. */
const faultOf = (path: string, isLast: boolean): string | null => {
  const { uid, mode } = attempt(`looking at ${path}`, () => statSync(path))
  if (uid !== 0 && uid !== process.geteuid!()) return `${path} belongs to user ${uid}`
  // Where everybody may make names, the sticky bit keeps those of others.
  const isSafe = (mode & 0o002) === 0 || (!isLast && (mode & 0o1000) !== 0)
  return isSafe ? null : `${path} can be written by everybody`
}

const checkOwners = (path: string, isLast = true): void => {
  const fault = faultOf(path, isLast)
  if (fault !== null)
    throw new InstallError(
      fault,
      'a runtime executes as root what is there: give it to root (chown root, chmod go-w)',
    )
  if (dirname(path) !== path) checkOwners(dirname(path), false)
}

/**
 * Refuses what is no folder, and one in which others could change what root executes.
 * @throws InstallError
 */
export const checkFolder = (path: string): void => {
  if (!attempt(`looking at ${path}`, () => statSync(path)).isDirectory())
    throw new InstallError(`${path} is no folder`, 'choose another, or move it away')
  checkOwners(path)
}

/** What killed installers have left. */
export const tidySteps = (folders: readonly string[]): Step[] =>
  folders
    .flatMap((folder) => attempt(`looking into ${folder}`, () => leftoversIn(folder)))
    .map((path) => ({
      action: 'remove',
      path,
      text: `remove ${path}, which an interrupted installation left`,
      take: () => attempt(`removing ${path}`, () => rmSync(path, { recursive: true, force: true })),
    }))
