/** The inverse of installing one name: what is ours goes, what stood there before comes back. */
import { lstatSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isKept, isSame, putBack } from './entry.ts'
import { attempt, InstallError } from './error.ts'
import { type Found, look, remove, replaceLink, replaceText } from './files.ts'
import type { Entry } from './manifest.ts'
import type { Note, Step } from './step.ts'

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

/** @param folder where is kept what was replaced */
export const planTakeBack = (entry: Entry, folder: string): TakeBack => {
  const { path, made, replaced } = entry
  const found = attempt(`looking at ${path}`, () => look(path))
  const kept = replaced?.kind === 'file' ? join(folder, replaced.name) : null
  if (!isSame(found, made)) {
    // An uninstaller that was killed has been here.
    const isBack = replaced ? isSame(found, replaced) : found === null
    if (isBack) return { entry, step: null, note: null }
    const what = found === null ? 'somebody has removed it' : 'somebody has put something else there since'
    const before =
      kept === null
        ? replaced
          ? `; before there was a link to ${replaced.kind === 'link' ? replaced.target : ''}`
          : ''
        : `; what was there before is kept in ${kept}`
    return { entry, step: null, note: { path, text: `${path} is left as it is: ${what}${before}` } }
  }
  const canRestore = replaced !== null && isKept(replaced, folder)
  const note =
    replaced === null || canRestore
      ? null
      : { path, text: `${kept}, which was at ${path}, is gone or changed: it can not be put back` }
  const text =
    replaced === null || !canRestore
      ? `remove ${path}`
      : replaced.kind === 'link'
        ? `put the link to ${replaced.target} back at ${path}`
        : `put ${kept} back at ${path}`
  const step: Step = {
    action: canRestore ? 'restore' : 'remove',
    path,
    text,
    take: ({ undo }) =>
      attempt(`restoring ${path}`, () => {
        const now = look(path)
        if (now === null || !isSame(now, made))
          throw new InstallError(`${path} was changed meanwhile`, 'try once more')
        undo.push(`bring ${path} back to what it was`, remake(path, now))
        if (canRestore) putBack(replaced, path, folder)
        else remove(path)
      }),
  }
  return { entry, step, note }
}

/** Forgets a file that was kept, when nothing needs it any more. */
export const forgetStep = (path: string): Step => ({
  action: 'remove',
  path,
  text: `remove ${path}`,
  take: () => attempt(`removing ${path}`, () => rmSync(path, { force: true })),
})
