/** Executables of plugins, as a runtime finds and calls them. */
import { accessSync, constants, lstatSync, realpathSync, type Stats, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isObject } from '../../../../cni/fold.ts'
import { createExec } from '../../../../cni/spawn.ts'
import { Netns } from '../../../../netlink/netns.ts'
import { LAUNCHER, STANDALONE } from '../../install/layout.ts'
import { isGoProgram } from './elf.ts'

/** Who made it: `linkwright`: it leads to our launcher or program; `go`: Go's compiler, so the reference or one like it. */
export type Maker = 'linkwright' | 'go' | 'other'

export type FileState =
  | { readonly state: 'missing' }
  | { readonly state: 'dangling' | 'not-a-file' | 'not-executable'; readonly path: string }
  | {
      readonly state: 'there'
      readonly path: string
      /** Without links. */
      readonly real: string
      readonly maker: Maker
      /** Others than root may change it: it is not executed. */
      readonly writable: boolean
    }

export interface BinaryFacts {
  readonly type: string
  readonly file: FileState
  /** What VERSION said; null where it was not asked. */
  readonly version: { readonly supported: readonly string[] } | { readonly failed: string } | null
  /** Of ours: the release it belongs to, as it says. */
  readonly release: string | null
  /** Of our launcher: the program that it starts where no daemon answers; null for others. */
  readonly standalone: { readonly path: string; readonly usable: boolean } | null
}

/** Our launcher, our program, and what `npm run build` makes of it. */
const ours = new Set([LAUNCHER, STANDALONE, `${STANDALONE}.cjs`])

/** Whether it is a file that this process may execute. */
export const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

const makerOf = (real: string): Maker => {
  if (ours.has(basename(real))) return 'linkwright'
  try {
    return isGoProgram(real) ? 'go' : 'other'
  } catch {
    return 'other'
  }
}

/** Whether somebody else than root and this user can change what would run as root. */
const isWritable = ({ mode, uid }: Stats): boolean =>
  (mode & 0o022) !== 0 || (uid !== 0 && uid !== process.getuid?.())

const stateOf = (path: string): FileState => {
  const stats = statSync(path, { throwIfNoEntry: false })
  if (!stats) return { state: 'dangling', path }
  if (!stats.isFile()) return { state: 'not-a-file', path }
  if (!isExecutable(path)) return { state: 'not-executable', path }
  const real = realpathSync(path)
  return { state: 'there', path, real, maker: makerOf(real), writable: isWritable(stats) }
}

/** The first file of that name, as a runtime looks for it. */
const find = (type: string, directories: readonly string[]): FileState => {
  // Whoever looks for it refuses such a name.
  if (/[/\0]/.test(type) || type === '.' || type === '..') return { state: 'missing' }
  let other: FileState | undefined
  for (const directory of directories) {
    const path = join(directory, type)
    if (!lstatSync(path, { throwIfNoEntry: false })) continue
    const state = stateOf(path)
    if (state.state === 'there' || state.state === 'not-executable') return state
    other ??= state
  }
  return other ?? { state: 'missing' }
}

export interface BinaryOptions {
  readonly directories: readonly string[]
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
  if (file.state !== 'there' || basename(file.real) !== LAUNCHER) return null
  const path = join(dirname(file.real), STANDALONE)
  return { path, usable: isExecutable(path) }
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
  const lookAt = async (type: string): Promise<BinaryFacts> => {
    const file = find(type, options.directories)
    const standalone = standaloneOf(file)
    if (file.state !== 'there' || file.writable)
      return { type, file, version: null, release: null, standalone }
    const version = await askVersion(file.path, exec, options)
    if (file.maker !== 'linkwright') return { type, file, version, release: null, standalone }
    const release = releases.get(file.real) ?? askRelease(file.path, exec, options)
    releases.set(file.real, release)
    return { type, file, version, release: await release, standalone }
  }
  const found: BinaryFacts[] = []
  for (let i = 0; i < types.length; i += TOGETHER)
    found.push(...(await Promise.all(types.slice(i, i + TOGETHER).map(lookAt))))
  return found
}
