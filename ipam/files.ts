/** Small files, read and written on the spot: each call takes microseconds, less than a trip to the thread pool. */
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs'
import { getSystemErrorMap } from 'node:util'
import { CniError, codes } from '../cni/error.ts'

const { O_RDONLY, O_NONBLOCK } = constants

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
): error is Error & { errno: number; code: string; syscall?: string; path?: string } =>
  error instanceof Error && 'errno' in error && 'code' in error && typeof error.errno === 'number'

/** A failed system call on a file as a CniError of code 5, worded like Go's: `open /x: permission denied`. */
export const ioError = (error: unknown, path?: string): CniError => {
  if (!isSystemError(error)) return CniError.from(error)
  const { errno, code, syscall = 'use' } = error
  const text = words[code] ?? getSystemErrorMap().get(-Math.abs(errno))?.[1] ?? code
  return new CniError({
    code: codes.io,
    msg: `${syscall} ${error.path ?? path ?? 'file'}: ${text}`,
    cause: error,
  })
}

/** Whether a file or directory on the way does not exist. */
export const isGone = (error: unknown): boolean => hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')

export const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code

const buffer = Buffer.allocUnsafeSlow(4096)

/**
 * The content of a file, of which most are shorter than 100 bytes.
 * @throws SystemError
 */
export const readText = (path: string): string => {
  const file = openSync(path, O_RDONLY | O_NONBLOCK)
  try {
    const length = readSync(file, buffer, 0, buffer.length, 0)
    return length < buffer.length ? buffer.toString('utf8', 0, length) : readFileSync(path, 'utf8')
  } finally {
    closeSync(file)
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
