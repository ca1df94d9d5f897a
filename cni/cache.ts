/**
 * What libcni keeps of each attachment, in libcni's files, so that either may finish what the other began:
 * `<cacheDir>/results/<network>-<containerId>-<ifName>`.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, statSync, unlinkSync } from 'node:fs'
import { basename, join } from 'node:path'
import { isErrno } from '../netlink/error.ts'
import { isObject } from './fold.ts'
import { printJson, sortKeys } from './json.ts'
import { readText } from './read-text.ts'
import { parseOwnResult } from './result.ts'
import type { AttachmentId, JsonObject, Result } from './types.ts'
import { writeWhole } from './whole-file.ts'

/** Where libcni keeps its cache unless told otherwise. */
export const defaultCacheDir = '/var/lib/cni'

const KIND = 'cniCacheV1'
const DRAFT_PREFIX = '.linkwright-'
/** Bytes of a file's name, linux/limits.h. */
const NAME_MAX = 255
/** More than any attachment needs: a configuration, which is most of it, has 1 MiB at most. */
const MAX_BYTES = 4 << 20

/** An attachment within a named network. */
export interface CacheKey extends AttachmentId {
  readonly network: string
}

/** One cached attachment. */
export interface CacheEntry extends CacheKey {
  /** The text of the list. */
  readonly config: string
  readonly netnsPath: string
  /** CNI_ARGS: `K=V;K2=V2`. */
  readonly args: string
  readonly capabilityArgs: JsonObject
  /** The result of the last plugin, in the configuration's version. */
  readonly result: JsonObject | null
}

/** A file of the cache that stands for an attachment, but does not tell which. */
export interface UnreadableEntry {
  readonly path: string
  /** In words, without what is in it. */
  readonly why: string
}

/** What there is in a cache. */
export interface CacheListing {
  readonly entries: readonly CacheEntry[]
  readonly unreadable: readonly UnreadableEntry[]
}

/** Names are validated before they come here: none holds a slash. */
const nameOf = ({ network, containerId, ifName }: CacheKey): string => `${network}-${containerId}-${ifName}`
const fileOf = (cacheDir: string, key: CacheKey): string => join(cacheDir, 'results', nameOf(key))
/**
 * Where an entry is written before it appears. Not among the results: libcni takes every file there for an attachment.
 * A name that the next ADD or DEL of the attachment knows: who is killed in between leaves it.
 */
const draftOf = (cacheDir: string, key: CacheKey): string => {
  const name = nameOf(key)
  // Whatever can be a file's name among the results has a draft.
  const fits = Buffer.byteLength(DRAFT_PREFIX + name) <= NAME_MAX
  return join(cacheDir, DRAFT_PREFIX + (fits ? name : createHash('sha256').update(name).digest('hex')))
}

const toPairs = (args: string): [string, string][] =>
  args
    .split(';')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const [key = '', ...value] = pair.split('=')
      return [key, value.join('=')]
    })

const isEmpty = (json: JsonObject): boolean => Object.keys(json).length === 0

/** As libcni prints it, byte for byte. */
export const printCacheEntry = (entry: CacheEntry): string => {
  const { containerId, config, ifName, network, netnsPath, args, capabilityArgs, result } = entry
  return printJson(
    {
      kind: KIND,
      containerId,
      config: Buffer.from(config).toString('base64'),
      ifName,
      networkName: network,
      netns: netnsPath || undefined,
      cniArgs: args === '' ? undefined : toPairs(args),
      capabilityArgs: isEmpty(capabilityArgs) ? undefined : sortKeys(capabilityArgs),
      result: result === null || isEmpty(result) ? undefined : sortKeys(result),
    },
    0,
  )
}

/** Keeps an attachment; the file is never seen half written. @throws Error where it can't be written */
export const writeCache = (cacheDir: string, entry: CacheEntry): void => {
  const text = printCacheEntry(entry)
  const write = (): void => writeWhole(fileOf(cacheDir, entry), draftOf(cacheDir, entry), text)
  try {
    write()
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
    mkdirSync(join(cacheDir, 'results'), { recursive: true, mode: 0o700 })
    write()
  }
}

