import { constants } from 'node:os'
import type { SystemError } from '../native/binding.ts'

/** What a {@link NetlinkError} is made of. */
export interface NetlinkErrorOptions {
  /** What was tried, in words: `add link veth0 (veth)`. */
  readonly op: string
  /** Positive errno of the kernel's answer. */
  readonly errno: number
  /** The attribute the kernel points at (`NLMSGERR_ATTR_OFFS`, `NLMSGERR_ATTR_MISS_TYPE`), as a path. */
  readonly attribute?: string | undefined
  /** The kernel's own words (`NLMSGERR_ATTR_MSG`). They differ from kernel to kernel: never test them. */
  readonly kernelMessage?: string | undefined
  readonly cause?: unknown
}

// Names that Linux has twice for one number: the first here is the one its documentation uses. libuv's own table, which
// knows 95 as ENOTSUP only, and not all of the rest, is no help.
const preferred = ['EOPNOTSUPP', 'EAGAIN', 'EDEADLK']
// ERESTART is what nf_tables answers to a batch for a generation that has passed; Node does not list it.
const names = new Map<number, string>([[85, 'ERESTART']])
for (const [name, errno] of Object.entries(constants.errno))
  if (!names.has(errno) || preferred.includes(name)) names.set(errno, name)

/** Name of a positive errno, e.g. 19 → `ENODEV`, 95 → `EOPNOTSUPP`; `E524` for one without a name. */
export const errnoName = (errno: number): string => names.get(errno) ?? `E${errno}`

/** A refusal by the kernel: operation, errno and, where it gave them, its words and the attribute it minds. */
export class NetlinkError extends Error {
  override readonly name = 'NetlinkError'
  readonly op: string
  /** Positive errno, e.g. 17. */
  readonly errno: number
  /** Its name, e.g. `EEXIST`. Test this, or `errno`. */
  readonly code: string
  readonly attribute: string | undefined
  readonly kernelMessage: string | undefined

  constructor({ op, errno, attribute, kernelMessage, cause }: NetlinkErrorOptions) {
    const code = errnoName(errno)
    const words = [kernelMessage, attribute && `attribute ${attribute}`].filter(Boolean).join(', ')
    super(`${op}: ${code}${words ? ` (${words})` : ''}`, cause === undefined ? undefined : { cause })
    this.op = op
    this.errno = errno
    this.code = code
    this.attribute = attribute
    this.kernelMessage = kernelMessage
  }
}

/** A system call that failed before the kernel could answer a request, and what the request was to do. */
export class SocketError extends Error implements SystemError {
  override readonly name = 'SocketError'
  /** What was tried, in words: `add link veth0 (veth)`. */
  readonly op: string
  readonly errno: number
  readonly code: string
  readonly syscall: string

  constructor(op: string, cause: SystemError) {
    super(`${op}: ${cause.message}`, { cause })
    this.op = op
    this.errno = cause.errno
    this.code = cause.code
    this.syscall = cause.syscall
  }
}

const isSystemError = (error: unknown): error is SystemError =>
  error instanceof Error && 'syscall' in error && 'errno' in error && 'code' in error

/** A system call's error with what was being tried; any other error, and one that says so already, as it is. */
export const during = (op: string, error: unknown): unknown =>
  isSystemError(error) && !(error instanceof SocketError) ? new SocketError(op, error) : error

/** Whether `error` is the kernel's (or a system call's) refusal with one of the codes: `isErrno(e, 'ENODEV')`. */
export const isErrno = (error: unknown, ...codes: readonly string[]): boolean =>
  error instanceof Error && 'code' in error && codes.includes(error.code as string)
