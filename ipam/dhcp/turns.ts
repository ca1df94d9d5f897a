/** Operations that wait for each other by name: those of one attachment, in the order of their arrival. */
export class Turns {
  readonly #last = new Map<string, Promise<void>>()

  /** Runs `work` when everything is over that was asked for before under the same name. */
  async take<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(name) ?? Promise.resolve()
    const mine = before.then(work)
    const over = mine.then(
      () => {},
      () => {},
    )
    this.#last.set(name, over)
    try {
      return await mine
    } finally {
      if (this.#last.get(name) === over) this.#last.delete(name)
    }
  }

  /** When everything is over that has been asked for by now. */
  async over(): Promise<void> {
    await Promise.all(this.#last.values())
  }
}
