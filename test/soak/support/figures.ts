/** A figure that is read again and again. */
export class Figures {
  readonly #all: number[] = []

  add(value: number): void {
    this.#all.push(value)
  }

  get first(): number {
    return this.#all[0]!
  }

  get last(): number {
    return this.#all.at(-1)!
  }

  /** Least, middle and most of it, then the first and the last. */
  toString(): string {
    const sorted = [...this.#all].sort((a, b) => a - b)
    const shown = [sorted[0], sorted[sorted.length >> 1], sorted.at(-1), this.#all[0], this.#all.at(-1)]
    const [least, middle, most, first, last] = shown.map((value) => value?.toFixed(0))
    return `min ${least}, median ${middle}, max ${most}; first ${first}, last ${last} (${sorted.length})`
  }
}
