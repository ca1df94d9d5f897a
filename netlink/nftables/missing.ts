/** Errors that tell what a kernel lacks. */
import { isErrno } from '../error.ts'

/**
 * Whether an error says that this kernel has no nf_tables at all, so that nothing can be in it: nfnetlink answers a list
 * with EINVAL for a subsystem that it does not know.
 */
export const isWithoutNftables = (error: unknown): boolean =>
  isErrno(error, 'EINVAL', 'EOPNOTSUPP', 'EPROTONOSUPPORT')

/**
 * Whether an error of a change may say that this kernel has no nf_tables, or not the chain type, the expression or the
 * match of xtables that was asked for. Any other (no descriptor, no memory, no permission) says nothing of that.
 */
export const isUnsupported = (error: unknown): boolean =>
  isWithoutNftables(error) || isErrno(error, 'ENOENT', 'EAFNOSUPPORT')
