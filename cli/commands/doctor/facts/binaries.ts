/** Executables of plugins, as a runtime finds and calls them. */
import { accessSync, constants, lstatSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isObject } from '../../../../cni/fold.ts'
import { createExec } from '../../../../cni/spawn.ts'
import { isErrno } from '../../../../netlink/error.ts'
import { Netns } from '../../../../netlink/netns.ts'
import { hashFile } from '../../install/files.ts'
import { changeableBy } from '../../install/folders.ts'
import { LAUNCHER, STANDALONE } from '../../install/layout.ts'
import type { Changes } from '../../install/versions.ts'
import { isGoProgram } from './elf.ts'

/** Who made it: `linkwright`: it leads to our launcher or program; `go`: Go's compiler, so the reference or one like it. */
export type Maker = 'linkwright' | 'go' | 'other'

export type FileState =
  | { readonly state: 'missing' }
  | { readonly state: 'dangling' | 'not-a-file' | 'not-executable'; readonly path: string }
  /** This process can't tell. */
  | { readonly state: 'unseen'; readonly path: string; readonly why: string }
  | {
      readonly state: 'there'
      readonly path: string
      /** Without links. */
      readonly real: string
      readonly maker: Maker
      /** The folder of our launcher and its program; null for others. */
      readonly home: string | null
      /** How others than root may change it, in words: it is not executed. Null where they can't. */
      readonly changeable: string | null
      /** What of it is not as it was installed: the file, or the folder of its version. Then it is not executed. */
      readonly changed: string | null
    }

type There = Extract<FileState, { state: 'there' }>

export interface BinaryFacts {
  readonly type: string
  readonly file: FileState
  /** What VERSION said; null where it was not asked. */
  readonly version: { readonly supported: readonly string[] } | { readonly failed: string } | null
  /** Of ours: the release it belongs to, as it says. */
  readonly release: string | null
  /** Of our launcher: the program that it starts where no daemon answers; null for others. Whether it is usable: null where only root can tell. */
  readonly standalone: { readonly path: string; readonly usable: boolean | null } | null
}

/** Our launcher, our program, and what `npm run build` makes of it. */
const ours = new Set([LAUNCHER, STANDALONE, `${STANDALONE}.cjs`])

/** Whether root may execute it; null where only root can tell. */
export const canExecute = (path: string): boolean | null => {
  try {
    const stats = statSync(path)
    if (!stats.isFile() || (stats.mode & 0o111) === 0) return false
    accessSync(path, constants.X_OK)
    return true
  } catch (error) {
    return isErrno(error, 'EACCES', 'EPERM') && process.geteuid!() !== 0 ? null : false
  }
}

/** Where our programs lie that a file may be one of: beside it, or above `bin`, where each plugin has a launcher. */
const homeOf = (real: string): string | null => {
  if (ours.has(basename(real))) return dirname(real)
  const above = dirname(dirname(real))
  const isBelow =
    basename(dirname(real)) === 'bin' && statSync(join(above, LAUNCHER), { throwIfNoEntry: false })
  return isBelow ? above : null
}

const strangerOf = (real: string): Maker => {
  try {
    return isGoProgram(real) ? 'go' : 'other'
  } catch {
    return 'other'
  }
}

/** By its content, as far as that is known. */
const identify = (
  real: string,
  changesIn: BinaryOptions['changesIn'],
): Pick<There, 'maker' | 'home' | 'changed'> => {
  const home = homeOf(real)
  if (home === null) return { maker: strangerOf(real), home, changed: null }
  const isOwn = ours.has(basename(real))
  const changes = changesIn(home)
  if (changes?.version) return { maker: strangerOf(real), home: null, changed: home }
  if (isOwn || hashFile(real) === hashFile(join(home, LAUNCHER)))
    return { maker: 'linkwright', home, changed: null }
  return { maker: strangerOf(real), home: null, changed: changes === null ? null : real }
}

const programOf = (home: string): string => join(home, STANDALONE)

/** How others than root may change what is executed at a path, or put something else in its place. */
const changeable = (path: string, real: string, home: string | null): string | null =>
  changeableBy(dirname(path)) ??
  changeableBy(path, true) ??
  changeableBy(dirname(real)) ??
  (home !== null && canExecute(programOf(home)) ? changeableBy(programOf(home), true) : null)

const stateOf = (path: string, changesIn: BinaryOptions['changesIn']): FileState => {
  lstatSync(path)
  const stats = statSync(path, { throwIfNoEntry: false })
  if (!stats) return { state: 'dangling', path }
  if (!stats.isFile()) return { state: 'not-a-file', path }
  const executable = canExecute(path)
  if (executable === false) return { state: 'not-executable', path }
  if (executable === null) return { state: 'unseen', path, why: 'EACCES: permission denied' }
  const real = realpathSync(path)
  const identity = identify(real, changesIn)
  return { state: 'there', path, real, ...identity, changeable: changeable(path, real, identity.home) }
}

