import { constants, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { binding } from '../../../native/binding.ts'
import { type LockMode, lockFile, tryLockFile } from '../../../netlink/flock.ts'

const O_PATH = 0o10000000
const folder = mkdtempSync(join(tmpdir(), 'linkwright-flock-'))
afterAll(() => rmSync(folder, { recursive: true }))

const open = (flags = 0) => binding().open(folder, constants.O_RDONLY | flags, 0)
const isFree = (): boolean => {
  const lock = tryLockFile(open(), 'exclusive')
  lock?.release()
  return lock !== null
}

describe('tryLockFile', () => {
  test.each<[LockMode, LockMode, boolean]>([
    ['shared', 'shared', true],
    ['shared', 'exclusive', false],
    ['exclusive', 'shared', false],
    ['exclusive', 'exclusive', false],
  ])('%s beside %s: %s', (mode, other, expected) => {
    const held = tryLockFile(open(), mode)!
    const file = open()
    const lock = tryLockFile(file, other)
    expect(lock !== null).toBe(expected)
    expect(file.fd >= 0).toBe(expected)
    lock?.release()
    held.release()
    held.release()
    expect(isFree()).toBe(true)
  })

  test('closes a file that can not be locked', () => {
    const file = open(O_PATH)
    expect(() => tryLockFile(file, 'shared')).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(file.fd).toBe(-1)
  })
})

describe('lockFile', () => {
  const options = { timeout: 10_000 }

  test('waits for others', async () => {
    const held = tryLockFile(open(), 'shared')!
    const waiting = lockFile(open(), 'exclusive', options)
    held.release()
    const lock = await waiting
    expect(isFree()).toBe(false)
    lock.release()
    expect(isFree()).toBe(true)
  })

  test('closes the file when it gives up: after its time, by its signal, or where there is no lock', async () => {
    const held = tryLockFile(open(), 'exclusive')!
    const caller = new AbortController()
    const { signal } = caller
    const files = [open(), open(), open(O_PATH)] as const
    const waits = [
      lockFile(files[0], 'shared', { timeout: 1 }),
      lockFile(files[1], 'shared', { ...options, signal }),
      lockFile(files[2], 'shared', options),
    ]
    const outcomes = Promise.allSettled(waits)
    caller.abort(new Error('enough'))
    const reasons = (await outcomes).map((outcome) => outcome.status === 'rejected' && outcome.reason)
    expect(reasons).toEqual([
      expect.objectContaining({ code: 'ETIMEDOUT' }),
      expect.objectContaining({ message: 'enough' }),
      expect.objectContaining({ code: 'EBADF' }),
    ])
    const late = open()
    await expect(lockFile(late, 'shared', { ...options, signal })).rejects.toThrow('enough')
    expect([...files, late].map(({ fd }) => fd)).toEqual([-1, -1, -1, -1])
    held.release()
  })
})
