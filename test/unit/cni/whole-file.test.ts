import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { writeWhole } from '../../../cni/whole-file.ts'

describe('a whole file', () => {
  let folder: string
  const at = (name: string) => join(folder, name)
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'whole-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  test('takes the place of another one, for its owner alone', () => {
    writeFileSync(at('a'), 'old', { mode: 0o644 })
    writeWhole(at('a'), at('.a'), 'new')
    expect(readFileSync(at('a'), 'utf8')).toBe('new')
    expect(statSync(at('a')).mode & 0o777).toBe(0o600)
    expect(existsSync(at('.a'))).toBe(false)
  })

  test('is written though somebody was killed before', () => {
    writeFileSync(at('.a'), 'ha')
    writeWhole(at('a'), at('.a'), 'whole')
    expect(readFileSync(at('a'), 'utf8')).toBe('whole')
    expect(existsSync(at('.a'))).toBe(false)
  })

  test('does not follow a link in the place of its draft', () => {
    writeFileSync(at('precious'), 'mine')
    symlinkSync(at('precious'), at('.a'))
    writeWhole(at('a'), at('.a'), 'whole')
    expect(readFileSync(at('precious'), 'utf8')).toBe('mine')
    expect(readFileSync(at('a'), 'utf8')).toBe('whole')
  })

  test('leaves no draft where it can not take its place', () => {
    mkdirSync(at('a'))
    expect(() => writeWhole(at('a'), at('.a'), 'whole')).toThrow(/EISDIR|ENOTEMPTY|EEXIST/)
    expect(existsSync(at('.a'))).toBe(false)
  })

  test('tells where its folder is missing', () => {
    expect(() => writeWhole(at('no/a'), at('no/.a'), 'whole')).toThrow(/ENOENT/)
  })
})
