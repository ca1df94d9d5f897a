/** What the daemon's own log says of where time went: docs/metrics.md has its fields. */
import type { Verb } from '../contestant.ts'
import { Samples } from '../stats.ts'

interface Operation {
  readonly message: string
  readonly network: string
  readonly verb: string
  /** By phase. */
  readonly ms: Readonly<Record<string, number>>
}

/** null: no line of JSON, such as the first of what was kept, or the last that is not complete. */
const parse = (line: string): Operation | null => {
  try {
    return JSON.parse(line) as Operation
  } catch {
    return null
  }
}

/**
 * Median milliseconds that the work on the last operations took, from their turn to their result.
 * @param printed by the daemon
 * @returns null where it says nothing of them
 */
export const workOf = (printed: string, network: string, verb: Verb): number | null => {
  const samples = new Samples()
  for (const operation of printed.split('\n').map(parse))
    if (operation?.message === 'operation' && operation.network === network && operation.verb === verb)
      samples.add(verb, operation.ms.work ?? Number.NaN)
  return samples.has(verb) ? samples.of(verb).median : null
}
