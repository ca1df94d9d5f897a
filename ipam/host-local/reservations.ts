/** The reservations of one network, seen and changed by whoever holds its lock. */
import { linkSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import type { CniError } from '../../cni/error.ts'
import type { Logger } from '../../cni/plugin.ts'
import { hasCode, ioError, isGone, readText } from '../files.ts'
import { lastReserved, NEW, type Owner } from './names.ts'
import type { OwnerIndex } from './owner-index.ts'
import { isLeftOver, list, type Scan, scan } from './scan.ts'

/** What file systems without hard links answer to link(2). */
const NO_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']

/** Said, Node opens, writes and closes in one call; by default it is the same encoding, but three calls. */
const encoding = 'utf8'

export class Reservations {
  readonly #dir: string
  readonly #index: OwnerIndex
  readonly #log: Logger
  readonly #reclaim: boolean
  #scan: Scan | undefined

  /** @param reclaim whether left-overs of killed processes are removed when they are seen */
  constructor(dir: string, index: OwnerIndex, log: Logger, reclaim: boolean) {
    this.#dir = dir
    this.#index = index
    this.#log = log
    this.#reclaim = reclaim
  }

  /** Everything there is, as far as it has been read already. */
  get seen(): Scan | undefined {
    return this.#scan
  }

  /** Everything there is. @throws CniError code 5 */
  async scan(): Promise<Scan> {
    this.#scan ??= await scan(this.#dir, { reclaim: this.#reclaim, log: this.#log })
    return this.#scan
  }

  /** Names in the directory. @throws CniError code 5 */
  async names(): Promise<ReadonlySet<string>> {
    if (this.#scan) return this.#scan.names
    try {
      return new Set((await list(this.#dir)).map(({ name }) => name))
    } catch (error) {
      throw ioError(error, this.#dir)
    }
  }

  /** Paths, below the network's directory, of the files that an owner holds. @throws CniError code 5 */
  async heldBy(owner: Owner): Promise<readonly string[]> {
    if (!this.#scan) {
      const known = this.#index.get(owner)
      if (known?.every((path) => this.isHeldBy(path, owner))) return known
      this.#index.distrust()
    }
    return (await this.scan()).owners.get(owner) ?? []
  }

  /** Whether the file is the owner's. */
  isHeldBy(path: string, owner: Owner): boolean {
    try {
      return readText(this.#path(path)).trim() === owner
    } catch {
      // Whatever it is, it is not a reservation that can be read.
      return false
    }
  }

  /**
   * Makes a reservation.
   * @param choose calls `take` with one address after the other until it says that it got one, and returns that
   * @throws CniError code 5
   */
  async reserve<T extends { readonly address: string }>(
    owner: Owner,
    choose: (take: (address: string) => boolean) => T | null | Promise<T | null>,
  ): Promise<T | null> {
    try {
      this.#writeNew(owner)
      const chosen = await choose((address) => this.#take(address, owner))
      if (chosen) this.#added(owner, chosen.address)
      return chosen
    } catch (error) {
      throw ioError(error, this.#path(NEW))
    } finally {
      this.#dropNew()
    }
  }

  /** Removes files of an owner. @returns what went wrong */
  remove(owner: Owner, paths: readonly string[]): CniError[] {
    const errors: CniError[] = []
    for (const path of [...paths])
      try {
        this.#unlink(path)
        this.#removed(owner, path)
      } catch (error) {
        errors.push(ioError(error, path))
      }
    return errors
  }

  /** The last address reserved from a range set, as it stands there; empty where there is none. */
  last(set: number): string {
    const path = this.#path(lastReserved(set))
    try {
      return readText(path)
    } catch (error) {
      if (!isGone(error)) this.#log.warn(`Error retrieving last reserved ip: ${ioError(error, path).msg}`)
      return ''
    }
  }

  /**
   * Remembers the last address reserved from a range set.
   * @param before what {@link last} said
   * @throws CniError code 5
   */
  setLast(set: number, address: string, before: string): void {
    const path = this.#path(lastReserved(set))
    try {
      // Not truncated first: ext4 writes such a file to the disk when it is closed, which takes as long as all the
      // rest. Killed in between, the wrong address is in it, and the next search starts elsewhere.
      writeFileSync(path, address, { encoding, flag: before === '' ? 'w' : 'r+', mode: 0o600 })
      if (before.length > address.length) truncateSync(path, address.length)
    } catch (error) {
      throw ioError(error, path)
    }
  }

  /** Brings the index up to date. To be called at the end, however it ends. */
  async keepIndex(): Promise<void> {
    if (!this.#index.valid && this.#scan) await this.#index.rebuild(this.#scan.owners, this.#scan.indexable)
    else this.#index.commit()
  }

  /** Gives the new reservation its name. @throws SystemError */
  #take(address: string, owner: Owner): boolean {
    const path = this.#path(address)
    for (;;)
      try {
        linkSync(this.#path(NEW), path)
        return true
      } catch (error) {
        if (hasCode(error, 'EEXIST')) {
          if (!isLeftOver(this.#dir, address)) return false
          this.#unlink(address)
          this.#log.info(`host-local: ${address} was reserved for nobody, by a process that did not finish`)
        } else if (NO_LINKS.some((code) => hasCode(error, code))) return this.#takeWithoutLink(address, owner)
        else throw error
      }
  }

  /** As the Go plugin does it, with a moment in which the file is empty. */
  #takeWithoutLink(address: string, owner: Owner): boolean {
    try {
      this.#write(address, owner)
      return true
    } catch (error) {
      if (hasCode(error, 'EEXIST')) return false
      throw error
    }
  }

  #writeNew(owner: Owner): void {
    this.#index.touch()
    try {
      this.#write(NEW, owner)
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
      // Somebody was killed here. What is left may be a second name of a reservation, so it is not opened.
      this.#unlink(NEW)
      this.#write(NEW, owner)
    }
  }

  #dropNew(): void {
    try {
      this.#unlink(NEW)
    } catch (error) {
      // The next one tries again. No reason to refuse an address.
      this.#log.warn(ioError(error).msg)
    }
  }

  /**
   * Writes a file that is not there yet. It is not synchronised with the disk: no container outlives the power loss
   * that would empty it, and an empty one is free to whoever sees it next. fdatasync takes 0.1 ms on the quickest disks
   * and 10 ms on others, all the while under the lock.
   * @throws SystemError
   */
  #write(name: string, content: string): void {
    try {
      writeFileSync(this.#path(name), content, { encoding, flag: 'wx', mode: 0o600 })
    } catch (error) {
      // With EEXIST it is somebody else's.
      if ((error as NodeJS.ErrnoException).syscall !== 'open') this.#unlink(name)
      throw error
    }
  }

  /** Not normalised by `join`, which would take as long as the system call. */
  #path(name: string): string {
    return `${this.#dir}/${name}`
  }

  #unlink(path: string): void {
    try {
      unlinkSync(this.#path(path))
    } catch (error) {
      if (!isGone(error)) throw error
    }
  }

  #added(owner: Owner, path: string): void {
    this.#index.add(owner, path)
    if (!this.#scan) return
    const { owners, names } = this.#scan
    names.add(path)
    const paths = owners.get(owner)
    if (paths) paths.push(path)
    else owners.set(owner, [path])
  }

  #removed(owner: Owner, path: string): void {
    this.#index.remove(owner, path)
    if (!this.#scan) return
    const { owners, names } = this.#scan
    names.delete(path)
    const left = owners.get(owner)?.filter((other) => other !== path) ?? []
    if (left.length > 0) owners.set(owner, left)
    else owners.delete(owner)
  }
}
