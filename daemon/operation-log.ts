/** One JSON line an operation, with the trace it belongs to. */
import { randomBytes } from 'node:crypto'
import type { Environment } from '../cni/environment.ts'

/** Where an operation belongs, by W3C Trace Context: hexadecimal, in lower case. */
export interface Trace {
  /** 32 digits. */
  readonly traceId: string
  /** The caller's span, 16 digits; null where it named none. */
  readonly parentId: string | null
}

/** version, trace-id, parent-id, trace-flags; newer versions may go on after a dash (section 3.2). */
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/s
/** Longer ones of a version to come are not looked at. */
const MAX_TRACEPARENT = 256

/** The trace of TRACEPARENT; a new one where that is missing or malformed. */
export const traceOf = ({ TRACEPARENT: text = '' }: Environment): Trace => {
  const [, version, traceId, parentId, more] =
    (text.length <= MAX_TRACEPARENT && TRACEPARENT.exec(text)) || []
  const valid =
    traceId !== undefined &&
    parentId !== undefined &&
    version !== 'ff' &&
    !(version === '00' && more !== undefined) &&
    /[^0]/.test(traceId) &&
    /[^0]/.test(parentId)
  return valid ? { traceId, parentId } : { traceId: randomBytes(16).toString('hex'), parentId: null }
}

/** An operation that is over. Times in milliseconds. */
export interface LoggedOperation {
  readonly trace: Trace
  /** As the caller has it, checked or not; as is `network`. */
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

/** Characters of a name that may not have been checked. */
const MAX_NAME = 256

const cut = (name: string | null): string | null =>
  name !== null && name.length > MAX_NAME ? `${name.slice(0, MAX_NAME)}…` : name

/** A microsecond is the least that is worth a digit. */
const round = (milliseconds: number): number => Math.round(milliseconds * 1000) / 1000

const levelOf = (code: number): string => (code === 0 ? 'info' : code === 11 ? 'warn' : 'error')

/**
 * Writes what became of operations. An error's words stay with the caller, who gets all of them: they may quote the
 * configuration, and that may hold secrets.
 */
export class OperationLog {
  readonly #write: (line: string) => void

  /** @param write gets a line with its end */
  constructor(write: (line: string) => void) {
    this.#write = write
  }

  operation({ trace, queued, work, delivered, ...operation }: LoggedOperation): void {
    const { container, network, plugin, verb, code } = operation
    const line = {
      time: new Date().toISOString(),
      level: levelOf(code),
      message: 'operation',
      trace: trace.traceId,
      parent: trace.parentId ?? undefined,
      container: cut(container),
      network: cut(network),
      plugin,
      verb,
      code,
      ms: { queued: round(queued), work: round(work), delivered: round(delivered) },
    }
    this.#write(`${JSON.stringify(line)}\n`)
  }
}
