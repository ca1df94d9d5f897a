/** A program that serves while others are measured. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { path } from './launcher.ts'

/** Milliseconds for one to be ready. */
const DEADLINE = 30_000
/** Of what it prints, the end is kept. */
const MOST_PRINTED = 16_384

/** What a process has in memory. */
export interface Memory {
  /** Resident set, MiB. */
  readonly rss: number
  /** The same, of pages that several processes have in theirs its share only (PSS), MiB. */
  readonly pss: number
  /** Of the resident set what is no file's, and only this process has, MiB. */
  readonly anonymous: number
  readonly threads: number
}

/** A field of a file of /proc. */
const numberIn = (file: string, name: string): number => {
  const found = new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(file, 'utf8'))
  if (!found) throw new Error(`${file} has no ${name}`)
  return Number(found[1])
}

export class Service {
  readonly #child: ChildProcess
  readonly #name: string
  #printed = ''

  private constructor(file: string, args: readonly string[]) {
    this.#name = file
    // Where the bench is killed, nobody else would end it.
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', file, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: path },
    })
    for (const stream of [this.#child.stdout!, this.#child.stderr!])
      stream.on('data', (data) => {
        this.#printed = (this.#printed + data).slice(-MOST_PRINTED)
      })
    this.#child.on('error', () => {})
  }

  /**
   * @param ready asked again and again until it says so; told what was printed so far
   * @throws Error where it ends before, or is not ready in time
   */
  static async start(
    file: string,
    args: readonly string[],
    ready: (printed: string) => boolean | Promise<boolean>,
  ): Promise<Service> {
    const service = new Service(file, args)
    const end = performance.now() + DEADLINE
    try {
      while (!(await ready(service.#printed))) {
        if (service.#hasEnded || performance.now() > end) throw new Error('it does not serve')
        await pause(10)
      }
    } catch (error) {
      await service.stop()
      throw new Error(`${file} ${args.join(' ')}: ${(error as Error).message}: ${service.#printed}`)
    }
    return service
  }

  /** The end of what it has printed. */
  get printed(): string {
    return this.#printed
  }

  get #hasEnded(): boolean {
    const { exitCode, signalCode, pid } = this.#child
    return exitCode !== null || signalCode !== null || pid === undefined
  }

  /** @throws Error where it has ended */
  memory(): Memory {
    if (this.#hasEnded) throw new Error(`${this.#name} has ended: ${this.#printed}`)
    const folder = `/proc/${this.#child.pid}`
    const mebibytes = (name: string): number => numberIn(`${folder}/smaps_rollup`, name) / 1024
    return {
      rss: mebibytes('Rss'),
      pss: mebibytes('Pss'),
      anonymous: mebibytes('Anonymous'),
      threads: numberIn(`${folder}/status`, 'Threads'),
    }
  }

  /** Ends it. Safe to repeat. */
  async stop(): Promise<void> {
    if (this.#hasEnded) return
    const gone = once(this.#child, 'close')
    this.#child.kill('SIGKILL')
    await gone
  }
}
