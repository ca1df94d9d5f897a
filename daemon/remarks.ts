import { logLine } from '../cni/log-line.ts'
import type { Logger } from '../cni/plugin.ts'

/** Bytes of remarks that a launcher prints at most. */
const MAX = 64 << 10

/**
 * What a plugin remarks while it works: for the daemon's own log, and for the standard error of the launcher. What it
 * quotes is for the launcher alone, whose caller has it anyway: it may hold secrets.
 */
export class Remarks {
  readonly logger: Logger
  #text = ''

  constructor(type: string, log: Logger) {
    const line =
      (level: 'warn' | 'error') =>
      (message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
        const { quoted, ...own } = fields
        log[level](message, { ...own, plugin: type })
        if (this.#text.length < MAX) this.#text += logLine(type, message, fields).slice(0, MAX)
      }
    this.logger = {
      debug: (message, fields) => log.debug(message, fields),
      info: (message, fields) => log.info(message, fields),
      warn: line('warn'),
      error: line('error'),
    }
  }

  /** Warnings and errors, a line each, as the executable of the plugin prints them. */
  get text(): string {
    return this.#text
  }
}
