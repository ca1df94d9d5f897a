/** The daemon of a private host, executed launchers, and strace on the daemon, which tampers with its system calls. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { atEnd, temporaryFolder } from '../../support/dhcp/ending.ts'
import type { PrintedError, PrintedResult } from '../../support/plugin.ts'
import { type Finished, plainEnv } from '../../support/program.ts'
import type { Container, PrivateHost } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'
import { Resident } from '../daemon-command/resident.ts'
import { type Call, callsIn } from '../faults/executed.ts'

const dist = (path: string): string => fileURLToPath(new URL(`../../../dist/cni/${path}`, import.meta.url))

/** Writes down what it is executed for, and what there is then, where somebody wants to know; and does it. */
const standIn = `#!/bin/sh
folder=\${0%/*}
echo "$CNI_COMMAND" >>"$folder/executed"
[ ! -e "$folder/look" ] || sh "$folder/look" >>"$folder/seen" 2>&1
exec '${dist('linkwright-cni')}' "$@"
`

/** Tries for one call. */
const TRIES = 20

/** What a launcher made of a call. */
export interface Served extends Finished {
  readonly result: PrintedResult | null
  readonly error: PrintedError | null
  /** What the standalone program was executed for, in order. */
  readonly executed: readonly string[]
}

export interface CallOptions {
  readonly type?: string | undefined
  readonly containerId?: string | undefined
  /** Default: that of {@link ServedHost}. */
  readonly container?: Container | undefined
  readonly started?: ((pid: number) => void) | undefined
  /** Shell words that execute the launcher, "$0". */
  readonly script?: string | undefined
  /** The daemon's socket. Default: that of the host's own daemon. */
  readonly socket?: string | undefined
}

/** strace on threads of a process that runs. */
export class Tracer {
  readonly #child: ChildProcess
  readonly #file: string
  readonly #over: Promise<unknown>

  private constructor(child: ChildProcess, file: string) {
    this.#child = child
    this.#file = file
    this.#over = once(child, 'close')
    atEnd(() => this.detach())
  }

