/** Uninstalling: what is still ours goes, what it had replaced comes back, what others put there since stays. */
import { statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { UndoStack } from '../../../cni/undo.ts'
import { attempt, InstallError } from './error.ts'
import { look, namesIn, remove, syncFolder } from './files.ts'
import { removeEmpty, tidySteps } from './folders.ts'
import type { Layout } from './layout.ts'
import { withLocks } from './lock.ts'
import {
  emptyManifest,
  keptNames,
  type Manifest,
  readManifest,
  withEntries,
  writeManifest,
} from './manifest.ts'
import type { Note, Plan, Progress, Step } from './step.ts'
import { forgetStep, planTakeBack, type TakeBack } from './take-back.ts'
import { systemctlStep } from './units.ts'
import { unrecorded } from './unrecorded.ts'
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

/** Where an installer may have been interrupted, whatever it was about to do. */
const foldersOf = ({ lib, replaced, binDir, command }: Layout): string[] => [
  lib,
  replaced,
  binDir,
  dirname(command),
]

const isFolder = (path: string): boolean =>
  attempt(`looking at ${path}`, () => statSync(path, { throwIfNoEntry: false }))?.isDirectory() ?? false

/** Configurations first: nobody shall begin to use what goes. */
const order = { conf: 0, unit: 1, plugin: 2, command: 3 } as const

const folderStep = (path: string): Step => ({
  action: 'remove',
  path,
  text: `remove the folder ${path}`,
  take: () =>
    attempt(`removing ${path}`, () => {
      removeEmpty(path)
    }),
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

  /** @param recorded what the manifest says; null where there is none */
  async run(recorded: Manifest | null): Promise<void> {
    const { layout, systemctl } = this.options
    const manifest = recorded ?? emptyManifest
    // Nothing may lead to what goes.
    const entries = [...manifest.entries, ...unrecorded(layout, manifest)]
    const takeBacks = entries
      .sort((a, b) => order[a.role] - order[b.role])
      .map((entry) => planTakeBack(entry, layout.replaced))
    this.#notes.push(...takeBacks.flatMap(({ note }) => note ?? []))
    const { started } = manifest
    if (systemctl !== null && started.length > 0)
      await this.#take(systemctlStep(systemctl, ['disable', '--now', ...started], null))
    const isBack: TakeBack[] = []
    for (const takeBack of takeBacks)
      if (!takeBack.step || (await this.#take(takeBack.step))) isBack.push(takeBack)
    if (systemctl !== null && started.length > 0)
      await this.#take(systemctlStep(systemctl, ['daemon-reload'], null))
    const folders = [...new Set(entries.map(({ path }) => dirname(path)))]
    if (!this.options.dryRun) for (const folder of folders.filter(isFolder)) syncFolder(folder)
    // What was kept goes when its copy is on the disk.
    await this.#forget(isBack)
    for (const step of tidySteps([...new Set([...foldersOf(layout), ...folders])])) await this.#take(step)
    const left = takeBacks.filter((takeBack) => !isBack.includes(takeBack))
    if (left.length === 0) {
      await this.#removeAll(recorded)
      this.#tellOfKept(takeBacks)
    } else if (isFolder(layout.lib))
      await this.#take(this.#recordStep(withEntries({ ...manifest, entries: [] }, left)))
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

  async #removeAll(recorded: Manifest | null): Promise<void> {
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
    if (recorded) await this.#take(linkStep(layout.manifest))
    const folders = [layout.replaced, layout.lib, dirname(layout.command), dirname(layout.lib), layout.prefix]
    for (const path of new Set([...folders, ...[...(recorded?.folders ?? [])].reverse()]))
      if (isFolder(path) && this.#isEmptied(path)) await this.#take(folderStep(path))
  }

  /** Whether nothing is in a folder but what was removed, or would be. */
  #isEmptied(folder: string): boolean {
    const removed = new Set(this.#taken.flatMap(({ action, path }) => (action === 'remove' ? path : [])))
    return namesIn(folder).every((name) => removed.has(join(folder, name)))
  }

  /** What is in the folder of files that were kept, and that no note has told of. */
  #tellOfKept(takeBacks: readonly TakeBack[]): void {
    const { replaced } = this.options.layout
    if (!isFolder(replaced) || this.#isEmptied(replaced)) return
    const gone = new Set(this.#taken.map(({ path }) => path))
    const told = new Set(keptNames({ entries: takeBacks.map(({ entry }) => entry) }))
    for (const name of namesIn(replaced)) {
      const path = join(replaced, name)
      if (gone.has(path) || told.has(name)) continue
      this.#notes.push({ path, text: `${path} stays: it was kept once, and nothing tells where it belongs` })
    }
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
  if (dryRun) await uninstaller.run(readManifest(layout.manifest))
  else {
    const folders = [layout.lib, layout.binDir].filter(isFolder)
    await withLocks(folders, signal, async () => uninstaller.run(readManifest(layout.manifest)))
  }
  return uninstaller.outcome
}
