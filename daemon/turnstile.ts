/** Requests begun in one turn of the event loop. */
const AT_ONCE = 4

/**
 * Lets a few through in each turn of the event loop. Hundreds of requests may come at the same moment, and each has some
 * tenths of a millisecond of work to begin with: whoever greets meanwhile has to be answered before all of it is done.
 */
export class Turnstile {
  readonly #waiting: (() => void)[] = []
  readonly #atOnce: number
  /** Let through in this turn. */
  #passed = 0
  #turning = false

  constructor(atOnce = AT_ONCE) {
    this.#atOnce = atOnce
  }

  /** Resolves when it is the caller's turn, in order of arrival; null: it is now. */
  pass(): Promise<void> | null {
    if (!this.#turning) this.#turn()
    if (this.#passed < this.#atOnce) {
      this.#passed++
      return null
    }
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #turn(): void {
    this.#turning = true
    setImmediate(() => {
      const passing = this.#waiting.splice(0, this.#atOnce)
      this.#passed = passing.length
      for (const pass of passing) pass()
      if (passing.length > 0) this.#turn()
      else this.#turning = false
    })
  }
}
