/** Configurations as a runtime finds them, each read along the schemas of its plugins. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { confFor } from '../../../../cni/chain.ts'
import {
  confNames,
  extensionOf,
  loadConfFile,
  type NetworkConf,
  type PluginConf,
} from '../../../../cni/conflist.ts'
import { CniError } from '../../../../cni/error.ts'
import { isObject, lookup } from '../../../../cni/fold.ts'
import { ipamType } from '../../../../cni/ipam.ts'
import type { Plugins } from '../../../../cni/plugin.ts'
import type { JsonObject } from '../../../../cni/types.ts'
import { isErrno } from '../../../../netlink/error.ts'
import { validateConf } from '../../../conf-check.ts'
import type { Seen } from '../finding.ts'

/** Bytes that a configuration may have: a runtime hands it on by standard input, which we read 1 MiB of. */
const MAX_SIZE = 1 << 20
/** Files that are read: more are no configurations of a node. */
const MAX_FILES = 500

/** What is wrong with a configuration. */
export interface Problem {
  readonly msg: string
  readonly details?: string | undefined
}

export interface PluginFacts {
  readonly type: string
  /** `ipam.type`; empty where none is named. */
  readonly ipam: string
  /** Whether it is one of ours, which its schema is known of. */
  readonly own: boolean
  /** What its schema, or its IPAM plugin's, does not take. */
  readonly problem: Problem | null
  /** The configuration as the plugin gets it. Never printed: it may hold secrets. */
  readonly conf: JsonObject
}

export interface NetworkFacts {
  /** The file's name in the directory. */
  readonly file: string
  readonly name: string
  readonly conf: NetworkConf
  readonly plugins: readonly PluginFacts[]
}

export interface ConfFile {
  readonly file: string
  /** Null where it can't be read as a network. */
  readonly network: NetworkFacts | null
  readonly problem: Problem | null
  /** It is only that this process may not read it. */
  readonly forbidden: boolean
  /** A list whose name does not end in .conflist: containerd reads no list from it. */
  readonly misnamed: boolean
}

export interface ConfDirFacts {
  readonly directory: string
  /** Something else is there: a runtime fails. */
  readonly isNoFolder: boolean
  /** In the order in which a runtime takes them: the first is its network. */
  readonly files: readonly ConfFile[]
  /** How many files there are beyond those that were read. */
  readonly more: number
}

const problemOf = (error: unknown): Problem => {
  const { msg, details } = CniError.from(error)
  return { msg, details }
}

const toPlugin = (plugins: Plugins, network: NetworkConf, plugin: PluginConf): PluginFacts => {
  const conf = confFor({ network }, plugin, {})
  const facts = { type: plugin.type, ipam: ipamType(conf), own: plugins.has(plugin.type), conf }
  try {
    validateConf(plugins, plugin.type, conf)
    return { ...facts, problem: null }
  } catch (error) {
    return { ...facts, problem: problemOf(error) }
  }
}

/** @throws Error where what is there can't be read as a file: a FIFO would stop whoever opens it */
const checkIsFile = (path: string): void => {
  const stats = statSync(path)
  if (!stats.isFile()) throw new Error(`${path} is not a file`)
  if (stats.size > MAX_SIZE) throw new Error(`${path} has more than ${MAX_SIZE} bytes`)
}

/** The files of a list's own directory, `NAME/*.conf`, from which libcni takes further plugins. */
const checkMore = (directory: string, name: unknown): void => {
  if (typeof name !== 'string' || name === '' || name.includes('/') || name.includes('\0')) return
  const folder = join(directory, name)
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return
  const names = readdirSync(folder).filter((file) => extensionOf(file) === '.conf')
  if (names.length > MAX_FILES) throw new Error(`${folder} has more than ${MAX_FILES} configurations`)
  for (const file of names) checkIsFile(join(folder, file))
}

/** The object in a file; undefined where it holds none. */
const objectIn = (path: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const json: unknown = JSON.parse(readFileSync(path, 'utf8'))
    return isObject(json) ? json : undefined
  } catch {
    // Told by whoever reads it as a configuration.
    return undefined
  }
}

const readFile = (plugins: Plugins, directory: string, file: string): ConfFile => {
  const path = join(directory, file)
  try {
    checkIsFile(path)
    const json = objectIn(path)
    checkMore(directory, json?.name)
    const conf = loadConfFile(path)
    const misnamed =
      extensionOf(file) !== '.conflist' && json !== undefined && lookup(json, 'type') === undefined
    const network = {
      file,
      name: conf.name,
      conf,
      plugins: conf.plugins.map((plugin) => toPlugin(plugins, conf, plugin)),
    }
    return { file, network, problem: null, forbidden: false, misnamed }
  } catch (error) {
    const forbidden = isErrno(error instanceof CniError ? error.cause : error, 'EACCES', 'EPERM')
    return { file, network: null, problem: problemOf(error), forbidden, misnamed: false }
  }
}

/** @throws SystemError where it can't be looked at */
const kindOf = (directory: string): 'folder' | 'other' | 'nothing' => {
  try {
    return statSync(directory).isDirectory() ? 'folder' : 'other'
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return 'nothing'
    // It is below a file, or leads to itself.
    if (isErrno(error, 'ENOTDIR', 'ELOOP')) return 'other'
    throw error
  }
}

/** Reads every configuration of a directory. @throws SystemError where it can't be read, but not where there is none */
export const lookAtConfDir = (directory: string, plugins: Plugins): ConfDirFacts => {
  const kind = kindOf(directory)
  if (kind !== 'folder') return { directory, isNoFolder: kind === 'other', files: [], more: 0 }
  const entries = readdirSync(directory, { withFileTypes: true })
  const names = confNames(entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name))
  return {
    directory,
    isNoFolder: false,
    files: names.slice(0, MAX_FILES).map((file) => readFile(plugins, directory, file)),
    more: Math.max(0, names.length - MAX_FILES),
  }
}

/** The networks that were found, the first file of a name only. */
export const networksOf = (facts: Seen<ConfDirFacts>): readonly NetworkFacts[] => {
  const found = new Map<string, NetworkFacts>()
  for (const { network } of facts.seen ? facts.value.files : [])
    if (network && !found.has(network.name)) found.set(network.name, network)
  return [...found.values()]
}
