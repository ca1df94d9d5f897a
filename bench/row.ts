import type { Stats } from './stats.ts'

/** One line of the table: ours against a peer in the same situation. */
export interface Row {
  /** Which part of the bench: `--only` knows it by this name. */
  readonly group: string
  /** Of its figures. Default `ms`. */
  readonly unit?: 'ms' | 'MiB' | 'processes' | 'system calls' | undefined
  readonly case: string
  readonly ours: Stats
  /** What ours is compared with, e.g. `C replay`. */
  readonly peer: string
  readonly theirs: Stats
  /** The largest ratio of the medians that the design allows; absent where it names none. */
  readonly target?: number | undefined
  /** The largest median of ours that the design allows, whatever the peer's. */
  readonly limit?: number | undefined
}

/** What a part of the bench found. */
export interface Findings {
  readonly rows: readonly Row[]
  /** Sentences under the table: where time goes, what was left out and why. */
  readonly notes: readonly string[]
}

export const ratio = ({ ours, theirs }: Row): number => ours.median / theirs.median

/** Whether the row keeps its promises; null where there is none. */
export const keeps = (row: Row): boolean | null => {
  const { ours, target, limit } = row
  if (target === undefined && limit === undefined) return null
  return (target === undefined || ratio(row) <= target) && (limit === undefined || ours.median <= limit)
}
