import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  type Stats,
  statSync,
} from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'
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

/** As many links as the kernel follows. */
const MAX_LINKS = 40

/** Everything that is passed on the way to `path`, and that itself last: folders, and links, which lead on. */
function* passedBy(path: string): Generator<{ readonly at: string; readonly stat: Stats }> {
  const namesOf = (text: string): string[] => text.split('/').filter((name) => name !== '' && name !== '.')
  let folder = '/'
  let links = 0
  const names = namesOf(isAbsolute(path) ? path : `${process.cwd()}/${path}`)
  yield { at: folder, stat: lstatSync(folder) }
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    const at = join(folder, name)
    const stat = lstatSync(at)
    yield { at, stat }
    if (!stat.isSymbolicLink()) folder = at
    else {
      if (++links > MAX_LINKS) throw Object.assign(new Error(`ELOOP: ${path}`), { code: 'ELOOP' })
      const target = readlinkSync(at)
      if (isAbsolute(target)) folder = '/'
      names.unshift(...namesOf(target))
    }
  }
}

/** @param isOnTheWay where everybody may make names, the sticky bit keeps those that are there */
const faultOf = (at: string, stat: Stats, isOnTheWay: boolean): string | null => {
  const { uid, gid, mode } = stat
  if (uid !== 0 && uid !== process.geteuid!()) return `${at} belongs to user ${uid}`
  // A link's mode says nothing.
  if (stat.isSymbolicLink()) return null
  if (isOnTheWay && stat.isDirectory() && (mode & 0o1000) !== 0) return null
  if ((mode & 0o002) !== 0) return `${at} can be written by everybody`
  return (mode & 0o020) !== 0 && gid !== 0 ? `${at} can be written by group ${gid}` : null
}

/**
 * How somebody else than root, or this user, could put another thing in the place of a file or of what is in a folder,
 * in words; null where nobody could. Links on the way are followed, and looked at.
 * @param isOnTheWay only what is in the folder already counts, not what could be put beside it
 * @throws SystemError where it can't be looked at
 */
export const changeableBy = (path: string, isOnTheWay = false): string | null => {
  const passed = [...passedBy(path)]
  const last = isOnTheWay ? -1 : passed.length - 1
  return (
    passed.map(({ at, stat }, i) => faultOf(at, stat, i !== last)).find((fault) => fault !== null) ?? null
  )
}

/**
 * Refuses what is no folder, and one in which others could change what root executes. Of one that is not there yet, that
 * is where it is to be made.
 * @throws InstallError
 */
export const checkFolder = (path: string): void => {
  const [missing] = attempt(`looking for ${path}`, () => missingFolders(path))
  const folder = missing === undefined ? path : dirname(missing)
  if (!attempt(`looking at ${folder}`, () => statSync(folder)).isDirectory())
    throw new InstallError(`${folder} is no folder`, 'choose another, or move it away')
  const fault = attempt(`looking at ${folder}`, () => changeableBy(folder, missing !== undefined))
  if (fault !== null)
    throw new InstallError(
      fault,
      'a runtime executes as root what is there: give it to root (chown root, chmod go-w)',
    )
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
