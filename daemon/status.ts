/** What a running daemon says of itself: the answer to a STATUS request. */
import type { JsonObject } from '../cni/types.ts'
import type { Metrics } from './metrics.ts'

/** The answer, to be printed as JSON. */
export const statusOf = (metrics: Metrics, software: string): JsonObject => {
  void metrics
  return { version: software }
}