/** What is at a path; null for nothing. */
const lookAt = (path: string, changesIn: BinaryOptions['changesIn']): FileState | null => {
  try {
    return stateOf(path, changesIn)
  } catch (error) {
    // A runtime goes on with the next directory.
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return null
    return { state: 'unseen', path, why: (error as Error).message }
  }
}

/** The first file of that name, as a runtime looks for it. */
const find = (
  type: string,
  { directories, changesIn }: Pick<BinaryOptions, 'directories' | 'changesIn'>,
): FileState => {
  // Whoever looks for it refuses such a name.
  if (/[/\0]/.test(type) || type === '.' || type === '..') return { state: 'missing' }
  let other: FileState | undefined
  for (const directory of directories) {
    const state = lookAt(join(directory, type), changesIn)
    if (state === null) continue
    if (state.state !== 'dangling' && state.state !== 'not-a-file') return state
    other ??= state
  }
  return other ?? { state: 'missing' }
}

export interface BinaryOptions {
  readonly directories: readonly string[]
  /** What in the folder of a version is not as it was installed; null for other folders. */
  readonly changesIn: (folder: string) => Changes | null
  /** Given to ours by LINKWRIGHT_SOCKET. */
  readonly socket: string
  /** Milliseconds for each call. */
  readonly timeout: number
  readonly signal: AbortSignal
}

/** Nothing of this process's environment: what is asked is how it answers a runtime. */
const cleanPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

const supportedOf = (stdout: string): readonly string[] => {
  const json: unknown = JSON.parse(stdout)
  const list = isObject(json) ? json.supportedVersions : undefined
  if (!Array.isArray(list) || !list.every((version) => typeof version === 'string'))
    throw new Error('its answer has no supportedVersions')
  return list
}

/** Characters of an answer that are told. */
const TOLD = 200

const askVersion = async (
  path: string,
  exec: ReturnType<typeof createExec>,
  { socket, timeout }: BinaryOptions,
): Promise<NonNullable<BinaryFacts['version']>> => {
  const env = { PATH: cleanPath, CNI_COMMAND: 'VERSION', LINKWRIGHT_SOCKET: socket }
  try {
    const { status, stdout, stderr } = await exec(path, [], {
      input: '{"cniVersion":"1.0.0"}',
      env,
      timeout,
    })
    if (status !== 0) return { failed: `exit status ${status}: ${(stdout || stderr).trim().slice(0, TOLD)}` }
    return { supported: supportedOf(stdout) }
  } catch (error) {
    return { failed: (error as Error).message }
  }
}

/** `CNI bridge plugin v1.2.3` */
const askRelease = async (
  path: string,
  exec: ReturnType<typeof createExec>,
  { timeout }: BinaryOptions,
): Promise<string | null> => {
  try {
    const { stdout } = await exec(path, ['--version'], { env: { PATH: cleanPath }, timeout })
    return /^CNI \S+ plugin v(\S{1,64})$/m.exec(stdout)?.[1] ?? null
  } catch {
    return null
  }
}

const standaloneOf = (file: FileState): BinaryFacts['standalone'] => {
  if (file.state !== 'there' || file.home === null || basename(file.real).startsWith(STANDALONE)) return null
  const path = programOf(file.home)
  return { path, usable: canExecute(path) }
}

/** Whether what a runtime finds for a type may be executed here, too; if it finds nothing, nothing is executed. */
export const isTrusted = (
  type: string,
  options: Pick<BinaryOptions, 'directories' | 'changesIn'>,
): boolean => {
  const file = find(type, options)
  return file.state !== 'there' || (file.changeable === null && file.changed === null)
}

/** How many are asked at a time. */
const TOGETHER = 4

/** Finds the executables of the types, and asks each that can be executed for its versions. */
export const lookAtBinaries = async (
  types: readonly string[],
  options: BinaryOptions,
): Promise<readonly BinaryFacts[]> => {
  const exec = createExec({ hostNetns: Netns.current(), signal: options.signal })
  /** Of one program with many names it is asked once. */
  const releases = new Map<string, Promise<string | null>>()
  const examine = async (type: string): Promise<BinaryFacts> => {
    const file = find(type, options)
    const standalone = standaloneOf(file)
    const silent = { type, file, version: null, release: null, standalone }
    if (file.state !== 'there' || file.changeable !== null || file.changed !== null) return silent
    // It would fail for who may not execute that.
    if (standalone?.usable === null) return silent
    const version = await askVersion(file.path, exec, options)
    if (file.home === null) return { ...silent, version }
    const program = ours.has(basename(file.real)) ? file.real : join(file.home, LAUNCHER)
    const release = releases.get(program) ?? askRelease(file.path, exec, options)
    releases.set(program, release)
    return { ...silent, version, release: await release }
  }
  const found: BinaryFacts[] = []
  for (let i = 0; i < types.length; i += TOGETHER)
    found.push(...(await Promise.all(types.slice(i, i + TOGETHER).map(examine))))
  return found
}
