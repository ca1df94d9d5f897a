import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { inNode, startInNode } from './in-node.ts'

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

test('exit ends the process at once, though a thread of the pool never comes back', () => {
  const folder = mkdtempSync(join(tmpdir(), 'linkwright-exit-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const fifo = join(folder, 'fifo')
  expect(spawnSync('mkfifo', [fifo]).status).toBe(0)
  // Opening waits for a writer.
  const script = `
const { open, readdirSync } = require('node:fs')
open(${JSON.stringify(fifo)}, 'r', () => {})
const tasks = () => readdirSync('/proc/self/task')
const waits = () => tasks().some((one) => readFileSync('/proc/self/task/' + one + '/wchan', 'latin1').includes('wait_for_partner'))
const leave = () => (waits() ? native.exit(7) : setImmediate(leave))
leave()`
  const { status, signal, stderr } = startInNode(script)
  expect({ status, signal, stderr }).toEqual({ status: 7, signal: null, stderr: '' })
})
