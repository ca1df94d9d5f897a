/** Reading every reservation of a network: what the Go plugin does each time, and what the index saves us. */
import { type Dirent, lstatSync, opendirSync, readdirSync, type Stats, statSync, unlinkSync } from 'node:fs'
import type { Logger } from '../../cni/plugin.ts'
import { Breather, hasCode, ioError, isGone, readText } from '../files.ts'
import { isAddress, isOwned, NEW, type Owner } from './names.ts'

export interface Scan {
  /** Paths below the network's directory, sorted, by who holds them. */
  readonly owners: Map<Owner, string[]>
  /** Names in the network's directory. */
  readonly names: Set<string>
  /** False where an index of it would leave something out. */
  readonly indexable: boolean
}

export interface ScanOptions {
  /** Removes left-overs of killed processes: files named after an address with nothing in them, and our own. */
  readonly reclaim: boolean
  readonly log: Logger
}

/** Bytes of a directory that is listed in parts, so that the event loop is not held up: some thousand entries. */
const LARGE = 200_000

/** The entries of a directory. @throws SystemError */
export const list = async (dir: string, { size } = statSync(dir)): Promise<readonly Dirent[]> => {
  if (size < LARGE) return readdirSync(dir, { withFileTypes: true })
  const entries: Dirent[] = []
  const breather = new Breather()
  const handle = opendirSync(dir, { bufferSize: 512 })
  try {
    for (let entry = handle.readSync(); entry; entry = handle.readSync()) {
      entries.push(entry)
      if (entries.length % 512 === 0 && breather.due) await breather.rest()
    }
  } finally {
    handle.closeSync()
  }
  return entries
}

/**
 * Reads all files of a network's directory, and of directories in it, as the Go plugin does. What can't be read is
 * left alone, as there.
 * @throws CniError code 5 where the directory itself can't be read
 */
export const scan = async (dir: string, options: ScanOptions): Promise<Scan> => {
  const walk = new Walk(options)
  let before: Stats
  let entries: readonly Dirent[]
  try {
    before = statSync(dir)
    entries = await list(dir, before)
  } catch (error) {
    throw ioError(error, dir)
  }
  const names = new Set<string>()
  for (const { name } of entries) names.add(name)
  await walk.visit(dir, '', entries)
  for (const name of walk.reclaimed) names.delete(name)
  for (const paths of walk.owners.values()) paths.sort()
  // Somebody without the lock may have come in between: next time, then.
  const untouched = statSync(dir).mtimeMs === before.mtimeMs
  return { owners: walk.owners, names, indexable: walk.indexable && untouched }
}

class Walk {
  readonly owners = new Map<Owner, string[]>()
  readonly reclaimed: string[] = []
  indexable = true
  readonly #options: ScanOptions
  readonly #breather = new Breather()

  constructor(options: ScanOptions) {
    this.#options = options
  }

  async visit(root: string, folder: string, entries: readonly Dirent[]): Promise<void> {
    for (const entry of entries) {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`
      if (entry.isDirectory()) {
        // Its files come and go without changing the date of the network's directory.
        this.indexable = false
        try {
          await this.visit(root, path, await list(`${root}/${path}`))
        } catch (error) {
          this.#options.log.warn(ioError(error, path).msg)
        }
      } else if (entry.isFile() || entry.isSymbolicLink()) this.#read(root, folder, entry.name, path)
      if (this.#breather.due) await this.#breather.rest()
    }
  }

  #read(root: string, folder: string, name: string, path: string): void {
    if (!isOwned(name)) return
    if (folder === '' && name === NEW) {
      if (this.#options.reclaim) this.#reclaim(root, name)
      return
    }
    let owner: string
    try {
      owner = readText(`${root}/${path}`).trim()
    } catch (error) {
      if (isGone(error) || hasCode(error, 'EISDIR')) return
      this.indexable = false
      this.#options.log.warn(ioError(error, path).msg)
      return
    }
    if (owner === '') {
      if (this.#options.reclaim && folder === '' && isLeftOver(root, name)) this.#reclaim(root, name)
      return
    }
    const paths = this.owners.get(owner)
    if (paths) paths.push(path)
    else this.owners.set(owner, [path])
  }

  #reclaim(root: string, name: string): void {
    try {
      unlinkSync(`${root}/${name}`)
      this.reclaimed.push(name)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) this.#options.log.warn(ioError(error, name).msg)
    }
  }
}

/**
 * Whether a name in a network's directory is a reservation without an owner: its maker was killed, or the machine lost
 * power, between creating and writing. Whoever creates one holds the lock until it is written, so to a holder of the
 * lock it is certain.
 */
export const isLeftOver = (dir: string, name: string): boolean => {
  const stats = lstatSync(`${dir}/${name}`, { throwIfNoEntry: false })
  return stats?.isFile() === true && stats.size === 0 && isAddress(name)
}
