/** Where an operation's time went, in milliseconds. The parts are never negative, and add up to the whole. */
export interface PhaseTimes {
  /** Until its turn came; all of it, where that never did. 0 for what needs none. */
  readonly queued: number
  readonly work: number
  /** From the result to the caller's acknowledgement. */
  readonly delivered: number
}

/** A stopwatch for one operation, which arrives when this is made. */
export class Phases {
  readonly #now: () => number
  readonly #arrived: number
  #waits = false
  #begun: number | undefined
  #done: number | undefined

  /** @param now milliseconds of a clock that never goes back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
    this.#arrived = now()
  }

  /** It asks for its turn. VERSION, and what is refused before, never does. */
  wait(): void {
    this.#waits = true
  }

  /** Its turn has come. */
  begin(): void {
    this.#begun = this.#now()
  }

  /** There is a result, or an error; the first of several counts. */
  done(): void {
    this.#done ??= this.#now()
  }

  /** It is over. */
  end(): PhaseTimes {
    const now = this.#now()
    const done = this.#done ?? now
    const begun = this.#begun ?? (this.#waits ? done : this.#arrived)
    return { queued: begun - this.#arrived, work: done - begun, delivered: now - done }
  }
}
