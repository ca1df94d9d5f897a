import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { must } from '../../support/program.ts'

// The kernel sends nothing malformed, so the parser meets it in a program of its own.
test('the parser of replies stays inside of the datagram, whatever is in it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'linkwright-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const source = fileURLToPath(new URL('replies.cc', import.meta.url))
  const sanitize = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']
  const program = join(directory, 'replies')
  await must('c++', ['-std=c++20', '-O1', '-g', '-Wall', '-Wextra', ...sanitize, source, '-o', program])
  expect(await must(program, [])).toBe('')
}, 60_000)
