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
import { writtenThrough } from './written.ts'

/** What is to stand at a path. */
export interface Wanted {
  readonly path: string
  readonly role: Entry['role']
  readonly content:
    | { readonly kind: 'link'; readonly target: string }
    | { readonly kind: 'file'; readonly text: string; readonly mode: number }
}

/** Where files are kept that are replaced. */
export interface Keeping {
  readonly folder: string
  /** Names in there that entries speak of. */
  readonly used: readonly string[]
}

/** Bytes of a unit or a configuration. */
const MAX_TEXT = 1 << 20

export const madeOf = ({ content }: Wanted): Made =>
  content.kind === 'link' ? content : { kind: 'file', sha256: hashText(content.text) }

/** Whether what was found is what was made, or kept. */
export const isSame = (found: Found | null, made: Made | Saved): boolean =>
  found?.kind === 'link'
    ? made.kind === 'link' && found.target === made.target
    : found?.kind === 'file' && made.kind === 'file' && found.sha256 === made.sha256

/** Whether what was found is what an installer of ours has put there. */
export const isOurs = (found: Found | null, { made, before }: Entry): boolean =>
  isSame(found, made) || (before !== undefined && isSame(found, before))

const put = ({ path, content }: Wanted): void =>
  content.kind === 'link' ? replaceLink(path, content.target) : replaceText(path, content.text, content.mode)

type SavedFile = Saved & { readonly kind: 'file' }

/** A copy with owner, permissions and date. */
const copy = (from: string, to: string, { mode, uid, gid }: SavedFile): void => {
  copyNew(from, to, { mode, uid, gid, mtime: lstatSync(from).mtimeMs })
}

/**
 * The same file under another name: the inode where the file system can, so that labels and capabilities stay; else a
 * copy.
 */
const transfer = (from: string, to: string, saved: SavedFile): void => {
  try {
    linkSync(from, to)
  } catch (error) {
    if (!isErrno(error, 'EXDEV', 'EPERM', 'EMLINK', 'EOPNOTSUPP')) throw error
    copy(from, to, saved)
  }
}

/**
 * A name in `folder` for what was found at `path`: one that is free, or of a file that an installer, which was killed
 * then, has kept already.
 * @param used names that belong to somebody
 */
const nameFor = (folder: string, path: string, saved: SavedFile, used: readonly string[]) => {
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
  { folder, used }: Keeping,
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

/** Whether what was found is what stood there at first: an installer has been killed before it could keep it. */
export const isUnsaved = (found: Found | null, replaced: Saved | null, folder: string): boolean =>
  replaced !== null && isSame(found, replaced) && !isKept(replaced, folder)

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

/** @param make makes the kept file under the name that it is given */
const saveStep = (path: string, saved: SavedFile, folder: string, make: (to: string) => void): Step => {
  const kept = join(folder, saved.name)
  return {
    action: 'save',
    path,
    text: `keep what is at ${path} in ${kept}`,
    take: ({ undo }) =>
      attempt(`keeping ${path}`, () => {
        const temporary = temporaryIn(folder)
        try {
          make(temporary)
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
  /** To be taken when the manifest tells of the entry, and before anything changes; null where nothing has to be kept. */
  readonly save: Step | null
  /** Null where it is in place. */
  readonly place: Step | null
}

/** What is somebody else's is kept: under the name that an installer, which was killed, has written down already. */
const planSaving = (
  found: Found,
  path: string,
  known: Saved | null,
  { folder, used }: Keeping,
  make: (to: string, saved: SavedFile) => void = (to, saved) => transfer(path, to, saved),
): { saved: Saved; save: Step | null } => {
  const isKnown = known !== null && isSame(found, known)
  if (isKnown && isKept(known, folder)) return { saved: known, save: null }
  const free = isKnown && known.kind === 'file' ? used.filter((name) => name !== known.name) : used
  const { saved, isThere } = savedOf(found, path, { folder, used: free })
  if (isThere || saved.kind === 'link') return { saved, save: null }
  return { saved, save: saveStep(path, saved, folder, (to) => make(to, saved)) }
}

/** The same, as an entry has it; undefined for what is neither a file nor a link. */
const asMade = (found: Found): Made | undefined =>
  found.kind === 'link' ? found : found.kind === 'file' ? { kind: 'file', sha256: found.sha256 } : undefined

/**
 * What is to be done where that stands already which is wanted. A link into our folders is ours; a file may be that of
 * somebody who was faster, and is then kept like any other.
 */
const planPresent = (wanted: Wanted, found: Found, known: Entry | undefined, keeping: Keeping): Placing => {
  const { path, role, content } = wanted
  const made = madeOf(wanted)
  const written = role === 'plugin' ? writtenThrough(path) : null
  const before = known?.replaced ?? null
  // One that an installer, which was killed, was about to keep is not ours either.
  const isTheirs = known === undefined || isUnsaved(found, before, keeping.folder)
  const theirs = written?.found ?? (isTheirs && found.kind === 'file' ? found : null)
  // A copy: the file itself stays in use.
  const { saved, save } = theirs
    ? planSaving(theirs, path, before, keeping, (to, saved) => copy(written?.path ?? path, to, saved))
    : { saved: before, save: null }
  // A mode that was changed makes it useless, or open to all.
  const isRight =
    content.kind === 'link' || (found.kind === 'file' && (found.stat.mode & 0o7777) === content.mode)
  const place = isRight ? null : modeStep(path, found, content)
  return { entry: { path, role, made, replaced: saved }, save, place }
}

/**
 * @param known the entry of the manifest, where there is one
 * @throws InstallError where something stands there that can't be replaced
 */
export const planEntry = (wanted: Wanted, known: Entry | undefined, keeping: Keeping): Placing => {
  const { path, role } = wanted
  const { folder } = keeping
  const made = madeOf(wanted)
  const found = attempt(`looking at ${path}`, () => look(path))
  if (found !== null && isSame(found, made)) return planPresent(wanted, found, known, keeping)
  const entry = { path, role, made, replaced: known?.replaced ?? null }
  if (found === null) return { entry, save: null, place: placeStep(wanted, found, null, folder) }
  if (known !== undefined && isOurs(found, known) && !isUnsaved(found, known.replaced, folder))
    return {
      entry: { ...entry, before: asMade(found) },
      save: null,
      place: placeStep(wanted, found, null, folder),
    }
  const { saved, save } = planSaving(found, path, entry.replaced, keeping)
  return { entry: { ...entry, replaced: saved }, save, place: placeStep(wanted, found, saved, folder) }
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
