/** The resident daemon of a node that runs containerd, killed and started again as often as a test likes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { askStatus } from '../../../daemon/client.ts'
import type { DaemonStatus } from '../../../daemon/status.ts'
import { plainEnv } from '../../support/program.ts'
import type { PrivateHost } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'

const linkwright = fileURLToPath(new URL('../../../dist/cli/linkwright.cjs', import.meta.url))
/** Where launchers look for it. */
export const DAEMON_SOCKET = '/run/linkwright/linkwright.sock'
const LOG = '/run/linkwright.log'

/** A line of the daemon's log that is about an operation. */
export interface Operation {
  readonly plugin: string
  readonly verb: string
  readonly container: string | null
  /** 0: success. */
  readonly code: number
}

/** Lives in the process namespace of its host, and ends with that. */
export class NodeDaemon {
  readonly #host: PrivateHost
  #child: ChildProcess | null = null

  constructor(host: PrivateHost) {
    this.#host = host
  }

  /** Starts it, and waits until it serves. */
  async start(): Promise<void> {
    if (this.#child) throw new Error('the daemon runs already')
    const script = `exec "$1" daemon --no-dhcp 2>>${LOG}`
    const [file, args] = this.#host.command('sh', ['-c', script, 'sh', linkwright])
    const child = spawn(file, args, { env: plainEnv, stdio: 'ignore' })
    child.once('close', () => {
      if (this.#child === child) this.#child = null
    })
    this.#child = child
    // Pods come and go meanwhile, which leaves it little of the machine.
    const serves = () => {
      if (this.#child !== child) throw new Error(this.log)
      return this.status()
    }
    await eventually('the daemon serves', serves, 30_000)
  }

  /** Sends a signal, and waits for the end. @returns exit status, or the signal that ended it */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | NodeJS.Signals> {
    const child = this.#child
    if (!child?.pid) throw new Error('the daemon does not run')
    // What was started is nsenter, which waits for the process that it has made in the namespace.
    const pid = Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8'))
    const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
    process.kill(pid, signal)
    const [status, by] = await closed
    return by ?? status ?? 0
  }

  /** What it says of itself. @throws CniError where none answers */
  status(): Promise<DaemonStatus> {
    return askStatus(this.#host.file(DAEMON_SOCKET))
  }

  /** What it printed, over all of its lives. */
  get log(): string {
    return readFileSync(this.#host.file(LOG), 'utf8')
  }

  /** What its log says that it has done, over all of its lives. */
  operations(): Operation[] {
    return this.log
      .split('\n')
      .filter((line) => line.includes('"message":"operation"'))
      .map((line) => JSON.parse(line) as Operation)
  }
}
