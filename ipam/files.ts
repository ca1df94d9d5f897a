/** Small files, read and written on the spot: each call takes microseconds, less than a trip to the thread pool. */
import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { getSystemErrorMap } from 'node:util'
import { CniError, codes } from '../cni/error.ts'

export { readText } from '../cni/read-text.ts'

/** Where libuv's words are not those of strerror(3), which Go programs print. */
const words: Readonly<Record<string, string>> = {
  EEXIST: 'file exists',
  EIO: 'input/output error',
  EISDIR: 'is a directory',
  ELOOP: 'too many levels of symbolic links',
  ENAMETOOLONG: 'file name too long',
  EDQUOT: 'disk quota exceeded',
  EMLINK: 'too many links',
}

const isSystemError = (
  error: unknown,
): error is Error & { errno: number; code: string; syscall?: string; path?: string; dest?: string } =>
  error instanceof Error && 'errno' in error && 'code' in error && typeof error.errno === 'number'

/**
 * A failed system call on a file as a CniError of code 5, worded like Go's: `open /x: permission denied`.
 * @param path of the file, where the error does not say it
 */
export const ioError = (error: unknown, path?: string, details?: string): CniError => {
  if (!isSystemError(error)) return CniError.from(error)
  const { errno, code, syscall = 'use', dest } = error
  const text = words[code] ?? getSystemErrorMap().get(-Math.abs(errno))?.[1] ?? code
  return new CniError({
    code: codes.io,
    msg: `${syscall} ${error.path ?? path ?? 'file'}${dest ? ` ${dest}` : ''}: ${text}`,
    details,
    cause: error,
  })
}

/** Whether a file or directory on the way does not exist. */
export const isGone = (error: unknown): boolean => hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')

export const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code

/**
 * Makes a directory with those above it, as `mkdir -p` does. Node's own way to do it answers ENOENT to whatever kept it
 * from making one of those above.
 * @param above whether those above are made, too
 * @throws SystemError of the one that could not be made
 */
export const makeDirectory = (path: string, mode: number, above = true): void => {
  try {
    mkdirSync(path, mode)
  } catch (error) {
    if (above && hasCode(error, 'ENOENT') && dirname(path) !== path) {
      makeDirectory(dirname(path), mode)
      makeDirectory(path, mode, false)
    } else if (!hasCode(error, 'EEXIST') || !statSync(path, { throwIfNoEntry: false })?.isDirectory())
      throw error
  }
}

/** Milliseconds of work after which other callers of the event loop get a turn. */
const TURN = 5

/** Keeps a loop over many files from holding up everything else in the process. */
export class Breather {
  // Not `performance`, which takes a millisecond to load.
  #since = Date.now()

  /** Whether {@link rest} is due. Apart, because awaiting costs more than the step of a loop. */
  get due(): boolean {
    return Date.now() - this.#since > TURN
  }

  async rest(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    this.#since = Date.now()
  }
}
