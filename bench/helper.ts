/** A C program of this folder, spoken to in lines: one question, one answer. Ends when its input does. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** Nothing that is measured takes longer. */
const DEADLINE = 60_000

export class Helper {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(program: string) {
    this.#child = spawn(program, [], { stdio: ['pipe', 'pipe', 'inherit'], env: {} })
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]()
    // A program that is gone shows by the answer that does not come.
    this.#child.stdin!.on('error', () => {})
  }

  get pid(): number {
    return this.#child.pid!
  }

  /** Says something that is not answered. */
  tell(lines: readonly string[]): void {
    this.#child.stdin!.write(lines.map((line) => `${line}\n`).join(''))
  }

  /** @returns what follows `ok` in the answer. @throws Error with what follows `error`, or when no answer comes */
  async ask(line: string): Promise<string> {
    this.tell([line])
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer to: ${line.slice(0, 80)}`)), DEADLINE)
    })
    try {
      const { value, done } = await Promise.race([this.#lines.next(), late])
      if (done) throw new Error(`a program of the bench ended (${this.#child.exitCode ?? 'by a signal'})`)
      if (!value.startsWith('ok ')) throw new Error(value.replace(/^error /, ''))
      return value.slice(3)
    } finally {
      clearTimeout(timer)
    }
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'close')
    this.#child.stdin!.end()
    this.#child.kill('SIGKILL')
    await gone
  }
}
