/** Network configurations from text and from a directory, as libcni loads them. Spec section 1. */
import { type Dirent, readdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isErrno } from '../netlink/error.ts'
import { checkNetworkName } from './environment.ts'
import { CniError, codes, invalidConfig } from './error.ts'
import { isObject, lookup } from './fold.ts'
import { goString, printJson, sortKeys } from './json.ts'
import { readText } from './read-text.ts'
import type { JsonObject } from './types.ts'
import { compareVersions, currentVersion } from './version.ts'

/** The configuration of one plugin in a network. */
export interface PluginConf {
  readonly type: string
  /** As it came; unknown keys included. */
  readonly conf: JsonObject
  /** The capabilities it declares as true. */
  readonly capabilities: readonly string[]
}

/** A network: what a `.conflist` says. */
export interface NetworkConf {
  readonly name: string
  /** May be empty, which means 0.1.0. */
  readonly cniVersion: string
  /** CHECK succeeds without asking. */
  readonly disableCheck: boolean
  /** GC does nothing. */
  readonly disableGC: boolean
  readonly plugins: readonly PluginConf[]
  /** The list's text, which the cache keeps. Plugins that came from files of their own are not in it. */
  readonly text: string
}

/** As Go has it: unlike Node's, also of a name that is nothing else. */
export const extensionOf = (name: string): string => /\.[^./]*$/.exec(name)?.[0] ?? ''

/** The names that have one of these extensions, in the order of Go's sort.Strings: by bytes. */
const selectNames = (names: readonly string[], extensions: readonly string[]): string[] =>
  names
    .filter((name) => extensions.includes(extensionOf(name)))
    .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))

/**
 * Of the names of files in a directory those that container runtimes read as networks, in the order in which they take
 * them: most take the first. containerd (go-cni) and CRI-O have the same extensions.
 */
export const confNames = (names: readonly string[]): string[] =>
  selectNames(names, ['.conf', '.conflist', '.json'])

const typeName = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value

const listError = (what: string): CniError => invalidConfig(`error parsing configuration list: ${what}`)

const parseObject = (text: string, what: string): JsonObject => {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw invalidConfig(`error parsing ${what}: ${(error as Error).message}`)
  }
  if (!isObject(json)) throw invalidConfig(`error parsing ${what}: expected object, got ${typeName(json)}`)
  return json as JsonObject
}

const toPlugin = (json: unknown): PluginConf => {
  if (!isObject(json))
    throw invalidConfig(`error parsing configuration: expected object, got ${typeName(json)}`)
  const type = lookup(json, 'type') ?? ''
  if (typeof type !== 'string')
    throw invalidConfig(`error parsing configuration: type: expected string, got ${typeName(type)}`)
  if (type === '') throw invalidConfig("error parsing configuration: missing 'type'")
  const capabilities = lookup(json, 'capabilities') ?? {}
  if (!isObject(capabilities))
    throw invalidConfig(
      `error parsing configuration: capabilities: expected object, got ${typeName(capabilities)}`,
    )
  const names = Object.keys(capabilities).filter((name) => {
    const value = capabilities[name]
    if (typeof value !== 'boolean' && value !== null)
      throw invalidConfig(
        `error parsing configuration: capabilities.${name}: expected boolean, got ${typeName(value)}`,
      )
    return value === true
  })
  return { type, conf: json as JsonObject, capabilities: names }
}

/** The newest version that is spoken here, of `cniVersions` and `cniVersion`. */
const chooseVersion = (list: JsonObject): string => {
  const { cniVersion = '', cniVersions } = list
  if (typeof cniVersion !== 'string') throw listError(`invalid cniVersion type ${typeName(cniVersion)}`)
  if (cniVersions === undefined) return cniVersion
  if (!Array.isArray(cniVersions)) throw listError(`invalid type for cniVersions: ${typeName(cniVersions)}`)
  const candidates = cniVersions.map((version: unknown, i) => {
    if (typeof version !== 'string')
      throw listError(`invalid type for cniVersions index ${i}: ${typeName(version)}`)
    return version
  })
  if (cniVersion !== '') candidates.push(cniVersion)
  const usable = candidates.filter((version) => {
    try {
      return compareVersions(version, currentVersion) <= 0
    } catch (error) {
      throw listError(`invalid cniVersions entry ${version}: ${(error as Error).message}`)
    }
  })
  return usable.sort(compareVersions).at(-1) ?? cniVersion
}

/** A switch that may be written as a text. */
const readSwitch = (list: JsonObject, key: string): boolean => {
  const value = list[key] ?? false
  if (typeof value === 'boolean') return value
  if (typeof value !== 'string') throw listError(`invalid type ${typeName(value)} for ${key}`)
  if (/^(?:true|false)$/i.test(value)) return value.toLowerCase() === 'true'
  throw listError(`invalid value ${goString(value)} for ${key}`)
}

