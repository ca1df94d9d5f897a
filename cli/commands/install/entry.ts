/** One name that installing puts somewhere: a plugin, the command, a unit, a configuration. */
import { chmodSync, linkSync, lstatSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { isErrno } from '../../../netlink/error.ts'
import { attempt, InstallError } from './error.ts'
import {
  copyNew,
  type Found,
  hashFile,
  hashText,
  look,
  remove,
  replace,
  replaceLink,
  replaceText,
  syncFolder,
  temporaryIn,
} from './files.ts'
import type { Entry, Made, Saved } from './manifest.ts'
import type { Progress, Step } from './step.ts'

/** What is to stand at a path. */
export interface Wanted {
  readonly path: string
  readonly role: Entry['role']
  readonly content:
    | { readonly kind: 'link'; readonly target: string }
    | { readonly kind: 'file'; readonly text: string; readonly mode: number }
}

/** Bytes of a unit or a configuration. */
const MAX_TEXT = 1 << 20

export const madeOf = ({ content }: Wanted): Made =>
  content.kind === 'link' ? content : { kind: 'file', sha256: hashText(content.text) }

/** Whether what was found is what was made. */
export const isSame = (found: Found | null, made: Made | Saved): boolean =>
  found?.kind === 'link'
    ? made.kind === 'link' && found.target === made.target
    : found?.kind === 'file' && made.kind === 'file' && found.sha256 === made.sha256

const put = ({ path, content }: Wanted): void =>
  content.kind === 'link' ? replaceLink(path, content.target) : replaceText(path, content.text, content.mode)

/**
 * The same file under another name: the inode where the file system can, so that labels and capabilities stay; else a
 * copy with owner, permissions and date.
 */
const transfer = (from: string, to: string, { mode, uid, gid }: Saved & { kind: 'file' }): void => {
  try {
    linkSync(from, to)
  } catch (error) {
    if (!isErrno(error, 'EXDEV', 'EPERM', 'EMLINK', 'EOPNOTSUPP')) throw error
    copyNew(from, to, { mode, uid, gid, mtime: lstatSync(from).mtimeMs })
  }
}

/**
 * A name in `folder` for what was found at `path`: one that is free, or of a file that an installer, which was killed
 * then, has kept already.
 * @param used names that belong to somebody
 */
const nameFor = (folder: string, path: string, saved: Saved & { kind: 'file' }, used: readonly string[]) => {
  // A name may begin with a dot, and the manifest takes none that does.
  const plain = basename(path).replace(/^[^A-Za-z0-9]+/, '') || 'file'
  for (let i = 1; ; i++) {
    const name = i === 1 ? plain : `${plain}.${i}`
    if (used.includes(name)) continue
    const there = look(join(folder, name))
    if (there === null) return { name, isThere: false }
    if (there.kind !== 'file' || !isSame(there, saved)) continue
    const { mode, uid, gid } = there.stat
    if ((mode & 0o7777) === saved.mode && uid === saved.uid && gid === saved.gid)
      return { name, isThere: true }
  }
}

/** How what was found is kept, and whether that has been done. @throws InstallError for what can't be */
const savedOf = (
  found: Found,
  path: string,
  folder: string,
  used: readonly string[],
): { saved: Saved; isThere: boolean } => {
  if (found.kind === 'link') return { saved: found, isThere: true }
  if (found.kind === 'other')
    throw new InstallError(`${path} is ${found.what}`, 'move it away: only files and links can be replaced')
  const { mode, uid, gid } = found.stat
  const saved = { kind: 'file', name: '', mode: mode & 0o7777, uid, gid, sha256: found.sha256 } as const
  const { name, isThere } = nameFor(folder, path, saved, used)
  return { saved: { ...saved, name }, isThere }
}

/** Whether the file that was kept is there and as it was. */
export const isKept = (saved: Saved, folder: string): boolean =>
  saved.kind === 'link' || isSame(look(join(folder, saved.name)), saved)

/** Puts back what was kept; the kept file stays. @throws InstallError where that is not what it was */
export const putBack = (saved: Saved, path: string, folder: string): void => {
  if (saved.kind === 'link') {
    replaceLink(path, saved.target)
    return
  }
  const from = join(folder, saved.name)
  if (!isKept(saved, folder)) throw new InstallError(`${from}, which was at ${path}, is not as it was kept`)
  replace(path, (temporary) => transfer(from, temporary, saved))
}

const saveStep = (path: string, saved: Saved & { kind: 'file' }, folder: string): Step => {
  const kept = join(folder, saved.name)
  return {
    action: 'save',
    path,
    text: `keep what is at ${path} in ${kept}`,
    take: ({ undo }) =>
      attempt(`keeping ${path}`, () => {
        const temporary = temporaryIn(folder)
        try {
          transfer(path, temporary, saved)
          if (hashFile(temporary) !== saved.sha256)
            throw new InstallError(`${path} was changed meanwhile`, 'try once more')
          undo.push(`remove ${kept}`, () => rmSync(kept, { force: true }))
          renameSync(temporary, kept)
        } catch (error) {
          rmSync(temporary, { force: true })
          throw error
        }
        syncFolder(folder)
      }),
  }
}

/** What brings `path` back to what was found there. */
const inverseOf = (
  wanted: Wanted,
  found: Found | null,
  saved: Saved | null,
  folder: string,
): (() => void) => {
  const { path } = wanted
  if (found === null) return () => remove(path)
  if (found.kind === 'link') return () => replaceLink(path, found.target)
  if (saved) return () => putBack(saved, path, folder)
  const { mode, size } = lstatSync(path)
  if (size > MAX_TEXT)
    throw new InstallError(`${path} has ${size} bytes`, 'it was none of ours: move it away')
  const text = readFileSync(path, 'utf8')
  return () => replaceText(path, text, mode & 0o7777)
}

const placeStep = (wanted: Wanted, found: Found | null, saved: Saved | null, folder: string): Step => {
  const { path, content } = wanted
  return {
    action: 'place',
    path,
    text: content.kind === 'link' ? `link ${path} to ${content.target}` : `write ${path}`,
    take: ({ undo }: Progress) =>
      attempt(`placing ${path}`, () => {
        // Somebody who takes no lock, such as a package manager, may have been here.
        const now = look(path)
        const unchanged = found === null ? now === null : now?.kind === found.kind && isEqual(now, found)
        if (!unchanged) throw new InstallError(`${path} was changed meanwhile`, 'try once more')
        const inverse = inverseOf(wanted, found, saved, folder)
        undo.push(`bring ${path} back to what it was`, () => {
          if (isSame(look(path), madeOf(wanted))) inverse()
        })
        put(wanted)
      }),
  }
}

const isEqual = (a: Found, b: Found): boolean =>
  a.kind === 'link'
    ? b.kind === 'link' && a.target === b.target
    : a.kind === 'file' && b.kind === 'file' && a.sha256 === b.sha256

/** What is to be done for one name. */
export interface Placing {
  readonly entry: Entry
  /** To be taken before the manifest tells of the entry; null where nothing has to be kept. */
  readonly save: Step | null
  /** Null where it is in place. */
  readonly place: Step | null
}

/**
 * @param known the entry of the manifest, where there is one
 * @param folder where files are kept that are replaced
 * @param used names in there that entries speak of
 * @throws InstallError where something stands there that can't be replaced
 */
export const planEntry = (
  wanted: Wanted,
  known: Entry | undefined,
  folder: string,
  used: readonly string[],
): Placing => {
  const { path, role } = wanted
  const made = madeOf(wanted)
  const found = attempt(`looking at ${path}`, () => look(path))
  if (isSame(found, made)) {
    const entry = { path, role, made, replaced: known?.replaced ?? null }
    // A mode that was changed makes it useless, or open to all.
    const { content } = wanted
    const isRight =
      content.kind === 'link' || (found?.kind === 'file' && (found.stat.mode & 0o7777) === content.mode)
    return { entry, save: null, place: isRight ? null : modeStep(path, found!, content) }
  }
  const isOurs = found === null || (known !== undefined && isSame(found, known.made))
  if (isOurs) {
    const entry = { path, role, made, replaced: known?.replaced ?? null }
    return { entry, save: null, place: placeStep(wanted, found, null, folder) }
  }
  // An installer that was killed has kept it, and written that down.
  const before = known?.replaced
  const isKnown = before && isSame(found, before) && isKept(before, folder)
  const { saved, isThere } = isKnown ? { saved: before, isThere: true } : savedOf(found, path, folder, used)
  return {
    entry: { path, role, made, replaced: saved },
    save: isThere || saved.kind === 'link' ? null : saveStep(path, saved, folder),
    place: placeStep(wanted, found, saved, folder),
  }
}

const modeStep = (path: string, found: Found, content: Wanted['content']): Step => ({
  action: 'place',
  path,
  text: `correct the permissions of ${path}`,
  take: ({ undo }) =>
    attempt(`correcting ${path}`, () => {
      if (found.kind !== 'file' || content.kind !== 'file') return
      const { mode } = found.stat
      undo.push(`give ${path} its permissions back`, () => chmodSync(path, mode & 0o7777))
      chmodSync(path, content.mode)
    }),
})