/** Forgets an attachment. What is not there is no error, nor is what can't be removed: as libcni has it. */
export const removeCache = (cacheDir: string, key: CacheKey): void => {
  for (const file of [fileOf(cacheDir, key), draftOf(cacheDir, key)])
    try {
      unlinkSync(file)
    } catch {
      // The next ADD of the same attachment writes over it.
    }
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

const parseEntry = (text: string): CacheEntry | null => {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return null
  }
  if (!isObject(json) || json.kind !== KIND) return null
  const args = Array.isArray(json.cniArgs) ? json.cniArgs : []
  return {
    containerId: textOf(json.containerId),
    ifName: textOf(json.ifName),
    network: textOf(json.networkName),
    config: Buffer.from(textOf(json.config), 'base64').toString(),
    netnsPath: textOf(json.netns),
    args: args
      .filter((pair: unknown): pair is unknown[] => Array.isArray(pair))
      .map(([key, value]) => `${textOf(key)}=${textOf(value)}`)
      .join(';'),
    capabilityArgs: isObject(json.capabilityArgs) ? (json.capabilityArgs as JsonObject) : {},
    result: isObject(json.result) ? (json.result as JsonObject) : null,
  }
}

/**
 * The cached result of an attachment; null where there is none. A file of another kind is read as a bare result, which
 * is what old versions of libcni wrote.
 * @throws CniError code 7 where it is none
 */
export const readCachedResult = (cacheDir: string, key: CacheKey): Result | null => {
  let text: string
  try {
    text = readText(fileOf(cacheDir, key))
  } catch {
    return null
  }
  const entry = parseEntry(text)
  if (entry) {
    // Names with hyphens can share a file; the other's result must not pass for ours.
    const ours =
      entry.network === key.network && entry.containerId === key.containerId && entry.ifName === key.ifName
    return ours && entry.result ? parseOwnResult(entry.result, '0.1.0') : null
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    json = undefined
  }
  return parseOwnResult(json, '0.1.0')
}

const namesNobody = 'it does not say which attachment it is of'

/** What is in a file of the cache; words where that is no attachment; null where the file has gone meanwhile. */
const readEntry = (path: string): CacheEntry | string | null => {
  let text: string
  try {
    const stat = statSync(path)
    if (!stat.isFile()) return 'it is no file'
    if (stat.size > MAX_BYTES) return `it has more than ${MAX_BYTES} bytes`
    text = readText(path)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null
    return error instanceof Error && 'code' in error ? `it can't be read (${error.code})` : String(error)
  }
  const entry = parseEntry(text)
  if (entry) return [entry.network, entry.containerId, entry.ifName].includes('') ? namesNobody : entry
  try {
    JSON.parse(text)
  } catch {
    return 'it holds no JSON'
  }
  return `${namesNobody}, as those of old releases of libcni`
}

/**
 * Everything in the cache, in the order of the files' names. Where there is none there is nothing in it.
 * @throws SystemError where the directory can't be read
 */
export const listCache = (cacheDir: string): CacheListing => {
  const directory = join(cacheDir, 'results')
  const entries: CacheEntry[] = []
  const unreadable: UnreadableEntry[] = []
  let names: string[]
  try {
    names = readdirSync(directory).sort()
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return { entries, unreadable }
    throw error
  }
  for (const name of names) {
    const path = join(directory, name)
    const entry = readEntry(path)
    if (typeof entry === 'string') unreadable.push({ path, why: entry })
    else if (entry) entries.push(entry)
  }
  return { entries, unreadable }
}

/** Whether a file that can't be read may, by its name, be of an attachment to the network. */
export const mayBeOf = (network: string, { path }: UnreadableEntry): boolean =>
  basename(path).startsWith(`${network}-`)
