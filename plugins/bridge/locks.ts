/**
 * What ADDs of a bridge lock (flock): a folder that only root can open. The file of the host's namespace would not do:
 * whoever is in that can open it, and keep everybody else waiting.
 */
import { constants, lstatSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { CniError, codes } from '../../cni/error.ts'
import { hasCode, ioError, makeDirectory } from '../../ipam/files.ts'
import { binding, type Descriptor } from '../../native/binding.ts'
import type { Netns } from '../../netlink/index.ts'

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants

/**
 * How many locks there are for all bridges of all namespaces. Two bridges that share one wait for each other now and
 * then; and what stays behind of bridges and namespaces that are gone is never more than this.
 */
const LOCKS = 64

/** FNV-1a: its lowest bits tell `cni0` from `cni1`. */
const hash = (text: string): number => {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193)
  return value >>> 0
}

/** Standalone programs and the daemon have to come to the same. */
const nameOf = (hostNetns: Netns, bridge: string): string =>
  ((hash(hostNetns.identity) + hash(bridge)) % LOCKS).toString(16).padStart(2, '0')

/** @throws CniError where it is not a folder of root's that nobody else may write to, or as `forbidden` says */
const expectOwn = (path: string, forbidden: number): void => {
  const stat = lstatSync(path)
  if (stat.isDirectory() && stat.uid === 0 && (stat.mode & forbidden) === 0) return
  throw new CniError({
    code: codes.io,
    msg: `${path} is not root's own: others could keep ADDs of bridges waiting`,
    details: 'it has to be a folder of root, of mode 0700: remove what is there, and it is made anew',
  })
}

/** The locks of the bridges, in a folder that is made where it is missing and stays. */
export class BridgeLocks {
  readonly #folder: string
  #checked = false

  constructor(folder: string) {
    this.#folder = folder
  }

  /**
   * The lock of a bridge, opened, to be taken with flock(2).
   * @throws CniError code 5
   */
  open(hostNetns: Netns, bridge: string): Descriptor {
    const path = join(this.#folder, nameOf(hostNetns, bridge))
    try {
      if (!this.#checked) this.#check()
      try {
        return this.#openFolder(path)
      } catch (error) {
        if (!hasCode(error, 'ENOENT')) throw error
        this.#check()
        makeDirectory(path, 0o700, false)
        return this.#openFolder(path)
      }
    } catch (error) {
      throw ioError(error, path, 'ADDs of bridges lock a folder there')
    }
  }

  #openFolder(path: string): Descriptor {
    return binding().open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)
  }

  /** Nobody but root can come to what is in the folder, or put another in its place. What is above belongs to the system. */
  #check(): void {
    makeDirectory(this.#folder, 0o700)
    expectOwn(dirname(this.#folder), 0o022)
    expectOwn(this.#folder, 0o077)
    this.#checked = true
  }
}
