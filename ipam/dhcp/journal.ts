/**
 * The leases of a keeper on disk: a file each, complete or not there, so that a keeper that was killed at any moment
 * finds all that containers use. The folder is below /run: namespaces do not outlive the machine's running.
 */
import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readdirSync, renameSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod/mini'
import { CniError, codes } from '../../cni/error.ts'
import type { AttachmentId } from '../../cni/types.ts'
import { ioError, isGone, makeDirectory, readText } from '../files.ts'
import { settings } from './settings.ts'
import { lease4 } from './v4/lease.ts'
import { linkFacts } from './v6/grant.ts'
import { lease6 } from './v6/lease.ts'

const common = {
  /** Of the file; another one is not read. */
  format: z.literal(1),
  /** Which running of the machine: times and namespaces of another one mean nothing. */
  boot: z.string(),
  network: z.string(),
  containerId: z.string(),
  ifName: z.string(),
  /** CNI_NETNS. */
  netns: z.string(),
  /** Device and inode of the namespace: another one may be under its path by now. */
  netnsId: z.string(),
  /** Of the interface in it. */
  index: z.int(),
  mac: z.string(),
  settings,
  /** False until an address was granted for the first time: nobody uses it yet. */
  used: z.boolean(),
}

/**
 * `lease` null: none at the moment. `offer`: about to be accepted. `applied`: whose address and routes the interface
 * has, for as long as those are not the lease's; absent: the lease's.
 */
const leases = <S extends z.core.$ZodType>(lease: S) => ({
  lease: z.nullable(lease),
  offer: z.nullable(lease),
  applied: z.optional(z.nullable(lease)),
})
const record4 = z.object({ ...common, version: z.literal(4), ...leases(lease4) })
const record6 = z.object({ ...common, version: z.literal(6), ...leases(lease6), facts: linkFacts })
const record = z.discriminatedUnion('version', [record4, record6])

type Known<R> = R extends unknown ? Omit<R, 'format' | 'boot'> : never
/** One lease, as the journal knows it. */
export type Entry = Known<z.infer<typeof record>>

/** The kernel's name for the time since it started; random(4). */
const BOOT_ID = '/proc/sys/kernel/random/boot_id'

/** Which entry: an attachment may have one for each protocol. */
export interface EntryId extends AttachmentId {
  readonly network: string
  readonly version: 4 | 6
}

const fileName = ({ network, containerId, ifName, version }: EntryId): string =>
  `${createHash('sha256')
    .update([network, containerId, ifName, version].join('\0'))
    .digest('hex')
    .slice(0, 40)}.json`

export class Journal {
  readonly folder: string
  readonly #boot = readText(BOOT_ID).trim()

  constructor(folder: string) {
    this.folder = folder
  }

  /** @throws CniError code 5 */
  write(entry: Entry): void {
    const path = join(this.folder, fileName(entry))
    const draft = `${path}.new`
    try {
      makeDirectory(this.folder, 0o700)
      const file = openSync(draft, 'w', 0o600)
      try {
        const bytes = Buffer.from(JSON.stringify({ format: 1, boot: this.#boot, ...entry }))
        for (let rest = bytes; rest.length > 0; ) rest = rest.subarray(writeSync(file, rest))
        fsyncSync(file)
      } finally {
        closeSync(file)
      }
      renameSync(draft, path)
      this.#sync()
    } catch (error) {
      this.#discard(draft)
      throw ioError(error, path)
    }
  }

  /** Safe to repeat. @throws CniError code 5 */
  remove(id: EntryId): void {
    const path = join(this.folder, fileName(id))
    try {
      rmSync(path, { force: true })
      rmSync(`${path}.new`, { force: true })
    } catch (error) {
      throw ioError(error, path)
    }
  }

  #names(): string[] {
    try {
      return readdirSync(this.folder)
    } catch (error) {
      if (isGone(error)) return []
      throw ioError(error, this.folder)
    }
  }

  /** Removes what a killed program left half written. Only for who writes alone. @throws CniError code 5 */
  tidy(): void {
    for (const name of this.#names())
      if (/^[0-9a-f]{40}\.json\.new$/.test(name)) rmSync(join(this.folder, name), { force: true })
  }

  /**
   * All that make sense.
   * @param unreadable is told of the others
   * @throws CniError code 5
   */
  list(unreadable: (why: CniError) => void = () => {}): Entry[] {
    return this.#names()
      .filter((name) => /^[0-9a-f]{40}\.json$/.test(name))
      .map((name) => {
        try {
          return this.#parse(join(this.folder, name))
        } catch (error) {
          unreadable(CniError.from(error))
          return null
        }
      })
      .filter((one) => one !== null)
  }

  /** What could not be written whole. That it could not is the error to tell. */
  #discard(draft: string): void {
    try {
      rmSync(draft, { force: true })
    } catch {
      // It is something else than a file of ours.
    }
  }

  /** Null where there is none of this running of the machine. @throws CniError code 5, 6 */
  #parse(path: string): Entry | null {
    let text: string
    try {
      text = readText(path)
    } catch (error) {
      if (isGone(error)) return null
      throw ioError(error, path)
    }
    try {
      const { boot, format: _format, ...entry } = z.parse(record, JSON.parse(text))
      return boot === this.#boot ? entry : null
    } catch (error) {
      throw new CniError({ code: codes.decoding, msg: `${path} is no lease`, cause: error })
    }
  }

  /** The folder's own entries reach the disk. */
  #sync(): void {
    const folder = openSync(this.folder, 'r')
    try {
      fsyncSync(folder)
    } finally {
      closeSync(folder)
    }
  }
}
