import { expect, test } from 'vitest'
import { inNode } from './in-node.ts'

test('trimHeap gives back what is free in the heap, and what is in use stays', () => {
  // Blocks that are too small to be mapped each by itself, every hundredth of which stays: the end of the heap is in use.
  const script = `
const anonymous = () => Number(/^RssAnon:\\s+(\\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))[1])
let blocks = Array.from({ length: 2000 }, (_, i) => new Uint8Array(64 << 10).fill(i))
const kept = blocks.filter((_, i) => i % 100 === 99)
blocks = null
// A collection ends what the one before has left to other threads.
const collect = (times) => {
  gc()
  if (times > 0) return setImmediate(collect, times - 1)
  const before = anonymous()
  const trimmed = native.trimHeap()
  tell({ trimmed, before, after: anonymous(), kept: kept.map((block) => block[70]) })
}
setImmediate(collect, 3)`
  const { trimmed, before, after, kept } = inNode(script, '--expose-gc') as {
    readonly trimmed: boolean
    /** Kilobytes. */
    readonly before: number
    readonly after: number
    readonly kept: readonly number[]
  }
  expect(kept).toEqual(Array.from({ length: 20 }, (_, i) => (i * 100 + 99) % 256))
  // musl does so by itself.
  const isGlibc = 'glibcVersionRuntime' in (process.report.getReport() as { header: object }).header
  expect(trimmed).toBe(isGlibc)
  // Of 125 MiB.
  if (isGlibc) expect(before - after).toBeGreaterThan(32 << 10)
})
