/** Uninstalling: what is still ours goes, what it had replaced comes back, what others put there since stays. */
import { statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { UndoStack } from '../../../cni/undo.ts'
import { attempt, InstallError } from './error.ts'
import { look, remove, syncFolder } from './files.ts'
import { removeEmpty, tidySteps } from './folders.ts'
import type { Layout } from './layout.ts'
import { withLocks } from './lock.ts'
import { type Manifest, readManifest, withoutEntry, writeManifest } from './manifest.ts'
import type { Note, Plan, Progress, Step } from './step.ts'
import { forgetStep, planTakeBack, type TakeBack } from './take-back.ts'
import { systemctlStep } from './units.ts'
import { removeVersionStep, usersOf, versionsIn } from './versions.ts'

export interface UninstallOptions {
  readonly layout: Layout
  /** Null where systemd does not run. */
  readonly systemctl: string | null
  readonly signal: AbortSignal
  /** Only the plan. */
  readonly dryRun: boolean
}

export interface Uninstalled extends Plan {
  /** What failed; everything else was done all the same. */
  readonly failures: readonly InstallError[]
}

const isFolder = (path: string): boolean =>
  attempt(`looking at ${path}`, () => statSync(path, { throwIfNoEntry: false }))?.isDirectory() ?? false

/** Configurations first: nobody shall begin to use what goes. */
const order = { conf: 0, unit: 1, plugin: 2, command: 3 } as const

const folderStep = (path: string): Step => ({
  action: 'remove',
  path,
  text: `remove the folder ${path} if it is empty`,
  take: () => {
    removeEmpty(path)
  },
})

const linkStep = (path: string): Step => ({
  action: 'remove',
  path,
  text: `remove ${path}`,
  take: () => attempt(`removing ${path}`, () => remove(path)),
})

class Uninstaller {
  readonly options: UninstallOptions
  readonly #taken: Step[] = []
  readonly #notes: Note[] = []
  readonly #failures: InstallError[] = []

  constructor(options: UninstallOptions) {
    this.options = options
  }

  get outcome(): Uninstalled {
    return { steps: this.#taken, notes: this.#notes, failures: this.#failures }
  }

  /** @returns whether it was done, or would be */
  async #take(step: Step): Promise<boolean> {
    const { dryRun, signal } = this.options
    signal.throwIfAborted()
    // Each step stands alone: what was taken back is not made again because another thing failed.
    const progress: Progress = { undo: new UndoStack(), signal }
    try {
      if (!dryRun) await step.take(progress)
      this.#taken.push(step)
      return true
    } catch (error) {
      this.#failures.push(toInstallError(error))
      return false
    } finally {
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  async run(manifest: Manifest | null): Promise<void> {
    const { layout, systemctl } = this.options
    const entries = [...(manifest?.entries ?? [])].sort((a, b) => order[a.role] - order[b.role])
    const takeBacks = entries.map((entry) => planTakeBack(entry, layout.replaced))
    this.#notes.push(...takeBacks.flatMap(({ note }) => note ?? []))
    const started = manifest?.started ?? []
    if (systemctl !== null && started.length > 0)
      await this.#take(systemctlStep(systemctl, ['disable', '--now', ...started], null))
    let left = manifest
    const isBack: TakeBack[] = []
    for (const takeBack of takeBacks) {
      const { entry, step } = takeBack
      if (step && !(await this.#take(step))) continue
      if (left) left = withoutEntry(left, entry.path)
      isBack.push(takeBack)
    }
    if (systemctl !== null && started.length > 0)
      await this.#take(systemctlStep(systemctl, ['daemon-reload'], null))
    const changed = new Set(isBack.map(({ entry }) => dirname(entry.path)).filter(isFolder))
    if (!this.options.dryRun) for (const folder of changed) syncFolder(folder)
    // What was kept goes when its copy is on the disk.
    await this.#forget(isBack)
    if (left && left.entries.length > 0) await this.#take(this.#recordStep(left))
    else await this.#removeAll(manifest)
  }

  #recordStep(left: Manifest): Step {
    const { manifest } = this.options.layout
    return {
      action: 'record',
      path: manifest,
      text: `write down in ${manifest} what could not be taken back`,
      take: () => attempt(`writing ${manifest}`, () => writeManifest(manifest, left)),
    }
  }

  /** Files that were kept, and are where they were before. What could not be put back stays, for whoever misses it. */
  async #forget(takeBacks: readonly TakeBack[]): Promise<void> {
    for (const { entry, note } of takeBacks) {
      if (entry.replaced?.kind !== 'file' || note !== null) continue
      const kept = join(this.options.layout.replaced, entry.replaced.name)
      if (look(kept) !== null) await this.#take(forgetStep(kept))
    }
  }

  async #removeAll(manifest: Manifest | null): Promise<void> {
    const { layout } = this.options
    if (look(layout.current)?.kind === 'link') await this.#take(linkStep(layout.current))
    for (const name of versionsIn(layout)) {
      const folder = join(layout.lib, name)
      const users = usersOf(folder, layout)
      if (users === null) await this.#take(removeVersionStep(folder))
      else
        this.#notes.push({
          path: folder,
          text: `${folder} is used by ${users}, and stays; uninstall once more when that has ended`,
        })
    }
    for (const step of tidySteps([layout.lib, layout.replaced])) await this.#take(step)
    if (manifest) await this.#take(linkStep(layout.manifest))
    const own = [layout.replaced, layout.lib, dirname(layout.command), dirname(layout.lib), layout.prefix]
    const folders = [...new Set([...own, ...[...(manifest?.folders ?? [])].reverse()])]
    for (const path of folders.filter(isFolder)) await this.#take(folderStep(path))
  }
}

const toInstallError = (error: unknown): InstallError =>
  error instanceof InstallError ? error : new InstallError((error as Error).message, '', error)

/**
 * Takes an installation back, or tells what would be done. What fails does not keep it from the rest.
 * @throws InstallError where nothing could be begun
 */
export const uninstall = async (options: UninstallOptions): Promise<Uninstalled> => {
  const { layout, signal, dryRun } = options
  const uninstaller = new Uninstaller(options)
  if (!isFolder(layout.lib)) return uninstaller.outcome
  if (dryRun) await uninstaller.run(readManifest(layout.manifest))
  else {
    const folders = [layout.lib, layout.binDir].filter(isFolder)
    await withLocks(folders, signal, async () => uninstaller.run(readManifest(layout.manifest)))
  }
  return uninstaller.outcome
}
