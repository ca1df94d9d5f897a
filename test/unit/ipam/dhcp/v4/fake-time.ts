/** Time that stands still until a test moves it. */
import type { Timebase, Timer } from '../../../../../ipam/dhcp/timebase.ts'

interface Pending {
  readonly at: number
  readonly work: () => void
}

/** When the clock begins: a machine that has run for a while. */
export const START = 1_000_000

export class FakeTime implements Timebase {
  #now = START
  readonly #pending = new Set<Pending>()
  /** What {@link random} answers: 0.5 is no jitter, and the middle of all transaction ids. */
  chance: () => number = () => 0.5

  now(): number {
    return this.#now
  }

  after(delay: number, work: () => void): Timer {
    if (Number.isNaN(delay)) throw new Error('a timer of NaN milliseconds')
    const pending = { at: this.#now + delay, work }
    this.#pending.add(pending)
    return { cancel: () => void this.#pending.delete(pending) }
  }

  random(): number {
    return this.chance()
  }

  /** How many timers run. */
  get timers(): number {
    return this.#pending.size
  }

  /** Milliseconds until the next timer fires; null without one. */
  get next(): number | null {
    return this.#pending.size === 0 ? null : Math.min(...[...this.#pending].map(({ at }) => at)) - this.#now
  }

  #earliest(until: number): Pending | undefined {
    return [...this.#pending].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0]
  }

  /** Moves on, and fires every timer when its time has come. */
  pass(milliseconds: number): void {
    const end = this.#now + milliseconds
    for (let due = this.#earliest(end); due; due = this.#earliest(end)) {
      this.#now = Math.max(this.#now, due.at)
      this.#pending.delete(due)
      due.work()
    }
    this.#now = end
  }

  /** Moves on, and fires nothing yet: the program is busy, or the machine sleeps. */
  skip(milliseconds: number): void {
    this.#now += milliseconds
  }

  /** The machine sleeps: what was due meanwhile fires late, at its end. */
  sleep(milliseconds: number): void {
    this.skip(milliseconds)
    this.pass(0)
  }
}
