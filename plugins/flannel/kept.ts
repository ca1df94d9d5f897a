/**
 * The configurations that attachments were made with: DEL goes by them, whatever flanneld has written since.
 *
 *     <dataDir>/<containerId>                                   as the Go plugin keeps it: of the container's last one
 *     <dataDir>/.attachments/<containerId>/<network>:<ifName>   of each attachment
 *
 * Neither part of a name holds a colon or begins with a dot.
 */
import { accessSync, constants, existsSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { isObject, lookup } from '../../cni/fold.ts'
import { printJson } from '../../cni/json.ts'
import type { AttachmentId, JsonObject } from '../../cni/types.ts'
import { writeWhole } from '../../cni/whole-file.ts'
import { hasCode, ioError, isGone, makeDirectory, readText } from '../../ipam/files.ts'

/** A kept configuration. Its `type` is a text. */
export type Kept = JsonObject & { readonly type: string }

/** An attachment of a network, and what it was made with; `ifName` is null where the Go plugin kept it. */
export interface KeptEntry {
  readonly containerId: string
  readonly ifName: string | null
  readonly conf: Kept
}

/** What the two files hold; null: there is no such file. */
export interface Texts {
  readonly own: string | null
  readonly shared: string | null
}

/** A configuration as both files hold it. */
export const textsOf = (conf: JsonObject): Texts => {
  const text = printJson(conf, 0)
  return { own: text, shared: text }
}

const tolerating = <T>(codes: readonly string[], action: () => T): T | undefined => {
  try {
    return action()
  } catch (error) {
    if (codes.some((code) => hasCode(error, code))) return undefined
    throw ioError(error)
  }
}

const GONE = ['ENOENT', 'ENOTDIR']

/** The names in a folder; none where there is no such folder. */
const namesIn = (folder: string): string[] => tolerating(GONE, () => readdirSync(folder)) ?? []

const textOf = (path: string): string | null => tolerating([...GONE, 'EISDIR'], () => readText(path)) ?? null

/** Null for what nobody can take anything away by; flannel would look here again, for ever. */
const parse = (text: string | null): Kept | null => {
  if (text === null) return null
  try {
    const conf: unknown = JSON.parse(text)
    const type = isObject(conf) ? conf.type : undefined
    return typeof type === 'string' && type !== '' && type !== 'flannel' ? (conf as Kept) : null
  } catch {
    return null
  }
}

/** The configurations of one network in one folder. */
export class KeptConfs {
  readonly #dataDir: string
  readonly #network: string

  constructor(dataDir: string, network: string) {
    this.#dataDir = dataDir
    this.#network = network
  }

  #shared(containerId: string): string {
    return join(this.#dataDir, containerId)
  }
  #folder(containerId: string): string {
    return join(this.#dataDir, '.attachments', containerId)
  }
  #own({ containerId, ifName }: AttachmentId): string {
    return join(this.#folder(containerId), `${this.#network}:${ifName}`)
  }

  /** Whether a configuration of the Go plugin's file is of this network. It wrote no name before 0.3.0 of the spec. */
  #isOurs(conf: Kept): boolean {
    return (lookup(conf, 'name') ?? this.#network) === this.#network
  }

  /** Where an attachment's files are written before they appear: who is killed meanwhile leaves it to the next DEL. */
  #draft({ containerId, ifName }: AttachmentId): string {
    return join(this.#folder(containerId), `.${this.#network}:${ifName}`)
  }

  /** Appears complete, or not at all. */
  #write(path: string, text: string, id: AttachmentId): void {
    try {
      writeWhole(path, this.#draft(id), text)
    } catch (error) {
      throw ioError(error)
    }
  }

  /** Both files of an attachment, for {@link put}. @throws CniError code 5 */
  get(id: AttachmentId): Texts {
    return { own: textOf(this.#own(id)), shared: textOf(this.#shared(id.containerId)) }
  }

  /** Makes the files of an attachment what they were, or are to be. @throws CniError code 5 */
  put(id: AttachmentId, { own, shared }: Texts): void {
    const { containerId } = id
    if (own !== null || shared !== null) tolerating([], () => makeDirectory(this.#folder(containerId), 0o700))
    const files = [
      [this.#own(id), own],
      [this.#shared(containerId), shared],
    ] as const
    for (const [path, text] of files)
      if (text === null) tolerating(GONE, () => unlinkSync(path))
      else this.#write(path, text, id)
    if (own === null) this.#others(containerId)
  }

  /** @throws CniError code 5 where nothing could be kept */
  checkWritable(): void {
    let place = this.#dataDir
    while (!existsSync(place) && dirname(place) !== place) place = dirname(place)
    try {
      // With the dot, to find out as well whether it is a directory.
      accessSync(`${place}/.`, constants.W_OK | constants.X_OK)
    } catch (error) {
      throw ioError(error, place)
    }
  }

  /** What an attachment was made with; null where nothing is kept, or nothing that can be read. @throws CniError code 5 */
  find(id: AttachmentId): Kept | null {
    const own = parse(textOf(this.#own(id)))
    if (own) return own
    const shared = parse(textOf(this.#shared(id.containerId)))
    return shared && this.#isOurs(shared) ? shared : null
  }

  /** Forgets an attachment. What is gone already is no error. @throws CniError code 5 */
  forget(id: AttachmentId): void {
    const { containerId } = id
    const own = textOf(this.#own(id))
    const shared = textOf(this.#shared(containerId))
    if (own !== null) tolerating(GONE, () => unlinkSync(this.#own(id)))
    tolerating(GONE, () => unlinkSync(this.#draft(id)))
    const left = this.#others(containerId)
    if (shared === null || !this.#mayGo(shared, own, left.length > 0)) return
    // Another attachment of the container was overwritten here; the Go plugin would look for it.
    const other = left[0] && textOf(join(this.#folder(containerId), left[0]))
    if (typeof other === 'string') this.#write(this.#shared(containerId), other, id)
    else tolerating(GONE, () => unlinkSync(this.#shared(containerId)))
  }

  /** Whether the Go plugin's file is that of an attachment that goes, whose own is `own`. */
  #mayGo(shared: string, own: string | null, hasOthers: boolean): boolean {
    if (own !== null) return shared === own
    const conf = parse(shared)
    // What can't be read helps nobody. Where others have files of their own, it is one of theirs.
    return !conf || (this.#isOurs(conf) && !hasOthers)
  }

  /** Files of a container's other attachments; where there are none, the folder goes. */
  #others(containerId: string): string[] {
    const folder = this.#folder(containerId)
    const removed = tolerating(['ENOTEMPTY', 'EEXIST'], () => {
      try {
        rmdirSync(folder)
      } catch (error) {
        if (!isGone(error)) throw error
      }
      return true
    })
    return removed ? [] : namesIn(folder).filter((name) => !name.startsWith('.'))
  }

  /** Everything that is kept of the network. @throws CniError code 5 */
  list(): KeptEntry[] {
    const entries: KeptEntry[] = []
    for (const containerId of namesIn(join(this.#dataDir, '.attachments')))
      for (const name of namesIn(this.#folder(containerId))) {
        const ifName = name.startsWith(`${this.#network}:`) ? name.slice(this.#network.length + 1) : ''
        const conf = ifName === '' ? null : parse(textOf(this.#own({ containerId, ifName })))
        if (conf) entries.push({ containerId, ifName, conf })
      }
    for (const containerId of namesIn(this.#dataDir)) {
      const conf = containerId.startsWith('.') ? null : parse(textOf(this.#shared(containerId)))
      if (conf && lookup(conf, 'name') === this.#network) entries.push({ containerId, ifName: null, conf })
    }
    return entries
  }

  /** Forgets a container's file that the Go plugin kept. @throws CniError code 5 */
  forgetShared(containerId: string): void {
    tolerating(GONE, () => unlinkSync(this.#shared(containerId)))
  }
}