  /** @param args arguments of strace: whom it looks at, for what, and what it does then */
  static async attach(args: readonly string[]): Promise<Tracer> {
    const file = join(temporaryFolder('trace'), 'trace')
    const child = spawn('strace', ['-o', file, ...args], {
      env: plainEnv,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const tracer = new Tracer(child, file)
    let said = ''
    await new Promise<void>((resolve, reject) => {
      child.stderr!.on('data', (data) => {
        said += data
        if (said.match(/attached/g)?.length === args.filter((word) => word === '-p').length) resolve()
      })
      void tracer.#over.then(() => reject(new Error(`strace: ${said}`)))
    })
    return tracer
  }

  get lines(): string[] {
    return readFileSync(this.#file, 'utf8').split('\n')
  }

  /** Lets it go on untraced. Safe to repeat. */
  async detach(): Promise<void> {
    this.#child.kill('SIGTERM')
    await this.#over
  }
}

/** A system call of the daemon. */
export interface DaemonCall extends Call {
  /** Which of its threads, in the order of their making; the main one is 0. */
  readonly thread: number
}

export const whereIs = ({ thread, name, count, text }: DaemonCall): string =>
  `thread ${thread}: ${name} ${count} ${text}`

/** Message types of rtnetlink go in fours: new, delete, get, set. A transaction of nf_tables begins with type 16. */
const asksOnly = (text: string): boolean => {
  const type = Number(/nlmsg_type=(0x[0-9a-f]+)/.exec(text)?.[1])
  return type >= 0x100 || type % 4 === 2
}

/**
 * What changes links, addresses, routes and rules, makes or removes a reservation, or is the daemon's answer: between two
 * of them an end at any time leaves the same. A setting goes with its interface, or stays on purpose; what host-local does
 * to its files has a sweep of its own, which needs no daemon (test/kernel/ipam/killed.test.ts).
 */
const changing = ['sendto', 'sendmsg', 'link', 'unlink']
const changes = ({ name, text }: Call): boolean => {
  if (/ = -1 E|\.linkwright-new"\)/.test(text)) return false
  return name !== 'sendto' || (text.includes('nlmsg_type') && !asksOnly(text))
}

/** Whether a process is dead already, and only its parent has yet to hear of it. */
const isEnding = (pid: number): boolean => {
  try {
    return /\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return true
  }
}

/** A host whose daemon serves launchers that lie beside the real standalone program. */
export class ServedHost {
  readonly host: PrivateHost
  readonly container: Container
  readonly daemon: Resident
  readonly #conf: Readonly<Record<string, unknown>>
  readonly #folder = temporaryFolder('launchers')

  constructor(
    host: PrivateHost,
    container: Container,
    conf: Readonly<Record<string, unknown>>,
    daemon: Resident = new Resident(host),
  ) {
    this.host = host
    this.container = container
    this.#conf = conf
    this.daemon = daemon
    copyFileSync(dist('linkwright-launcher'), join(this.#folder, 'linkwright-launcher'))
    writeFileSync(join(this.#folder, 'linkwright-cni'), standIn, { mode: 0o755 })
    for (const type of ['bridge', 'portmap', 'tuning'])
      symlinkSync('linkwright-launcher', join(this.#folder, type))
  }

  /** Whether the daemon is at its end, or has come to it. */
  async hasDied(): Promise<boolean> {
    const { pid } = this.daemon
    if (pid !== null && !isEnding(pid)) return false
    await eventually('the daemon has ended', () => this.daemon.pid === null)
    return true
  }

  /** From now on the standalone program begins with a look at the host. @param script of the shell */
  look(script: string): void {
    writeFileSync(join(this.#folder, 'look'), script)
  }

  /** What all those looks have shown. */
  get seen(): string {
    return readFileSync(join(this.#folder, 'seen'), 'utf8')
  }

  get pid(): number {
    if (this.daemon.pid === null) throw new Error('the daemon does not run')
    return this.daemon.pid
  }

  async start(): Promise<void> {
    // One thread beside the main one: how many calls each has made before is the same every time then.
    if (this.daemon.pid === null) await this.daemon.start(['--no-dhcp'], { UV_THREADPOOL_SIZE: '1' })
  }

  /** Executes a launcher as a runtime does. */
  async call(
    command: string,
    more: Readonly<Record<string, unknown>> = {},
    {
      type = this.#conf.type as string,
      containerId = 'cid-1',
      container = this.container,
      ...options
    }: CallOptions = {},
  ): Promise<Served> {
    const log = join(this.#folder, 'executed')
    rmSync(log, { force: true })
    const launcher = join(this.#folder, type)
    const [file, args] = options.script ? ['sh', ['-c', options.script, launcher]] : [launcher, []]
    const finished = await this.host.run(file, args, {
      input: JSON.stringify({ ...this.#conf, ...more }),
      started: options.started,
      env: {
        ...plainEnv,
        CNI_COMMAND: command,
        CNI_CONTAINERID: containerId,
        CNI_NETNS: container.sandbox,
        CNI_IFNAME: 'eth0',
        CNI_PATH: dist('bin'),
        ...(options.socket === undefined ? {} : { LINKWRIGHT_SOCKET: options.socket }),
      },
    })
    const printed = finished.stdout === '' ? null : JSON.parse(finished.stdout)
    return {
      ...finished,
      result: finished.status === 0 ? printed : null,
      error: finished.status === 0 ? null : printed,
      executed: existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : [],
    }
  }

  get #threads(): string[] {
    return readdirSync(`/proc/${this.pid}/task`).sort((a, b) => Number(a) - Number(b))
  }

  /** The same by the daemon: what was done without it is undone, and tried again. */
  async byDaemon(
    command: string,
    ...rest: [Readonly<Record<string, unknown>>?, CallOptions?]
  ): Promise<Served> {
    for (let tries = TRIES; tries > 0; tries--) {
      const done = await this.call(command, ...rest)
      if (done.executed.length === 0) return done
      if (command === 'ADD') await this.call('DEL', ...rest)
    }
    throw new Error(`the daemon was never reached for ${command}`)
  }

  /**
   * The calls by which the daemon changes anything for a verb, each thread's in order.
   * @param again what is before another try
   */
  async changes(command: string, again: () => Promise<unknown>): Promise<DaemonCall[]> {
    for (let tries = TRIES; tries > 0; tries--) {
      const tracer = await Tracer.attach(['-f', '-p', `${this.pid}`, '-e', `trace=${changing.join(',')}`])
      const done = await this.call(command)
      const threads = this.#threads
      await tracer.detach()
      if (done.executed.length > 0) {
        await again()
        continue
      }
      if (done.error) throw new Error(done.stdout)
      return threads
        .flatMap((id, thread) => {
          const own = tracer.lines.filter((line) => line.startsWith(`${id} `))
          const lines = own.map((line) => line.replace(/^\d+ +/, ''))
          return callsIn(lines, changing).map((call) => ({ ...call, thread }))
        })
        .filter(changes)
    }
    throw new Error(`the daemon was never reached for ${command}`)
  }

  /** From now on the daemon's call is tampered with: `error=ENOMEM` or `signal=SIGKILL`. */
  tamper({ name, count, thread }: DaemonCall, how: string): Promise<Tracer> {
    const id = this.#threads[thread]!
    return Tracer.attach(['-p', id, '-e', `trace=${name}`, '-e', `inject=${name}:${how}:when=${count}`])
  }

  /**
   * Tries until the daemon has come to a call: a busy machine may keep it from greeting in time, and launchers go on alone
   * then.
   * @param attempt null where it has not come to it
   */
  async until<T>(call: DaemonCall, attempt: () => Promise<T | null>): Promise<T> {
    for (let tries = TRIES; tries > 0; tries--) {
      const done = await attempt()
      if (done !== null) return done
    }
    throw new Error(`the daemon has never come to ${whereIs(call)}`)
  }
}
