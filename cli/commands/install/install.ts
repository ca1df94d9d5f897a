/** Installing: what is there is looked at, a plan is made of it, and taken step by step; what fails is undone. */
import { dirname } from 'node:path'
import { UndoStack } from '../../../cni/undo.ts'
import { explain, InstallError } from './error.ts'
import { syncFolder } from './files.ts'
import { allMissing, checkFolder, makeFolderStep } from './folders.ts'
import { withLocks } from './lock.ts'
import { chosenTypes, type InstallOptions, type Outcome, Planner } from './plan.ts'
import { readSource } from './source.ts'
import type { Note, Progress, Step } from './step.ts'
import { systemctl as runSystemctl } from './units.ts'
import { askVersion } from './verify.ts'

export type { InstallOptions } from './plan.ts'

/** Undoes what was done. @throws InstallError the failure, with what could not be undone */
const giveUp = async (undo: UndoStack, error: unknown, signal: AbortSignal): Promise<never> => {
  const failure = signal.aborted
    ? new InstallError((signal.reason as Error).message, '', error)
    : explain(error, 'installing')
  const errors = await undo.run()
  if (errors.length === 0) throw failure
  const left = errors.map(({ message }) => message).join('; ')
  throw new InstallError(failure.message, `${failure.details}\nwhat could not be undone: ${left}`, failure)
}

const takeAll = async (steps: readonly Step[], progress: Progress): Promise<void> => {
  for (const step of steps) {
    progress.signal.throwIfAborted()
    await step.take(progress)
    // A signal is seen only when the event loop gets a turn.
    await new Promise((resolve) => setImmediate(resolve))
  }
  progress.signal.throwIfAborted()
}

/** When everything else is as it was: units that ran may have been started anew in between. */
const restoreUnits = async (systemctl: string, started: readonly string[]): Promise<void> => {
  await runSystemctl(systemctl, ['daemon-reload'])
  if (started.length > 0) await runSystemctl(systemctl, ['try-restart', ...started])
}

/** What is installed works, whether or not what is old can be removed. */
const clean = async (steps: readonly Step[], progress: Progress): Promise<Note[]> => {
  const notes: Note[] = []
  for (const step of steps)
    try {
      await step.take(progress)
    } catch (error) {
      notes.push({ path: step.path, text: (error as Error).message })
    }
  return notes
}

/**
 * Installs a build, or tells what would be done.
 * @throws InstallError; then everything is as it was before
 */
export const install = async (options: InstallOptions): Promise<Outcome> => {
  const { layout, systemd, conf, signal } = options
  const source = readSource(options.from)
  chosenTypes(source, options.types)
  const version = await askVersion(source.folder, source.launcher, source.types[0]!, signal)
  const needed = [
    layout.lib,
    layout.replaced,
    layout.binDir,
    ...(source.command === null ? [] : [dirname(layout.command)]),
    ...(systemd ? [systemd.folder] : []),
    ...(conf ? [conf.folder] : []),
  ]
  const missing = allMissing(needed)
  const folders = missing.map(makeFolderStep)
  const checkAll = (): void => {
    for (const path of needed) checkFolder(path)
  }
  const planner = new Planner(options, source)
  if (options.dryRun) {
    checkAll()
    const plan = await planner.plan(version, missing)
    return { ...plan, steps: [...folders, ...plan.steps] }
  }
  const undo = new UndoStack()
  const progress = { undo, signal }
  try {
    await takeAll(folders, progress)
    checkAll()
  } catch (error) {
    return await giveUp(undo, error, signal)
  }
  let hasBegun = false
  const work = async (): Promise<Outcome> => {
    hasBegun = true
    try {
      const plan = await planner.plan(version, missing)
      const { systemctl } = options
      // Comes last on the way back: when the units are what they were.
      if (systemctl !== null && plan.steps.some(({ action }) => action === 'run'))
        undo.push('let systemd have the units of before', () => restoreUnits(systemctl, plan.startedBefore))
      await takeAll(plan.steps, progress)
      for (const path of needed) syncFolder(path)
      undo.discard()
      const notes = [...plan.notes, ...(await clean(plan.cleaning, progress))]
      return { ...plan, notes, steps: [...folders, ...plan.steps] }
    } catch (error) {
      // Before anybody else gets the lock.
      return await giveUp(undo, error, signal)
    }
  }
  try {
    return await withLocks([layout.lib, layout.binDir], signal, work)
  } catch (error) {
    if (hasBegun) throw error
    return await giveUp(undo, error, signal)
  }
}
