/**
 * Folders of versions below `<prefix>/lib/linkwright`, named `<version>-<hash>`, complete or not there. `current` leads
 * to the one that is used, and is switched in one step. A launcher that waits for a daemon may yet execute the
 * standalone program beside it, so the version before stays, and older ones as long as a process runs them.
 */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  utimesSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isErrno } from '../../../netlink/error.ts'
import { attempt, InstallError, isMissing } from './error.ts'
import { copyNew, hashFile, look, remove, replaceLink, syncFolder, temporaryIn } from './files.ts'
import { processesIn, seesAllProcesses } from './in-use.ts'
import { COMMAND, LAUNCHER, type Layout } from './layout.ts'
import { readSource, type Source, type SourceFile } from './source.ts'
import type { Step } from './step.ts'

const VERSION = /^\d[\w.+-]*-([0-9a-f]{12})(?:-\d+)?$/
/** Milliseconds after which nobody runs a version that was switched from, where that can't be seen. */
const SURELY_OVER = 24 * 3600 * 1000
/** Bytes that are left free: manifest, links, folders. */
const MARGIN = 1 << 20

const modeOf = ({ executable }: SourceFile): number => (executable ? 0o755 : 0o644)

/** Folders of versions, names only; none where nothing was installed. */
export const versionsIn = ({ lib }: Layout): string[] => {
  try {
    return readdirSync(lib, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && VERSION.test(entry.name))
      .map(({ name }) => name)
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

/** The name of the version that is used; null where there is none. @throws InstallError where it is none of ours */
export const currentVersionIn = ({ current }: Layout): string | null => {
  try {
    const name = readlinkSync(current)
    if (VERSION.test(name)) return name
    throw new InstallError(`${current} leads to ${name}, which no installer wrote`, 'remove it')
  } catch (error) {
    if (isMissing(error)) return null
    if (isErrno(error, 'EINVAL')) throw new InstallError(`${current} is no link`, 'move it away')
    throw error
  }
}

const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))

/** Whether a version's folder holds exactly what `source` has. */
const isIntact = (folder: string, { files, links }: Source): boolean => {
  const targets = Object.entries(links)
  if (filesBelow(folder).length !== files.length + targets.length) return false
  const isLinked = targets.every(([name, target]) => {
    const found = look(join(folder, name))
    return found?.kind === 'link' && found.target === target
  })
  if (!isLinked) return false
  return files.every((file) => {
    const found = look(join(folder, file.name))
    return (
      found?.kind === 'file' &&
      found.sha256 === file.sha256 &&
      (found.stat.mode & 0o7777) === modeOf(file) &&
      found.stat.uid === process.geteuid!()
    )
  })
}

/** What of a version's folder is not as it was installed. */
export interface Changes {
  /** Whether it is what the folder is named after: something that they all have in common. */
  readonly version: boolean
  /** Plugins whose own files are not the launcher. */
  readonly types: readonly string[]
}

/** What a version is named after whose plugins are links to one launcher. */
const linkedHash = ({ types, links, files }: Source): string => {
  const hash = createHash('sha256')
  for (const type of types) hash.update(`bin/${type} ../${LAUNCHER}\n`)
  const command = `bin/${COMMAND}`
  if (links[command] !== undefined) hash.update(`${command} ${links[command]}\n`)
  for (const { name, executable, sha256 } of files)
    if (!name.startsWith('bin/')) hash.update(`${name} ${executable} ${sha256}\n`)
  return hash.digest('hex').slice(0, 12)
}

/**
 * Whether somebody has written to what is in a version's folder, as `cp` onto a link to it does.
 * @returns null for any other folder
 * @throws InstallError where this process may not read it
 */
export const changesIn = (folder: string): Changes | null => {
  const [, hash] = VERSION.exec(basename(folder)) ?? []
  if (hash === undefined) return null
  try {
    const source = readSource(folder)
    const launcher = hashFile(join(folder, LAUNCHER))
    const isLinked = (type: string): boolean => look(join(folder, 'bin', type))?.kind === 'link'
    const isLauncher = (type: string): boolean =>
      hashFile(realpathSync(join(folder, 'bin', type))) === launcher
    const expected = source.types.every(isLinked) ? linkedHash(source) : source.hash
    return { version: expected !== hash, types: source.types.filter((type) => !isLauncher(type)) }
  } catch (error) {
    const { cause = error } = error as Error
    if (isErrno(cause, 'EACCES', 'EPERM')) throw error
    // Something is missing.
    return { version: true, types: [] }
  }
}

/** Refuses before anything is copied what would not fit. Half a version would be removed again in any case. */
const checkSpace = (folder: string, needed: number): void => {
  const { blocks, bavail, bsize } = statfsSync(folder)
  // ramfs and the like do not count.
  if (blocks === 0) return
  const free = bavail * bsize
  if (free < needed + MARGIN)
    throw new InstallError(
      `${folder} has ${Math.floor(free / 1024)} KiB free, and ${Math.ceil((needed + MARGIN) / 1024)} KiB are needed`,
      'make room, or choose another --prefix',
    )
}

