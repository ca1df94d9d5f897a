import { writeSync } from 'node:fs'
import { logLine } from '../cni/log-line.ts'
import type { Logger } from '../cni/plugin.ts'

/** Warnings and errors as lines on standard error, headed by `name`. */
export const stderrLogger = (name: string): Logger => {
  const line = (message: string, fields?: Readonly<Record<string, unknown>>): void => {
    try {
      writeSync(2, logLine(name, message, fields))
    } catch {
      // Nobody listens; that is no reason to fail.
    }
  }
  const nothing = (): void => {}
  return { debug: nothing, info: nothing, warn: line, error: line }
}
