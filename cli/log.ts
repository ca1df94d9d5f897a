import { writeSync } from 'node:fs'
import type { Logger } from '../cni/plugin.ts'

/** Warnings and errors as lines on standard error, headed by `name`. */
export const stderrLogger = (name: string): Logger => {
  const line = (message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
    const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${JSON.stringify(value)}`)
    try {
      writeSync(2, `${name}: ${message}${rest.join('')}\n`)
    } catch {
      // Nobody listens; that is no reason to fail.
    }
  }
  const nothing = (): void => {}
  return { debug: nothing, info: nothing, warn: line, error: line }
}