/** What is in a list, and whether files may add plugins to it. */
const parseList = (text: string): NetworkConf & { readonly inlineOnly: boolean } => {
  const list = parseObject(text, 'configuration list')
  const { name, plugins } = list
  if (name === undefined) throw listError('no name')
  if (typeof name !== 'string') throw listError(`invalid name type ${typeName(name)}`)
  checkNetworkName(name)
  const inlineOnly = readSwitch(list, 'loadOnlyInlinedPlugins')
  if (plugins === undefined && inlineOnly)
    throw listError("`loadOnlyInlinedPlugins` is true, and no 'plugins' key")
  if (plugins !== undefined && !Array.isArray(plugins))
    throw listError(`invalid 'plugins' type ${typeName(plugins)}`)
  if (plugins?.length === 0) throw listError('no plugins in list')
  return {
    name,
    cniVersion: chooseVersion(list),
    disableCheck: readSwitch(list, 'disableCheck'),
    disableGC: readSwitch(list, 'disableGC'),
    inlineOnly,
    plugins: (plugins ?? []).map((plugin: unknown, i: number) => {
      try {
        return toPlugin(plugin)
      } catch (error) {
        throw invalidConfig(`failed to parse plugin config ${i}: ${(error as CniError).msg}`)
      }
    }),
    text,
  }
}

const noPlugins = (where: string): CniError => invalidConfig('no plugin configs found', where)

/** Reads a list with its plugins inline. @throws CniError code 7 */
export const parseConfList = (text: string): NetworkConf => {
  const { inlineOnly: _, ...network } = parseList(text)
  if (network.plugins.length === 0) throw noPlugins('there is no key plugins')
  return network
}

/** Reads the configuration of a single plugin (`.conf`, deprecated) as a list of one. @throws CniError code 7 */
export const parseSingleConf = (text: string): NetworkConf => {
  const json = parseObject(text, 'configuration')
  const plugin = toPlugin(json)
  const name = lookup(json, 'name') ?? ''
  const cniVersion = lookup(json, 'cniVersion') ?? ''
  if (typeof name !== 'string' || typeof cniVersion !== 'string')
    throw invalidConfig('error parsing configuration: expected strings in name and cniVersion')
  checkNetworkName(name)
  return {
    name,
    cniVersion,
    disableCheck: false,
    disableGC: false,
    plugins: [plugin],
    text: printJson({ cniVersion, name, plugins: [sortKeys(json)] }, 0),
  }
}

const read = (file: string): string => {
  try {
    return readText(file)
  } catch (error) {
    throw new CniError({
      code: codes.io,
      msg: `error reading ${file}: ${(error as Error).message}`,
      cause: error,
    })
  }
}

/** Files of a directory by their extension, sorted by name; none where there is no directory. */
const filesOf = (directory: string, extensions: readonly string[]): string[] => {
  let entries: Dirent[]
  try {
    entries = readdirSync(directory, { withFileTypes: true })
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw new CniError({
      code: codes.io,
      msg: `error reading ${directory}: ${(error as Error).message}`,
      cause: error,
    })
  }
  const names = entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name)
  return selectNames(names, extensions).map((name) => join(directory, name))
}

/**
 * Loads a network from a file. A list takes in, after its own, the plugins in `NAME/*.conf` beside it, unless it says
 * `loadOnlyInlinedPlugins`; a file without `plugins` but with a `type` is a single plugin's.
 * @throws CniError code 7; code 5 where a file can't be read
 */
export const loadConfFile = (file: string): NetworkConf => {
  const text = read(file)
  if (extensionOf(file) !== '.conflist') {
    const json = parseObject(text, 'configuration')
    if (json.plugins === undefined && lookup(json, 'type') !== undefined) return parseSingleConf(text)
  }
  const { inlineOnly, ...network } = parseList(text)
  const directory = join(dirname(file), network.name)
  const extra = inlineOnly
    ? []
    : filesOf(directory, ['.conf']).map((path) => toPlugin(parseObject(read(path), 'configuration')))
  const plugins = [...network.plugins, ...extra]
  if (plugins.length === 0) throw noPlugins(`neither in ${basename(file)} nor in ${directory}`)
  return { ...network, plugins }
}

/**
 * Finds a network by its name in a directory: lists first, then single configurations, each sorted by file name. A
 * file that can't be parsed is passed over if another has the network.
 * @throws CniError code 7 where there is none, or the error of a file that could have been it
 */
export const findNetwork = (directory: string, name: string): NetworkConf => {
  let broken: unknown
  let seen = 0
  for (const extensions of [['.conflist'], ['.conf', '.json']])
    for (const file of filesOf(directory, extensions)) {
      seen++
      try {
        const network = loadConfFile(file)
        if (network.name === name) return network
      } catch (error) {
        broken ??= error
      }
    }
  if (broken) throw broken
  throw invalidConfig(
    seen === 0
      ? `no net configurations found in ${directory}`
      : `no net configuration with name ${goString(name)} in ${directory}`,
  )
}
