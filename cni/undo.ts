import type { Connection } from '../netlink/connection.ts'
import type { NetlinkError } from '../netlink/error.ts'
import type { Request } from '../netlink/request.ts'

interface Inverse {
  readonly what: string
  readonly undo: () => void | Promise<void>
}

/** The inverses of everything an ADD has done so far. Run on failure, last first; dropped on success. */
export class UndoStack {
  #inverses: Inverse[] = []
  #running = false

  /** Registers the inverse of an effect, in words: `remove veth1a2b3c4d`. It must tolerate that nothing is left. */
  push(what: string, undo: () => void | Promise<void>): void {
    this.#inverses.push({ what, undo })
  }

  /** What `work` pushes is undone after everything that was there before it. Nobody else may push meanwhile. */
  async beneath<T>(work: () => Promise<T>): Promise<T> {
    const above = this.#inverses
    this.#inverses = []
    try {
      return await work()
    } finally {
      this.#inverses.push(...above)
    }
  }

  /** True while {@link run} works: what it does must not be stopped by the abort that caused it. */
  get running(): boolean {
    return this.#running
  }

  /** Whether there is nothing to undo. */
  get isEmpty(): boolean {
    return this.#inverses.length === 0
  }

  /** Runs every inverse, last first, going on after errors. Returns the errors, each prefixed with what failed. */
  async run(): Promise<Error[]> {
    const errors: Error[] = []
    this.#running = true
    for (let inverse = this.#inverses.pop(); inverse; inverse = this.#inverses.pop())
      try {
        await inverse.undo()
      } catch (cause) {
        errors.push(
          new Error(`${inverse.what}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause }),
        )
      }
    this.#running = false
    return errors
  }

  /** The effects stay: nothing is left to undo. */
  discard(): void {
    this.#inverses = []
  }
}

/** A request, and what takes its effect back. */
export interface Step {
  readonly request: Request<unknown>
  readonly undo?: readonly [what: string, undo: () => void | Promise<void>] | undefined
  /** Errors that do not matter, by code: `['EEXIST']`, or `true` for all. */
  readonly tolerate?: readonly string[] | true | undefined
}

/**
 * Sends steps in one datagram. The kernel does each on its own, so the inverse of every step that succeeded is pushed
 * before the first error is thrown. When the exchange itself fails nobody knows what was done: then all are.
 * @throws NetlinkError the first that is not tolerated; SystemError when the socket fails
 */
export const apply = async (
  connection: Connection,
  undo: UndoStack,
  steps: readonly Step[],
): Promise<void> => {
  const outcomes = await connection.batch(steps.map(({ request }) => request)).catch((error: unknown) => {
    for (const step of steps) if (step.undo) undo.push(...step.undo)
    throw error
  })
  let failure: NetlinkError | undefined
  for (const [i, outcome] of outcomes.entries()) {
    const step = steps[i]!
    if (outcome.ok) {
      if (step.undo) undo.push(...step.undo)
    } else if (step.tolerate !== true && !step.tolerate?.includes(outcome.code)) failure ??= outcome.error
  }
  if (failure) throw failure
}
