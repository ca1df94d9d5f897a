export interface Waiting {
  /** Milliseconds. Default 10 000. */
  readonly deadline?: number | undefined
  /** Where to begin: what `length` was before the step that is to bring it. Default 0, the very first. */
  readonly from?: number | undefined
}

/** Things that come one after the other: all that came, and a way to wait for one. */
export class Journal<T> {
  readonly all: T[] = []
  readonly #waiting = new Set<() => void>()

  get length(): number {
    return this.all.length
  }

  push(item: T): void {
    this.all.push(item)
    for (const look of [...this.#waiting]) look()
  }

  /** The first that `matches`, whether it is there already or has yet to come. `what` names it in the error. */
  async find(
    what: string,
    matches: (item: T) => boolean,
    { deadline = 10_000, from = 0 }: Waiting = {},
  ): Promise<T> {
    let at = from
    let look = () => {}
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise<T>((resolve, reject) => {
        look = () => {
          for (; at < this.all.length; at++) if (matches(this.all[at]!)) return resolve(this.all[at]!)
        }
        this.#waiting.add(look)
        timer = setTimeout(
          () => reject(new Error(`${what}: not within ${deadline} ms\n${this.describe()}`)),
          deadline,
        )
        look()
      })
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(look)
    }
  }

  /** What an error shows of it. */
  protected describe(): string {
    return `${this.all.length} came`
  }
}

/** The lines that a program prints. */
export class Log extends Journal<string> {
  /** The lines so far. */
  get lines(): readonly string[] {
    return this.all
  }

  /** The first line that has `pattern` in it. */
  waitFor(pattern: string | RegExp, waiting?: Waiting): Promise<string> {
    return this.find(
      `a line with ${pattern}`,
      (line) => (typeof pattern === 'string' ? line.includes(pattern) : line.search(pattern) >= 0),
      waiting,
    )
  }

  protected override describe(): string {
    return this.all.slice(-30).join('\n')
  }
}
