/** The daemon's log, which never holds it up. */
import { write as writeFile, writeSync } from 'node:fs'
import type { Logger } from '../cni/plugin.ts'

/** Bytes that may wait for a reader of the log that does not keep up. */
const LIMIT = 1 << 20
/** Milliseconds until a full pipe or a full disk is tried again: what waits then goes on where it was cut. */
const again: { readonly [code: string]: number } = { EAGAIN: 20, ENOSPC: 500, EDQUOT: 500 }

export interface LogWriterOptions {
  /** Bytes that may wait; lines beyond are dropped, and counted. Default 1 MiB. */
  readonly limit?: number | undefined
}

/**
 * Writes lines to a descriptor beside the event loop: a journal that hangs must not stop containers. Lines that come
 * while one is written go together.
 */
export class LogWriter {
  readonly #fd: number
  readonly #limit: number
  #lines: string[] = []
  #size = 0
  #dropped = 0
  #underWay: Buffer | undefined
  #broken = false
  #idle: (() => void)[] = []

  constructor(fd: number, { limit = LIMIT }: LogWriterOptions = {}) {
    this.#fd = fd
    this.#limit = limit
  }

  /** @param line with its end */
  readonly write = (line: string): void => {
    if (this.#broken) return
    if (this.#size + line.length > this.#limit) {
      this.#dropped++
      return
    }
    this.#lines.push(line)
    this.#size += line.length
    if (!this.#underWay) this.#next()
  }

  /** Resolves when everything is written, or nobody reads any more. */
  flush(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#underWay) this.#idle.push(resolve)
      else resolve()
    })
  }

  #next(): void {
    if (this.#dropped > 0 && !this.#broken) {
      this.#lines.push(lineOf('warn', 'the log could not keep up', { dropped: this.#dropped }))
      this.#dropped = 0
    }
    if (this.#lines.length === 0) {
      this.#underWay = undefined
      for (const resolve of this.#idle.splice(0)) resolve()
      return
    }
    this.#underWay = Buffer.from(this.#lines.join(''))
    this.#lines = []
    this.#size = 0
    this.#send()
  }

  #send(): void {
    writeFile(this.#fd, this.#underWay!, (error, written) => {
      const pause = again[error?.code ?? '']
      if (pause !== undefined) {
        setTimeout(() => this.#send(), pause)
        return
      }
      // Nobody listens; that is no reason to end.
      if (error) {
        this.#broken = true
        this.#lines = []
      }
      const rest = error ? undefined : this.#underWay!.subarray(written)
      if (rest && rest.length > 0) {
        this.#underWay = rest
        this.#send()
      } else this.#next()
    })
  }
}

const lineOf = (level: string, message: string, fields: Readonly<Record<string, unknown>> = {}): string =>
  `${JSON.stringify({ time: new Date().toISOString(), level, message, ...fields })}\n`

/** One JSON object a line, with the time. What is only of use to who changes the program is left out. */
export const jsonLogger = (write: (line: string) => void): Logger => {
  const at =
    (level: string) =>
    (message: string, fields?: Readonly<Record<string, unknown>>): void =>
      write(lineOf(level, message, fields))
  return { debug: () => {}, info: at('info'), warn: at('warn'), error: at('error') }
}

/** Standard error, at once. For a program that has nothing better to do, or is about to end. */
export const writeStderr = (text: string): void => {
  try {
    writeSync(2, text)
  } catch {
    // Nobody listens; that is no reason to end.
  }
}
