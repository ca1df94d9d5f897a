/**
 * What an interface and its namespace were like, kept in a file from before the first change until DEL: in the Go
 * plugin's format, which either plugin reads, and one key more.
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  unlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod/mini'
import { parseConf } from '../../cni/schema.ts'
import type { AttachmentId } from '../../cni/types.ts'
import { writeWhole } from '../../cni/whole-file.ts'
import { hasCode, ioError, isGone, makeDirectory } from '../../ipam/files.ts'
import { parseMac } from '../../netlink/index.ts'
import type { LinkSettings } from './link-settings.ts'
import { isSysctlPath } from './sysctl-names.ts'
import type { Originals } from './sysctls.ts'

const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = constants

const fileSchema = z.object({
  mac: z.optional(z.string().check(z.refine((value) => value === '' || parseMac(value) !== null))),
  promisc: z.optional(z.boolean()),
  mtu: z.optional(z.int().check(z.gte(0), z.lte(0x7fff_ffff))),
  allmulti: z.optional(z.boolean()),
  txQLen: z.optional(z.int().check(z.gte(0), z.lte(0xffff_ffff))),
  /** Go passes it over. */
  linkwright: z.optional(
    z.object({
      network: z.string(),
      containerId: z.string(),
      ifName: z.string(),
      netns: z.string(),
      sysctl: z.record(z.string().check(z.refine(isSysctlPath)), z.string()),
    }),
  ),
})

/** Whose a backup is. Those of the Go plugin do not say. */
export interface Owner extends AttachmentId {
  readonly network: string
  /** Device and inode of the container's namespace: another one has an interface of its own. */
  readonly netns: string
}

/** Original values. */
export interface Backup {
  readonly link: LinkSettings
  readonly sysctls: Originals
  /** Null for one that the Go plugin has made. */
  readonly owner: Owner | null
}

/** The name of an attachment's file. Several can have the same: both parts may have underscores. */
export const fileName = ({ containerId, ifName }: AttachmentId): string => `${containerId}_${ifName}.json`

/** Whether a backup is of this attachment, as far as it says. */
export const belongsTo = ({ owner }: Backup, { containerId, ifName }: AttachmentId): boolean =>
  !owner || (owner.containerId === containerId && owner.ifName === ifName)

/** Those of an object that are there. */
const defined = <T extends object>(values: T): Partial<T> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>

/** What is to be kept: what an earlier ADD found was the original. */
export const merge = (earlier: Backup | null, found: Backup): Backup =>
  earlier
    ? {
        link: { ...found.link, ...defined(earlier.link) },
        // The order is that of the writing.
        sysctls: { ...earlier.sysctls, ...found.sysctls, ...earlier.sysctls },
        owner: found.owner,
      }
    : found

/** Bytes. Larger ones are nobody's backup. */
const LARGEST = 1 << 20
/** Milliseconds after which a half-written file has no writer any more. */
const STALE = 60_000

const print = ({ link: { mac, promisc, mtu, allmulti, txQLen }, sysctls, owner }: Backup): string =>
  JSON.stringify(
    { mac, promisc, mtu, allmulti, txQLen, linkwright: owner ? { ...owner, sysctl: sysctls } : undefined },
    null,
    1,
  )

/** Null for what is no backup. */
const parse = (text: string): Backup | null => {
  try {
    const { linkwright, mac, mtu, ...more } = parseConf(fileSchema, JSON.parse(text), 'backup')
    const { sysctl: sysctls = {}, ...owner } = linkwright ?? {}
    return {
      link: { ...more, mac: mac || undefined, mtu: mtu || undefined },
      sysctls,
      owner: linkwright ? (owner as Owner) : null,
    }
  } catch {
    return null
  }
}

/** The text of a plain file; null for anything else, which is not to be followed, waited for, or read without end. */
const readPlain = (path: string): string | null => {
  const file = openSync(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW)
  try {
    const facts = fstatSync(file)
    return facts.isFile() && facts.size <= LARGEST ? readFileSync(file, 'utf8') : null
  } finally {
    closeSync(file)
  }
}

/** No file has that name, or can have it. */
const isAbsent = (error: unknown): boolean => isGone(error) || hasCode(error, 'ENAMETOOLONG')

/** A folder of backups. */
export class Backups {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Of an attachment. */
  path(id: AttachmentId): string {
    return join(this.#folder, fileName(id))
  }

  /** Undefined where there is none, null where what is there is no backup. @throws CniError code 5 */
  read(id: AttachmentId): Backup | null | undefined {
    return this.#read(this.path(id))
  }

  #read(path: string): Backup | null | undefined {
    try {
      const text = readPlain(path)
      return text === null ? null : parse(text)
    } catch (error) {
      if (isAbsent(error)) return undefined
      // What O_NOFOLLOW says of a link, and open(2) of a socket or a device that is not there.
      if (hasCode(error, 'ELOOP') || hasCode(error, 'ENXIO')) return null
      throw ioError(error, path)
    }
  }

  /** It appears complete, or not at all. @throws CniError code 5 */
  write(id: AttachmentId, backup: Backup): void {
    const path = this.path(id)
    const text = print(backup)
    try {
      makeDirectory(this.#folder, 0o700)
      writeWhole(path, `${path}.new`, text)
    } catch (error) {
      throw ioError(error, path, 'nothing is changed before its original value is kept')
    }
  }

  /** Safe to repeat. @throws CniError code 5 */
  remove(id: AttachmentId): void {
    this.#remove(this.path(id))
    this.#remove(`${this.path(id)}.new`)
  }

  #remove(path: string): void {
    try {
      unlinkSync(path)
    } catch (error) {
      if (!isAbsent(error)) throw ioError(error, path)
    }
  }

  #names(): string[] {
    try {
      return readdirSync(this.#folder)
    } catch (error) {
      if (isGone(error)) return []
      throw ioError(error, this.#folder)
    }
  }

  /**
   * Files that no attachment needs: backups of the network whose attachment is not in the list, and what was half written
   * by a process that was killed. One that does not say whose it is stays: it may be of a network that is not asked about.
   * @param now milliseconds since the epoch
   */
  *stale(network: string, valid: readonly AttachmentId[], now: number): Generator<() => void> {
    const kept = new Set(valid.map(fileName))
    for (const name of this.#names()) {
      const [, base = ''] = /^(.+_.+\.json)(?:\.new)?$/.exec(name) ?? []
      if (base === '' || kept.has(base)) continue
      const path = join(this.#folder, name)
      if (name === base) {
        const owner = this.#read(path)?.owner
        if (owner && owner.network === network && fileName(owner) === name) yield () => this.#remove(path)
      } else {
        const facts = statSync(path, { throwIfNoEntry: false })
        if (facts && now - facts.mtimeMs > STALE) yield () => this.#remove(path)
      }
    }
  }
}
