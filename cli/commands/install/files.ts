/**
 * Files that appear complete or not at all: written under a temporary name in the same folder, flushed, renamed. A
 * runtime may execute what is replaced at any moment: an open file is never written to (ETXTBSY), a name is never gone.
 */
import { createHash, randomUUID } from 'node:crypto'
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fsyncSync,
  futimesSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
  symlinkSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { isErrno } from '../../../netlink/error.ts'
import { attempt, isMissing } from './error.ts'

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants
const CHUNK = 1 << 20

/** No extension that a container runtime reads, and nothing that a plugin is called. */
const TEMPORARY = /^\.linkwright-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** A name in `folder` that nobody else has. */
export const temporaryIn = (folder: string): string => join(folder, `.linkwright-${randomUUID()}`)

/** Names in a folder; none where it is not there. */
export const namesIn = (folder: string): string[] =>
  attempt(`looking into ${folder}`, () => {
    try {
      return readdirSync(folder).sort()
    } catch (error) {
      if (isMissing(error)) return []
      throw error
    }
  })

/** What installers that were killed have left half made in `folder`. Only for who holds its lock. */
export const leftoversIn = (folder: string): string[] =>
  namesIn(folder)
    .filter((name) => TEMPORARY.test(name))
    .map((name) => join(folder, name))

/** Names in `folder` reach the disk. */
export const syncFolder = (folder: string): void => {
  const descriptor = openSync(folder, O_RDONLY | O_DIRECTORY)
  try {
    fsyncSync(descriptor)
  } catch (error) {
    // Some file systems in user space have no such thing for folders.
    if (!isErrno(error, 'EINVAL', 'ENOSYS', 'EOPNOTSUPP')) throw error
  } finally {
    closeSync(descriptor)
  }
}

/** Gives each chunk of a file to `take`. Not through a symbolic link, and no FIFO makes it wait. */
const readChunks = (path: string, take: (chunk: Buffer) => void): void => {
  const descriptor = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  try {
    const buffer = Buffer.allocUnsafe(CHUNK)
    for (;;) {
      const length = readSync(descriptor, buffer)
      if (length === 0) return
      take(buffer.subarray(0, length))
    }
  } finally {
    closeSync(descriptor)
  }
}

/** SHA-256 of a file, hexadecimal. */
export const hashFile = (path: string): string => {
  const hash = createHash('sha256')
  readChunks(path, (chunk) => hash.update(chunk))
  return hash.digest('hex')
}

/** SHA-256 of a text, hexadecimal. */
export const hashText = (text: string): string => createHash('sha256').update(text).digest('hex')

/** What a new file is given. */
export interface Attributes {
  /** Permission bits, whatever the umask. */
  readonly mode: number
  readonly uid?: number | undefined
  readonly gid?: number | undefined
  /** Milliseconds since the epoch. Default: now. */
  readonly mtime?: number | undefined
}

/** A new file that has reached the disk when this returns. @throws SystemError, EEXIST where something is there */
const writeNew = (path: string, attributes: Attributes, fill: (write: (chunk: Buffer) => void) => void) => {
  const descriptor = openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
  try {
    fill((chunk) => {
      for (let rest = chunk; rest.length > 0; ) rest = rest.subarray(writeSync(descriptor, rest))
    })
    const { mode, uid = process.geteuid!(), gid = process.getegid!(), mtime } = attributes
    // As long as it is ours: afterwards it would take CAP_FOWNER.
    fchmodSync(descriptor, mode)
    if (mtime !== undefined) futimesSync(descriptor, mtime / 1000, mtime / 1000)
    if (uid !== process.geteuid!() || gid !== process.getegid!()) {
      fchownSync(descriptor, uid, gid)
      // A change of owner takes these bits away.
      if ((mode & 0o6000) !== 0) fchmodSync(descriptor, mode)
    }
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** A copy under a new name. @returns SHA-256 of what was copied */
export const copyNew = (from: string, to: string, attributes: Attributes): string => {
  const hash = createHash('sha256')
  writeNew(to, attributes, (write) =>
    readChunks(from, (chunk) => {
      hash.update(chunk)
      write(chunk)
    }),
  )
  return hash.digest('hex')
}

/** A text under a new name. */
export const writeTextNew = (path: string, text: string, mode: number): void =>
  writeNew(path, { mode }, (write) => write(Buffer.from(text)))

/**
 * Puts something at `path` in one step, whatever file or link was there. The name is on the disk after
 * {@link syncFolder}: twenty links in a folder need one.
 * @param make makes it under the name that it is given
 */
export const replace = (path: string, make: (temporary: string) => void): void => {
  const temporary = temporaryIn(dirname(path))
  try {
    make(temporary)
    renameSync(temporary, path)
  } finally {
    // Nothing is renamed where both are names of one file.
    rmSync(temporary, { force: true })
  }
}

/** Puts a symbolic link at `path`. */
export const replaceLink = (path: string, target: string): void =>
  replace(path, (temporary) => symlinkSync(target, temporary))

/** Puts a text at `path`. */
export const replaceText = (path: string, text: string, mode: number): void =>
  replace(path, (temporary) => writeTextNew(temporary, text, mode))

/** Removes a name. Safe to repeat. */
export const remove = (path: string): void => rmSync(path, { force: true })

/** What is found at a path, without following it. */
export type Found =
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'file'; readonly sha256: string; readonly stat: Stats }
  /** A folder, a device, … */
  | { readonly kind: 'other'; readonly what: string }

/** @returns null where nothing is there */
export const look = (path: string): Found | null => {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (!stat) return null
  if (stat.isSymbolicLink()) return { kind: 'link', target: readlinkSync(path) }
  if (stat.isFile()) return { kind: 'file', sha256: hashFile(path), stat }
  return { kind: 'other', what: stat.isDirectory() ? 'a folder' : 'no file' }
}
