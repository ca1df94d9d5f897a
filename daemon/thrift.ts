/** Milliseconds without an operation, after which a rush is over. */
const QUIET = 1000
/** Operations that are a rush. */
const RUSH = 100

/**
 * Gives memory back when a rush is over. What the engine's compilers have needed while functions became hot, and buffers
 * of many operations at a time, stays in the C library's heap, and it is more than the daemon needs when it rests: 17 MiB
 * after 1000 ADDs and DELs. Not after each operation: what is given back is mapped again, page by page.
 */
export class Thrift {
  readonly #give: () => void
  readonly #quiet: number
  readonly #rush: number
  #operations = 0
  #timer: NodeJS.Timeout | undefined

  constructor(give: () => void, { quiet = QUIET, rush = RUSH } = {}) {
    this.#give = give
    this.#quiet = quiet
    this.#rush = rush
  }

  /** One is over. */
  operation(): void {
    if (++this.#operations < this.#rush) return
    if (this.#timer) {
      this.#timer.refresh()
      return
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#operations = 0
      this.#give()
    }, this.#quiet)
    this.#timer.unref()
  }

  /** Nothing is given back any more. */
  close(): void {
    clearTimeout(this.#timer)
  }
}
