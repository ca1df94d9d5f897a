import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { plainEnv } from '../program.ts'
import type { Space } from '../space.ts'
import { atEnd, temporaryFolder } from './ending.ts'
import { Log } from './journal.ts'

/** How a server is started. */
export interface Command {
  readonly file: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>> | undefined
  /** It serves from when it prints this. */
  readonly ready: RegExp
  /** Milliseconds until then. Default 10 000. */
  readonly deadline?: number | undefined
}

/** A server program in a namespace, in the foreground. Killed at the end of the test that made it. */
export class Server {
  /** What it prints, over all of its lives, and a line `# … has ended: …` at the end of each. */
  readonly log: Log = new Log()
  /** Its files, removed when it is gone for good. */
  protected readonly folder: string
  readonly #space: Space
  #child: ChildProcess | null = null

  /** @internal `space` must not have a process namespace of its own: signals would not get there. */
  constructor(space: Space, name: string) {
    this.#space = space
    this.folder = temporaryFolder(name)
    // Registered after the folder, so before it goes.
    atEnd(() => this.kill())
  }

  /** Null while it does not run. */
  get pid(): number | null {
    return this.#child?.pid ?? null
  }

  /** Starts it, and waits until it serves. @throws Error with what it printed, where it ends before */
  protected async launch({ file, args, env, ready, deadline }: Command): Promise<void> {
    if (this.#child) throw new Error(`${file} runs already`)
    // The signal is for the day the test process itself is killed and nobody is left to end it.
    const command = this.#space.command('setpriv', ['--pdeathsig', 'KILL', file, ...args])
    const from = this.log.length
    const child = spawn(...command, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...plainEnv, ...env } })
    this.#child = child
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', (line) => this.log.push(line))
    const ended = `# ${file} has ended: `
    child.on('error', (error) => this.log.push(`${ended}${error.message}`))
    child.on('close', (status, signal) => {
      if (this.#child === child) this.#child = null
      this.log.push(`${ended}${signal ?? `exit ${status}`}`)
    })
    const what = `${file} serves`
    const line = await this.log.find(what, (one) => ready.test(one) || one.startsWith(ended), {
      from,
      deadline,
    })
    if (line.startsWith(ended)) throw new Error(this.log.lines.slice(from).join('\n'))
  }

  /** Ends it as a service manager does, with SIGTERM; it has 5 seconds. Safe to repeat. */
  async stop(): Promise<void> {
    const timer = setTimeout(() => this.#child?.kill('SIGKILL'), 5000)
    await this.#end('SIGTERM')
    clearTimeout(timer)
  }

  /** Ends it with SIGKILL. Safe to repeat. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (!child || child.pid === undefined) return
    const closed = once(child, 'close')
    child.kill(signal)
    await closed
  }
}
