/** By when something is to have happened. */
export interface Deadline {
  /** Milliseconds of `performance.now()`. */
  readonly due: number
  readonly late: () => void
}

/**
 * Deadlines of one length, for many who come and go. All share a timer, which is set again when it has run, and not for
 * each: to make and to cancel one of Node's takes longer than most of what a request does here. Keeps no program alive.
 */
export class Deadlines {
  /** Milliseconds. */
  readonly length: number
  /** In the order in which they are due. */
  readonly #pending = new Set<Deadline>()
  #timer: NodeJS.Timeout | undefined

  constructor(length: number) {
    this.length = length
  }

  /** @param late called once, unless it is cancelled before */
  begin(late: () => void): Deadline {
    const pending = { due: performance.now() + this.length, late }
    this.#pending.add(pending)
    if (!this.#timer) this.#wait(this.length)
    return pending
  }

  /** Safe to repeat. */
  cancel(pending: Deadline): void {
    this.#pending.delete(pending)
  }

  #wait(milliseconds: number): void {
    this.#timer = setTimeout(() => this.#look(), milliseconds)
    this.#timer.unref()
  }

  #look(): void {
    this.#timer = undefined
    for (const pending of this.#pending) {
      const left = pending.due - performance.now()
      if (left > 0) {
        this.#wait(left)
        return
      }
      this.#pending.delete(pending)
      pending.late()
    }
  }
}
