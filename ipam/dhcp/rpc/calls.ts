/** Calls that a connection may have under way; a plugin has one. */
const MAX_CALLS = 256

/** The calls that are under way on one connection. */
export class Calls {
  readonly #controllers = new Map<unknown, AbortController>()
  readonly #changed: () => void
  #idle: (() => void)[] = []

  /** @param changed called whenever one starts or ends */
  constructor(changed: () => void = () => {}) {
    this.#changed = changed
  }

  get size(): number {
    return this.#controllers.size
  }

  get full(): boolean {
    return this.size >= MAX_CALLS
  }

  has(key: unknown): boolean {
    return this.#controllers.has(key)
  }

  /** Runs `work`, which must not reject. */
  start(key: unknown, work: (signal: AbortSignal) => Promise<void>): void {
    const controller = new AbortController()
    this.#controllers.set(key, controller)
    this.#changed()
    void work(controller.signal).finally(() => {
      this.#controllers.delete(key)
      this.#changed()
      if (this.size === 0) for (const resolve of this.#idle.splice(0)) resolve()
    })
  }

  /** Aborts one, where it is under way. */
  cancel(key: unknown, reason: unknown): void {
    this.#controllers.get(key)?.abort(reason)
  }

  abort(reason: unknown): void {
    for (const controller of [...this.#controllers.values()]) controller.abort(reason)
  }

  /** Resolves as soon as none is under way. */
  idle(): Promise<void> {
    return this.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve))
  }
}
