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
  EROFS: 'the file system is read-only: choose another folder (--prefix, --bin-dir), or mount it writable',
  ENOSPC: 'the file system is full: make room, or choose another --prefix',
  EDQUOT: 'the quota is used up: make room, or choose another --prefix',
  ELOOP: 'its symbolic links lead in a circle: correct them',
  ENOTDIR: 'something on the way to it is no folder',
  ENOENT: 'something on the way to it, or what it points to, is not there',
  ENAMETOOLONG: 'choose a shorter path',
}

/** The same of a refusal that root does not get, or only for a reason that is no permission bit. */
const permission = (): string =>
  process.geteuid!() === 0
    ? 'the file system, a security module, or a capability that is missing (as in a container) does not allow it even to root'
    : 'run it as root'

/** A failure as an {@link InstallError}, headed by what was tried. */
export const explain = (error: unknown, what: string): InstallError => {
  if (error instanceof InstallError) return error
  const { message, code } = error as NodeJS.ErrnoException
  const details = isErrno(error, 'EACCES', 'EPERM') ? permission() : (advice[code ?? ''] ?? '')
  return new InstallError(`${what}: ${message}`, details, error)
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
