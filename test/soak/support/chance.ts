/** Chance that can be had again: the same seed brings the same numbers. */
export class Chance {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** At least 0, less than 1: a 32-bit linear congruential generator, of whose bits the upper ones are used. */
  next(): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0
    return (this.#state >>> 8) / 0x1_00_00_00
  }

  /** At least `least`, less than `most`. */
  between(least: number, most: number): number {
    return least + this.next() * (most - least)
  }

  /** True so often. */
  is(share: number): boolean {
    return this.next() < share
  }
}
