import { spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { expect, test } from 'vitest'
import { maxDescriptors, openDescriptors } from '../../../daemon/process-facts.ts'

/** The soft limit of this process. */
const limitTo = (descriptors: number): void => {
  const { status } = spawnSync('prlimit', [`--pid=${process.pid}`, `--nofile=${descriptors}:`])
  expect(status).toBe(0)
}

test('descriptors are counted though none is left to look with', () => {
  const before = maxDescriptors()
  const limit = openDescriptors() + 50
  limitTo(limit)
  const files: number[] = []
  try {
    expect(maxDescriptors()).toBe(limit)
    expect(() => {
      for (;;) files.push(openSync('/dev/null', 'r'))
    }).toThrow('EMFILE')
    const counted = { open: openDescriptors(), most: maxDescriptors() }
    expect(counted).toEqual({ open: limit, most: limit })
  } finally {
    for (const file of files) closeSync(file)
    limitTo(before)
  }
})
