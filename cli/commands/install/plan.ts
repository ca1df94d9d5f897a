/** What installing has to do, from what is there. */
import { basename, dirname, join } from 'node:path'
import type { Plugins } from '../../../cni/plugin.ts'
import { readConf } from './conf.ts'
import { planEntry, type Wanted } from './entry.ts'
import { explain, InstallError } from './error.ts'
import { look, remove } from './files.ts'
import { tidySteps } from './folders.ts'
import { type Layout, linkText, pluginIn } from './layout.ts'
import {
  type Entry,
  emptyManifest,
  keptNames,
  type Manifest,
  pluginsIn,
  readManifest,
  withEntries,
  withoutEntry,
  writeManifest,
} from './manifest.ts'
import type { Source } from './source.ts'
import type { Note, Plan, Step } from './step.ts'
import { forgetStep, planTakeBack } from './take-back.ts'
import { areStarted, systemctlStep, toStart, unitsOf } from './units.ts'
import { unrecorded } from './unrecorded.ts'
import { verify } from './verify.ts'
import { currentVersionIn, planPruning, planStaging, switchStep } from './versions.ts'

export interface InstallOptions {
  readonly layout: Layout
  /** The folder that a build has made. */
  readonly from: string
  /** Default: all that the build has. */
  readonly types?: readonly string[] | undefined
  readonly conf?: { readonly file: string; readonly folder: string } | undefined
  readonly systemd?: { readonly folder: string; readonly start: boolean } | undefined
  /** Needed to start units; null where systemd does not run. */
  readonly systemctl: string | null
  readonly plugins: Plugins
  readonly signal: AbortSignal
  /** Only the plan. */
  readonly dryRun: boolean
}

export interface Outcome extends Plan {
  /** What is removed when everything else has been done; nothing depends on it. */
  readonly cleaning: readonly Step[]
  /** Units that the installation before has started. */
  readonly startedBefore: readonly string[]
  /** `<version>-<hash>`. */
  readonly name: string
  readonly types: readonly string[]
}

/** The types that were asked for. @throws InstallError */
export const chosenTypes = (source: Source, types: readonly string[] | undefined): readonly string[] => {
  const unknown = types?.find((type) => !source.types.includes(type))
  if (unknown !== undefined)
    throw new InstallError(
      `there is no plugin ${JSON.stringify(unknown)}`,
      `there are ${source.types.join(', ')}`,
    )
  return types === undefined ? source.types : [...new Set(types)].sort()
}

const verifyStep = (folder: string, { types, command }: Source): Step => ({
  action: 'verify',
  path: folder,
  text: `ask each of ${types.length} plugins in ${folder} for its versions`,
  take: ({ signal }) => verify(folder, types, command, signal),
})

const recordStep = (file: string, before: Manifest | null, after: Manifest): Step => ({
  action: 'record',
  path: file,
  text: `write down in ${file} what is replaced`,
  take: (progress) => {
    progress.undo.push(`bring ${file} back to what it was`, () =>
      before ? writeManifest(file, before) : remove(file),
    )
    try {
      writeManifest(file, after)
    } catch (error) {
      throw explain(error, `writing ${file}`)
    }
  },
})

/** What was kept for entries that are gone, or that have replaced something newer since. */
const planForgetting = (folder: string, before: Manifest, needed: readonly string[]): Step[] =>
  keptNames(before)
    .filter((name) => !needed.includes(name))
    .map((name) => forgetStep(join(folder, name)))

const isEqual = (a: Manifest | null, b: Manifest): boolean => JSON.stringify(a) === JSON.stringify(b)

/** Makes the plan of one installation. */
export class Planner {
  readonly options: InstallOptions
  readonly source: Source
  readonly notes: Note[] = []

  constructor(options: InstallOptions, source: Source) {
    this.options = options
    this.source = source
  }

