import { mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { errnoName } from '../../../netlink/error.ts'
import { must } from '../../support/program.ts'
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

  test('have the names of the system headers, and those of netlink errors', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'linkwright-'))
    onTestFinished(() => rmSync(directory, { recursive: true }))
    const table = fileURLToPath(new URL('../../../native/src/errno-names.inc', import.meta.url))
    const source = `
      #include <errno.h>
      #include <stdio.h>
      #define X(name) printf("%d %s\\n", name, #name);
      int main(void) {
      #include "${table}"
      }`
    const program = join(directory, 'names')
    await must('cc', ['-xc', '-', '-o', program], { input: source })
    const names = (await must(program, [])).trim().split('\n')
    const macros = await must('cc', ['-dM', '-E', '-include', 'errno.h', '-xc', '/dev/null'])
    const numbers = new Set([...macros.matchAll(/^#define E[A-Z0-9]+ (\d+)$/gm)].map(([, number]) => number))
    expect(numbers.size).toBeGreaterThan(130)
    expect(new Set(names.map((line) => line.split(' ')[0]))).toEqual(numbers)
    const known = new Set(Object.values(constants.errno))
    for (const line of names) {
      const [number, name] = line.split(' ')
      if (known.has(Number(number))) expect(errnoName(Number(number))).toBe(name)
    }
  })
})
