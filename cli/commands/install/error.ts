import { isErrno } from '../../../netlink/error.ts'

/** Why something could not be installed, and what to do about it. */
export class InstallError extends Error {
  override readonly name = 'InstallError'
  /** May be empty. */
  readonly details: string

  constructor(message: string, details = '', cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.details = details
  }
}

/** What to do about a refusal of the file system, by errno. */
const advice: Readonly<Record<string, string>> = {
  EACCES: 'the file system, or a security module, does not allow it even to root',
  EPERM: 'the file system, or a security module, does not allow it even to root',
  EROFS: 'the file system is read-only: choose another folder (--prefix, --bin-dir), or mount it writable',
  ENOSPC: 'the file system is full: make room, or choose another --prefix',
  EDQUOT: 'the quota is used up: make room, or choose another --prefix',
  ELOOP: 'its symbolic links lead in a circle: correct them',
  ENOTDIR: 'something on the way to it is no folder',
  ENOENT: 'something on the way to it, or what it points to, is not there',
  ENAMETOOLONG: 'choose a shorter path',
}

/** A failure as an {@link InstallError}, headed by what was tried. */
export const explain = (error: unknown, what: string): InstallError => {
  if (error instanceof InstallError) return error
  const { message, code } = error as NodeJS.ErrnoException
  return new InstallError(`${what}: ${message}`, advice[code ?? ''] ?? '', error)
}

/** Runs `work`; what it throws is headed by `what`. @throws InstallError */
export const attempt = <T>(what: string, work: () => T): T => {
  try {
    return work()
  } catch (error) {
    throw explain(error, what)
  }
}

/** Whether nothing is there. */
export const isMissing = (error: unknown): boolean => isErrno(error, 'ENOENT', 'ENOTDIR')
