/** What is said of a number of durations in milliseconds, or of sizes in MiB. */
export interface Stats {
  readonly runs: number
  readonly median: number
  readonly p95: number
  readonly min: number
}

const quantile = (sorted: readonly number[], share: number): number => {
  const at = (sorted.length - 1) * share
  const low = sorted[Math.floor(at)]!
  return low + (sorted[Math.ceil(at)]! - low) * (at - Math.floor(at))
}

/** @param times at least one */
export const stats = (times: readonly number[]): Stats => {
  if (times.length === 0) throw new RangeError('nothing was measured')
  const sorted = [...times].sort((a, b) => a - b)
  return {
    runs: sorted.length,
    median: quantile(sorted, 0.5),
    p95: quantile(sorted, 0.95),
    min: sorted[0]!,
  }
}

/** Durations by name. */
export class Samples {
  readonly #times = new Map<string, number[]>()

  add(name: string, time: number): void {
    const times = this.#times.get(name)
    if (times) times.push(time)
    else this.#times.set(name, [time])
  }

  has(name: string): boolean {
    return this.#times.has(name)
  }

  of(name: string): Stats {
    return stats(this.#times.get(name) ?? [])
  }
}
