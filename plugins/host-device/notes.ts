/**
 * What a device was like on the host, kept in a file from before it is moved until it is back: the alias has room for
 * its name only, and the container can change that. Where a note is missing (the Go plugin writes none) the alias has
 * to do.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import * as z from 'zod/mini'
import type { AttachmentId } from '../../cni/types.ts'
import { writeWhole } from '../../cni/whole-file.ts'
import { isErrno, isLinkName, type Link } from '../../netlink/index.ts'

const note = z.object({
  network: z.string(),
  containerId: z.string(),
  ifName: z.string(),
  /** CNI_NETNS. */
  netns: z.string(),
  device: z.object({
    name: z.string().check(z.refine(isLinkName)),
    alias: z.string(),
    up: z.boolean(),
    mac: z.string(),
    mtu: z.int(),
    /** IFLA_INFO_KIND; absent for hardware. */
    kind: z.optional(z.string()),
    /** What a container can not change. */
    permanentAddress: z.optional(z.string()),
    parent: z.optional(z.string()),
    bus: z.optional(z.string()),
  }),
})

export type Note = z.infer<typeof note>

/** The note of a device that is to be moved. */
export const noteOf = (network: string, id: AttachmentId, netns: string, found: Link): Note => ({
  network,
  containerId: id.containerId,
  ifName: id.ifName,
  netns,
  device: {
    name: found.name,
    alias: found.alias ?? '',
    up: found.up,
    mac: found.address,
    mtu: found.mtu,
    kind: found.kind,
    permanentAddress: found.permanentAddress,
    parent: found.parentDevice,
    bus: found.parentBus,
  },
})

const fileName = (network: string, { containerId, ifName }: AttachmentId): string =>
  `${createHash('sha256').update([network, containerId, ifName].join('\0')).digest('hex').slice(0, 40)}.json`

/** An error that says what was being done: a system call's name alone tells nobody anything. */
const failed = (what: string, error: unknown): Error =>
  new Error(`${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })

/** With the folders above it. Node's own way gives the error of another call than the one that failed. */
const makeFolder = (path: string): void => {
  const make = (): void => {
    mkdirSync(path, { mode: 0o700 })
  }
  try {
    try {
      make()
    } catch (error) {
      if (!isErrno(error, 'ENOENT') || dirname(path) === path) throw error
      makeFolder(dirname(path))
      make()
    }
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error
  }
}

/** Notes in a folder that does not outlive the machine's running, as devices in containers do not. */
export class Notes {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  #path(network: string, id: AttachmentId): string {
    return join(this.#folder, fileName(network, id))
  }

  /** It appears complete, or not at all. @throws Error */
  write(one: Note): void {
    const path = this.#path(one.network, one)
    try {
      makeFolder(this.#folder)
      writeWhole(path, `${path}.new`, JSON.stringify(one))
    } catch (error) {
      throw failed(`note what ${one.device.name} is like`, error)
    }
  }

  /** Null where there is none, or none that makes sense. @throws Error */
  read(network: string, id: AttachmentId): Note | null {
    const found = this.#parse(this.#path(network, id))
    return found && found.network === network && found.containerId === id.containerId ? found : null
  }

  #parse(path: string): Note | null {
    let text: string
    try {
      text = readFileSync(path, 'utf8')
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return null
      throw failed('read what the device was like', error)
    }
    try {
      return z.parse(note, JSON.parse(text))
    } catch {
      return null
    }
  }

  /** Safe to repeat. @throws Error */
  remove(network: string, id: AttachmentId): void {
    const path = this.#path(network, id)
    try {
      rmSync(path, { force: true })
      rmSync(`${path}.new`, { force: true })
    } catch (error) {
      throw failed(`remove ${path}`, error)
    }
  }

  /** Whether somebody else has taken the device since. @throws Error */
  isSuperseded({ device, ...own }: Note): boolean {
    const { parent, bus, permanentAddress } = device
    return this.list().some(
      (other) =>
        fileName(other.network, other) !== fileName(own.network, own) &&
        other.device.parent === parent &&
        other.device.bus === bus &&
        other.device.permanentAddress === permanentAddress,
    )
  }

  /** All of a network. Default: of all. @throws Error */
  list(network?: string): Note[] {
    let names: string[]
    try {
      names = readdirSync(this.#folder)
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return []
      throw failed('read what devices were like', error)
    }
    return names
      .filter((name) => /^[0-9a-f]{40}\.json$/.test(name))
      .map((name) => this.#parse(join(this.#folder, name)))
      .filter((one) => one !== null)
      .filter((one) => network === undefined || one.network === network)
  }
}
