import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { native, refusal } from './support.ts'

describe('errors of system calls', () => {
  test('carry errno, its name and the call', () => {
    const error = refusal(() => native.open('/does/not/exist', 0, 0))
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({ message: 'open: ENOENT', errno: 2, code: 'ENOENT', syscall: 'open' })
    expect(error.stack).toContain('errors.test.ts')
  })

  test('are values where one of several things could not be opened', () => {
    const [missing, bad] = native.openInNetns(null, [
      { path: '/does/not/exist', flags: 0 },
      { domain: 9999, type: 1, protocol: 0 },
    ])
    expect(missing).toMatchObject({ errno: 2, syscall: 'open' })
    expect(bad).toMatchObject({ errno: 97, code: 'EAFNOSUPPORT', syscall: 'socket' })
  })

  test('have the names of the system headers', () => {
    const macros = execFileSync('cc', ['-dM', '-E', '-include', 'errno.h', '-xc', '/dev/null']).toString()
    const numbers = new Map<number, string[]>()
    for (const [, name, number] of macros.matchAll(/^#define (E[A-Z0-9]+) (\d+)$/gm))
      numbers.set(Number(number), [...(numbers.get(Number(number)) ?? []), name!])
    expect(numbers.size).toBeGreaterThan(130)
    for (const [number, names] of numbers) expect(names).toContain(native.errnoName(number))
  })

  test('have a name even where Linux has none', () => {
    expect(native.errnoName(95)).toBe('EOPNOTSUPP')
    expect(native.errnoName(11)).toBe('EAGAIN')
    expect(native.errnoName(41)).toBe('E41')
    expect(native.errnoName(0)).toBe('E0')
  })
})
