/** The folder that is installed from: the launcher, the standalone program and what it needs, as the build leaves them. */
import { createHash } from 'node:crypto'
import { readdirSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { attempt, InstallError, isMissing } from './error.ts'
import { hashFile } from './files.ts'
import { COMMAND, LAUNCHER, pluginIn, STANDALONE, TYPE } from './layout.ts'

/** More than any build of ours has. */
const MAX_FILES = 200
const MAX_BYTES = 1 << 30

/** Licences go along; a file that ends in a process id is being built. */
const NAME = /^[A-Za-z][\w.-]*$/
const notNeeded = /^README|\.(?:\d+|sha256|tar|xz|md)$/

/** What a package has for several processors: `linkwright-launcher.linux-arm64`, `linkwright.linux-arm64.musl.node`. */
const forProcessor = /\.linux-([a-z\d]+)(?=\.|$)/

/** @param arch as Node calls the processor, e.g. `arm64` */
const isForeign = (name: string, arch: string): boolean => (forProcessor.exec(name)?.[1] ?? arch) !== arch

/** The launcher in a folder that has been built for this processor, or is packed for several. */
const launcherIn = (names: readonly string[], arch: string): string | undefined =>
  [LAUNCHER, `${LAUNCHER}.linux-${arch}`].find((name) => names.includes(name))

/** One file of a version. */
export interface SourceFile {
  readonly path: string
  /** Its place in the version's folder, e.g. `cli/linkwright.cjs`. */
  readonly name: string
  readonly executable: boolean
  readonly size: number
  readonly sha256: string
}

export interface Source {
  readonly folder: string
  /** The name of this processor's launcher in there. */
  readonly launcher: string
  readonly files: readonly SourceFile[]
  /** Symbolic links in the version's folder by their places. */
  readonly links: Readonly<Record<string, string>>
  /** Sorted. */
  readonly types: readonly string[]
  /** Over the names, modes and contents of everything: the first 12 digits of a SHA-256. */
  readonly hash: string
  readonly bytes: number
  /** What the command line is in the version's folder; null where the build has none. */
  readonly command: string | null
}

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false

const filesOf = (folder: string, wanted: (name: string) => boolean): string[] => {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile() && NAME.test(entry.name) && wanted(entry.name))
      .map(({ name }) => name)
      .sort()
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

/** The first of the folders beside `folder` that has a file which is wanted. */
const firstWith = (
  folder: string,
  places: readonly string[],
  wanted: (name: string) => boolean,
): { place: string; names: string[] } | undefined =>
  places
    .map((place) => ({ place: join(folder, place), names: filesOf(join(folder, place), wanted) }))
    .find(({ names }) => names.length > 0)

const readSourceFile = (path: string, name: string): SourceFile => {
  const { size, mode } = statSync(path)
  if (size > MAX_BYTES) throw new InstallError(`${path} has ${size} bytes`, 'that is no file of Linkwright')
  return { path, name, executable: (mode & 0o111) !== 0, size, sha256: hashFile(path) }
}

const typesOf = (folder: string): string[] => {
  const bin = join(folder, 'bin')
  const types = attempt('looking for the plugins', () => readdirSync(bin))
    .filter((name) => TYPE.test(name) && name !== COMMAND)
    .sort()
  if (types.length === 0) throw new InstallError(`${bin} names no plugin`, 'build it once more')
  return types
}

/** Unit files of this project. */
export const isUnit = (name: string): boolean => /^linkwright[a-z-]*\.(?:service|socket)$/.test(name)

/**
 * The files of the folder itself, by their names in the version's folder.
 * @throws InstallError where one of the programs is not among them
 */
const programsOf = (folder: string, arch: string): Map<string, string> => {
  const names = filesOf(folder, (name) => !notNeeded.test(name) && !isForeign(name, arch))
  const launcher = launcherIn(names, arch)
  if (launcher === undefined && filesOf(folder, (name) => name.startsWith(`${LAUNCHER}.`)).length > 0)
    throw new InstallError(
      `${folder} holds no ${LAUNCHER} for ${arch}`,
      'build it in a checkout of the sources: npm run build',
    )
  for (const [needed, isThere] of [
    [LAUNCHER, launcher !== undefined],
    [STANDALONE, names.includes(STANDALONE)],
  ] as const)
    if (!isThere)
      throw new InstallError(`${folder} holds no ${needed}`, 'build it: npm run build, or npm run dist')
  const others = names.filter((name) => !name.startsWith(LAUNCHER))
  return new Map([[LAUNCHER, launcher!], ...others.map((name) => [name, name] as const)])
}

/**
 * Reads a folder that a build has made, or of the npm package.
 * @param arch the processor, as Node calls it
 * @throws InstallError
 */
export const readSource = (folder: string, arch: string = process.arch): Source =>
  attempt(`reading ${folder}`, () => {
    const programs = programsOf(folder, arch)
    const files = [...programs]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, found]) => readSourceFile(join(folder, found), name))
    // A single executable is the command line as well; what a plain build has is a program of its own.
    const isWhole = isFile(join(folder, 'bin', COMMAND))
    const others = [
      ['cli', isWhole ? [] : ['cli', '../cli'], (name: string) => !notNeeded.test(name)],
      ['systemd', ['systemd', '../systemd', '../../deploy/systemd'], isUnit],
      ['licenses', ['licenses', 'LICENSES'], () => true],
    ] as const
    for (const [into, places, wanted] of others) {
      const found = firstWith(folder, places, wanted)
      for (const name of found?.names ?? [])
        files.push(readSourceFile(join(found!.place, name), `${into}/${name}`))
    }
    // Its `bin` is as a build's: a CNI_PATH.
    const types = typesOf(folder)
    const launcher = files.find(({ name }) => name === LAUNCHER)!
    for (const type of types) files.push({ ...launcher, name: pluginIn('', type) })
    const links: Record<string, string> = isWhole ? { [`bin/${COMMAND}`]: `../${STANDALONE}` } : {}
    const bytes = files.reduce((sum, { size }) => sum + size, 0)
    if (files.length > MAX_FILES || bytes > MAX_BYTES)
      throw new InstallError(`${folder} holds ${files.length} files of ${bytes} bytes`, 'that is no build')
    const hash = createHash('sha256')
    for (const [name, target] of Object.entries(links)) hash.update(`${name} ${target}\n`)
    for (const { name, executable, sha256 } of files) hash.update(`${name} ${executable} ${sha256}\n`)
    const own = `cli/${COMMAND}.cjs`
    return {
      folder,
      launcher: programs.get(LAUNCHER)!,
      files,
      links,
      types,
      hash: hash.digest('hex').slice(0, 12),
      bytes,
      command: isWhole ? STANDALONE : files.some(({ name }) => name === own) ? own : null,
    }
  })

/**
 * Finds the folder by where the running program is: beside the single executable, beside the command line, or in dist/
 * where it runs from its sources.
 * @param program the interpreter or single executable: `process.execPath`
 * @throws InstallError
 */
export const findSource = (program: string): string => {
  const places: string[] = []
  if (basename(program).startsWith(COMMAND)) places.push(dirname(realpathSync(program)))
  let here = ''
  try {
    here = dirname(realpathSync(fileURLToPath(import.meta.url)))
  } catch {
    // A single executable is no file of a module.
  }
  if (here !== '') places.push(join(here, '../cni'), join(here, '..'), join(here, '../../../dist/cni'))
  const isSource = (place: string): boolean =>
    isFile(join(place, STANDALONE)) && filesOf(place, (name) => name.startsWith(LAUNCHER)).length > 0
  const found = places.find(isSource)
  if (found !== undefined) return found
  throw new InstallError(
    `${LAUNCHER} and ${STANDALONE} are in none of: ${places.join(', ')}`,
    'build them (npm run build), or say where they are (--from)',
  )
}