  #wanted(types: readonly string[]): Wanted[] {
    const { layout } = this.options
    const { binDir, current, command, prefix } = layout
    const wanted: Wanted[] = types.map((type) => {
      const path = join(binDir, type)
      const target = linkText(path, pluginIn(current, type), [binDir])
      return { path, role: 'plugin', content: { kind: 'link', target } }
    })
    if (this.source.command !== null) {
      const target = linkText(command, join(current, this.source.command), [prefix])
      wanted.push({ path: command, role: 'command', content: { kind: 'link', target } })
    }
    return wanted
  }

  #conf(types: readonly string[]): Wanted[] {
    const { conf, plugins, layout } = this.options
    if (!conf) return []
    const isThere = (type: string): boolean =>
      types.includes(type) || look(join(layout.binDir, basename(type))) !== null
    const { wanted, notes } = readConf(conf.file, conf.folder, plugins, isThere)
    this.notes.push(...notes)
    return [wanted]
  }

  /** @param made folders that were made for this installation */
  async plan(version: string, made: readonly string[]): Promise<Outcome> {
    const { options, source, notes } = this
    const { layout, systemd, systemctl } = options
    const types = chosenTypes(source, options.types)
    const recorded = readManifest(layout.manifest)
    const before = recorded ?? { ...emptyManifest, entries: unrecorded(layout, emptyManifest) }
    const used = currentVersionIn(layout)
    const staging = planStaging(layout, source, version)
    const units = systemd ? unitsOf(source, layout, systemd.folder) : []
    const files = [...units, ...this.#conf(types)]
    const wanted = [...this.#wanted(types), ...files]

    // Names that this version does not have, and the one before had.
    const isObsolete = ({ path, role }: Entry): boolean =>
      role === 'unit'
        ? systemd !== undefined &&
          dirname(path) === systemd.folder &&
          !units.some((unit) => unit.path === path)
        : !source.types.includes(basename(path))
    const obsolete = [
      ...pluginsIn(before, layout.binDir),
      ...before.entries.filter(({ role }) => role === 'unit'),
    ]
      .filter(isObsolete)
      .map((entry) => planTakeBack(entry, layout.replaced))
    notes.push(...obsolete.flatMap(({ note }) => note ?? []))

    const placings = wanted.map((one) => {
      const known = before.entries.find(({ path }) => path === one.path)
      return planEntry(one, known, { folder: layout.replaced, used: keptNames(before) })
    })
    const place = placings.flatMap((placing) => placing.place ?? [])
    const placeOf = (role: Entry['role']): Step[] =>
      placings.flatMap(({ entry, place }) => (entry.role === role ? (place ?? []) : []))
    const switching = used === staging.name ? [] : [switchStep(layout, used, staging.name)]
    const isNew = staging.step !== null || switching.length > 0 || place.length > 0
    const start = await this.#start(toStart(units.map(({ path }) => basename(path))), before.started, {
      areNew: placeOf('unit').length > 0,
      isSwitched: switching.length > 0,
    })
    const during: Manifest = {
      ...withEntries(before, placings),
      folders: [...new Set([...before.folders, ...made])],
      started: [...start.started],
    }
    // What is in place needs no other name any more.
    const placed = withEntries(
      during,
      placings.map(({ entry: { before: _, ...entry } }) => ({ entry })),
    )
    const after = obsolete.reduce((manifest, { entry }) => withoutEntry(manifest, entry.path), placed)

    const folders = [layout.lib, layout.replaced, ...wanted.map(({ path }) => dirname(path))]
    const steps = [
      ...tidySteps([...new Set(folders)]),
      ...(staging.step ? [staging.step] : []),
      ...(isNew ? [verifyStep(staging.folder, source)] : []),
      ...(isEqual(recorded, during) ? [] : [recordStep(layout.manifest, recorded, during)]),
      ...placings.flatMap(({ save }) => save ?? []),
      ...switching,
      ...placeOf('plugin'),
      ...placeOf('command'),
      ...obsolete.flatMap(({ step }) => step ?? []),
      ...placeOf('unit'),
      ...placeOf('conf'),
      ...start.steps,
      ...(isEqual(during, after) ? [] : [recordStep(layout.manifest, during, after)]),
    ]
    const cleaning = [
      ...planForgetting(layout.replaced, before, [
        ...keptNames(after),
        // What was not put back is told, for whoever misses it.
        ...obsolete.flatMap(({ entry, note }) => (note ? keptNames({ entries: [entry] }) : [])),
      ]),
      ...planPruning(layout, staging.name, used === staging.name ? null : used),
    ]
    if (used !== null && switching.length > 0 && !systemd?.start)
      notes.push({
        path: layout.command,
        text: 'a daemon that runs is of the version before until it is restarted (systemctl try-restart linkwright.service)',
      })
    if (systemd?.start && systemctl === null)
      notes.push({ path: 'systemctl', text: 'systemd does not run here: nothing was started' })
    return { name: staging.name, types, steps, cleaning, startedBefore: before.started, notes }
  }

  /** @returns `started`: the units that an installer has started, which an uninstaller is to stop */
  async #start(
    units: readonly string[],
    startedBefore: readonly string[],
    { areNew, isSwitched }: { areNew: boolean; isSwitched: boolean },
  ): Promise<{ steps: Step[]; started: readonly string[] }> {
    const { systemd, systemctl } = this.options
    if (!systemd?.start) return { steps: [], started: startedBefore }
    const running = systemctl !== null && !areNew && (await areStarted(systemctl, units))
    // Others may have started them.
    const started =
      systemctl === null || running ? units.filter((unit) => startedBefore.includes(unit)) : units
    if (systemctl === null || (running && !isSwitched)) return { steps: [], started }
    const added = units.filter((unit) => !startedBefore.includes(unit))
    const services = units.filter((unit) => unit.endsWith('.service'))
    const steps = [
      systemctlStep(systemctl, ['daemon-reload'], null),
      ...(running
        ? []
        : [
            systemctlStep(
              systemctl,
              ['enable', '--now', ...units],
              added.length > 0 ? ['disable', '--now', ...added] : null,
            ),
          ]),
      // What runs is the version before; launchers do without a daemon meanwhile.
      ...(services.length > 0 ? [systemctlStep(systemctl, ['try-restart', ...services], null)] : []),
    ]
    return { steps, started }
  }
}
