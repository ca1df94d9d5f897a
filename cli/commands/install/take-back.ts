/** The inverse of installing one name: what is ours goes, what stood there before comes back. */
import { existsSync, lstatSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { isKept, isOurs, isSame, isUnsaved, putBack } from './entry.ts'
import { attempt, InstallError } from './error.ts'
import { copyNew, type Found, look, remove, replace, replaceLink, replaceText } from './files.ts'
import type { Entry, Saved } from './manifest.ts'
import type { Note, Step } from './step.ts'
import { type Written, writtenThrough } from './written.ts'

export interface TakeBack {
  readonly entry: Entry
  /** Null where nothing is left to do. */
  readonly step: Step | null
  readonly note: Note | null
}

/** Makes what is ours once more; for the undo stack. */
const remake = (path: string, found: Found): (() => void) => {
  if (found.kind === 'link') return () => replaceLink(path, found.target)
  const text = readFileSync(path, 'utf8')
  const mode = lstatSync(path).mode & 0o7777
  return () => replaceText(path, text, mode)
}

/** @param put puts into the place of ours what shall be there */
const backStep = (entry: Entry, action: Step['action'], text: string, put: () => void): Step => ({
  action,
  path: entry.path,
  text,
  take: ({ undo }) =>
    attempt(`restoring ${entry.path}`, () => {
      const now = look(entry.path)
      if (now === null || !isOurs(now, entry))
        throw new InstallError(`${entry.path} was changed meanwhile`, 'try once more')
      undo.push(`bring ${entry.path} back to what it was`, remake(entry.path, now))
      put()
    }),
})

const keptAs = (replaced: Saved | null, folder: string): string | null =>
  replaced?.kind === 'file' ? join(folder, replaced.name) : null

/** What a note says of what is not put back. */
const beforeThat = (replaced: Saved | null, folder: string): string => {
  if (replaced === null) return ''
  return replaced.kind === 'link'
    ? `; before there was a link to ${replaced.target}`
    : `; what was there before is kept in ${keptAs(replaced, folder)}`
}

/** Ours is gone, or something else is in its place. */
const planLeaving = (entry: Entry, found: Found | null, folder: string): TakeBack => {
  const { path, replaced } = entry
  // An uninstaller that was killed has been here.
  const isBack = replaced ? isSame(found, replaced) : found === null
  if (isBack) return { entry, step: null, note: null }
  const what = found === null ? 'somebody has removed it' : 'somebody has put something else there since'
  const text = `${path} is left as it is: ${what}${beforeThat(replaced, folder)}`
  return { entry, step: null, note: { path, text } }
}

/** What somebody has written through our link stays: a file in its place. */
const planKeepingWritten = (entry: Entry, written: Written, folder: string): TakeBack => {
  const { path, replaced } = entry
  const { mode, uid, gid, mtimeMs } = written.found.stat
  const attributes = { mode: mode & 0o7777, uid, gid, mtime: mtimeMs }
  const text = `${path} stays: somebody has written something else there since${beforeThat(replaced, folder)}`
  return {
    entry,
    step: backStep(entry, 'restore', `put what was written to ${written.path} at ${path}`, () =>
      replace(path, (temporary) => copyNew(written.path, temporary, attributes)),
    ),
    note: { path, text },
  }
}

/** Why what was there at first can't come back; null where it can. */
const hindranceOf = (replaced: Saved, path: string, folder: string): string | null => {
  if (replaced.kind === 'file')
    return isKept(replaced, folder)
      ? null
      : `${keptAs(replaced, folder)}, which was at ${path}, is gone or changed: it can not be put back`
  return existsSync(resolve(realpathSync(dirname(path)), replaced.target))
    ? null
    : `the link to ${replaced.target}, which was at ${path}, leads to nothing: it is not put back`
}

/** @param folder where is kept what was replaced */
export const planTakeBack = (entry: Entry, folder: string): TakeBack => {
  const { path, replaced, role } = entry
  const found = attempt(`looking at ${path}`, () => look(path))
  if (!isOurs(found, entry) || isUnsaved(found, replaced, folder)) return planLeaving(entry, found, folder)
  const written = role === 'plugin' ? writtenThrough(path) : null
  if (written) return planKeepingWritten(entry, written, folder)
  const hindrance = replaced === null ? null : hindranceOf(replaced, path, folder)
  const note = hindrance === null ? null : { path, text: hindrance }
  if (replaced === null || hindrance !== null)
    return { entry, step: backStep(entry, 'remove', `remove ${path}`, () => remove(path)), note }
  const text =
    replaced.kind === 'link'
      ? `put the link to ${replaced.target} back at ${path}`
      : `put ${keptAs(replaced, folder)} back at ${path}`
  return { entry, step: backStep(entry, 'restore', text, () => putBack(replaced, path, folder)), note }
}

/** Forgets a file that was kept, when nothing needs it any more. */
export const forgetStep = (path: string): Step => ({
  action: 'remove',
  path,
  text: `remove ${path}`,
  take: () => attempt(`removing ${path}`, () => rmSync(path, { force: true })),
})
