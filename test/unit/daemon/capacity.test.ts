import { expect, test } from 'vitest'
import { connectionsWithin } from '../../../daemon/capacity.ts'

test.each([
  // Node alone has more open.
  [16, 32, 1],
  [64, 32, 1],
  [64 + 17, 32, 1],
  [64 + 18, 32, 2],
  // As many as may be at work: 9 for each; who waits behind them needs 3.
  [64 + 9 * 32, 32, 32],
  [64 + 9 * 32 + 9, 32, 35],
  [1024, 32, 256],
  [1024, 1, 318],
  [Number.POSITIVE_INFINITY, 32, Number.POSITIVE_INFINITY],
])('%d descriptors, %d at a time: %d connections', (descriptors, concurrency, connections) => {
  expect(connectionsWithin(descriptors, concurrency)).toBe(connections)
})