/** Copies all files into a new folder, which then takes its name. */
const stage = (source: Source, folder: string): void => {
  const lib = dirname(folder)
  checkSpace(lib, source.bytes)
  const temporary = temporaryIn(lib)
  const makeFolder = (path: string): void => {
    mkdirSync(path)
    chmodSync(path, 0o755)
  }
  try {
    makeFolder(temporary)
    const links = Object.entries(source.links)
    const names = [...source.files.map(({ name }) => name), ...links.map(([name]) => name)]
    const inner = new Set(names.map((name) => dirname(name)).filter((name) => name !== '.'))
    for (const name of inner) makeFolder(join(temporary, name))
    for (const file of source.files)
      if (copyNew(file.path, join(temporary, file.name), { mode: modeOf(file) }) !== file.sha256)
        throw new InstallError(`${file.path} was changed while it was copied`, 'try once more')
    for (const [name, target] of links) symlinkSync(target, join(temporary, name))
    for (const name of inner) syncFolder(join(temporary, name))
    syncFolder(temporary)
    renameSync(temporary, folder)
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true })
    throw error
  }
  syncFolder(lib)
}

/** The folder of a version that is wanted. */
export interface Staging {
  readonly name: string
  readonly folder: string
  /** Null where it is there, and intact. */
  readonly step: Step | null
}

/** Looks for an intact folder of this version; one that somebody has changed is not touched, another is made. */
export const planStaging = (layout: Layout, source: Source, version: string): Staging => {
  const wanted = `${version}-${source.hash}`
  const there = versionsIn(layout)
  const same = there.filter((name) => name === wanted || name.startsWith(`${wanted}-`))
  const intact = same.find((name) => isIntact(join(layout.lib, name), source))
  if (intact !== undefined) return { name: intact, folder: join(layout.lib, intact), step: null }
  let name = wanted
  for (let i = 2; there.includes(name); i++) name = `${wanted}-${i}`
  const folder = join(layout.lib, name)
  return {
    name,
    folder,
    step: {
      action: 'copy',
      path: folder,
      text: `copy ${source.files.length} files (${Math.ceil(source.bytes / 1024)} KiB) from ${source.folder} to ${folder}`,
      take: ({ undo }) =>
        attempt(`copying to ${folder}`, () => {
          stage(source, folder)
          undo.push(`remove ${folder}`, () => rmSync(folder, { recursive: true, force: true }))
        }),
    },
  }
}

/** Makes `current` lead to another version. */
export const switchStep = ({ current, lib }: Layout, from: string | null, to: string): Step => ({
  action: 'switch',
  path: current,
  text: from === null ? `link ${current} to ${to}` : `switch ${current} from ${from} to ${to}`,
  take: ({ undo }) =>
    attempt(`switching ${current}`, () => {
      undo.push(from === null ? `remove ${current}` : `switch ${current} back to ${from}`, () =>
        from === null ? remove(current) : replaceLink(current, from),
      )
      replaceLink(current, to)
      syncFolder(lib)
      // Its date tells when it was last used.
      const old = from === null ? undefined : join(lib, from)
      if (old !== undefined && lstatSync(old, { throwIfNoEntry: false }))
        utimesSync(old, new Date(), new Date())
    }),
})

/** Removes a version's folder. What is executed at the moment goes on. */
export const removeVersionStep = (folder: string): Step => ({
  action: 'remove',
  path: folder,
  text: `remove ${folder}`,
  take: () =>
    attempt(`removing ${folder}`, () => {
      // By another name first: half a version must not be taken for one.
      const temporary = temporaryIn(dirname(folder))
      renameSync(folder, temporary)
      rmSync(temporary, { recursive: true, force: true })
    }),
})

/** Who runs a version: `process 12, 13`; null for nobody. */
export const usersOf = (folder: string, { wholeNode }: Pick<Layout, 'wholeNode'>): string | null => {
  if (!wholeNode && !seesAllProcesses()) {
    const age = Date.now() - statSync(folder).mtimeMs
    return age < SURELY_OVER ? 'processes that can not be seen from here' : null
  }
  // This one may be an installed copy: it has all it needs.
  const ids = processesIn(folder).filter((id) => id !== process.pid)
  if (ids.length === 0) return null
  return `process ${ids.slice(0, 5).join(', ')}${ids.length > 5 ? ', …' : ''}`
}

/** Removes versions that are older than the one before `used`, unless somebody runs them. */
export const planPruning = (layout: Layout, used: string, before: string | null): Step[] => {
  const lastUsed = (name: string): number =>
    name === before ? Number.POSITIVE_INFINITY : statSync(join(layout.lib, name)).mtimeMs
  return versionsIn(layout)
    .filter((name) => name !== used)
    .sort((a, b) => lastUsed(b) - lastUsed(a))
    .slice(1)
    .map((name) => join(layout.lib, name))
    .filter((folder) => usersOf(folder, layout) === null)
    .map(removeVersionStep)
}
