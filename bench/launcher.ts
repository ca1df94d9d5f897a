/** Executing CNI plugins, timed by launch.c. */
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { JsonObject } from '../cni/types.ts'
import { Helper } from './helper.ts'
import type { Setting } from './setting.ts'

/** One execution of a plugin. */
export interface Execution {
  /** The folder of it and of what it delegates to. */
  readonly binDir: string
  readonly type: string
  readonly command: string
  readonly conf: JsonObject
  readonly containerId?: string | undefined
  readonly netns?: string | undefined
  /** Further variables. */
  readonly env?: Readonly<Record<string, string>> | undefined
}

export interface Executed {
  /** Milliseconds, from before the process is made until it has been waited for. */
  readonly took: number
  /** What it printed; null where that was nothing. */
  readonly json: JsonObject | null
}

/** The PATH of all programs: the Node that runs the bench first, as a shebang finds it; nothing that a developer's shell may have set. */
export const path = `${dirname(process.execPath)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`

export class Launcher {
  readonly #helper: Helper
  readonly #input: string
  readonly #output: string

  constructor({ launch, scratch }: Setting) {
    this.#helper = new Helper(launch)
    this.#input = join(scratch, 'stdin')
    this.#output = join(scratch, 'stdout')
  }

  /** Of the process that executes the plugins. */
  get pid(): number {
    return this.#helper.pid
  }

  /** The line that executes a plugin. */
  #line(execution: Execution, input: string, output: string): string {
    const { binDir, type, command, conf, containerId, netns, env } = execution
    writeFileSync(input, JSON.stringify(conf))
    const environment: Record<string, string | undefined> = {
      PATH: path,
      CNI_COMMAND: command,
      CNI_CONTAINERID: containerId,
      CNI_NETNS: netns,
      CNI_IFNAME: 'eth0',
      CNI_PATH: binDir,
      ...env,
    }
    const variables = Object.entries(environment).flatMap(([name, value]) =>
      value === undefined ? [] : [`${name}=${value}`],
    )
    return [join(binDir, type), input, output, ...variables].join('\t')
  }

  /** All at once. @returns milliseconds until the last one has ended @throws Error where one has failed */
  async runAll(executions: readonly Execution[]): Promise<number> {
    this.#helper.tell(
      executions.map(
        (execution, i) => `+${this.#line(execution, `${this.#input}-${i}`, `${this.#output}-${i}`)}`,
      ),
    )
    const [nanoseconds, failed] = (await this.#helper.ask('!')).split(' ').map(Number)
    if (failed !== 0) {
      const words = executions.map((_, i) => readFileSync(`${this.#output}-${i}`, 'utf8'))
      throw new Error(
        `${failed} of ${executions.length} failed: ${words.find((text) => text.includes('"code"'))}`,
      )
    }
    return nanoseconds! / 1e6
  }

  /** @throws Error when the plugin fails, with what it printed */
  async run(execution: Execution): Promise<Executed> {
    const { binDir, type, command } = execution
    const answer = await this.#helper.ask(this.#line(execution, this.#input, this.#output))
    const [nanoseconds, status] = answer.split(' ').map(Number)
    const printed = readFileSync(this.#output, 'utf8')
    if (status !== 0) throw new Error(`${binDir}/${type} ${command}: exit ${status}: ${printed}`)
    return {
      took: nanoseconds! / 1e6,
      json: printed.trim() === '' ? null : (JSON.parse(printed) as JsonObject),
    }
  }

  close(): Promise<void> {
    return this.#helper.close()
  }
}
