/** What a test starts ends with it; what `beforeAll` starts ends with the file. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, onTestFinished } from 'vitest'

type End = () => void | Promise<void>

const pending: End[] = []
afterAll(async () => {
  for (const end of pending.splice(0).reverse()) await end()
})

/** Calls `end` at the end of the running test, or of the file; the last one first. It has to be safe to repeat. */
export const atEnd = (end: End): void => {
  try {
    onTestFinished(end)
  } catch {
    // Not inside a test: afterAll does it.
    pending.push(end)
  }
}

/** A folder for a program's files, removed at the end. @returns its path */
export const temporaryFolder = (name: string): string => {
  const folder = mkdtempSync(join(tmpdir(), `linkwright-${name}-`))
  atEnd(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
