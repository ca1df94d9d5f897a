/** The resident daemon, from its options to its end. */
import { rmSync } from 'node:fs'
import { CniError } from '../cni/error.ts'
import type { Logger } from '../cni/plugin.ts'
import { type Daemon, startDaemon } from '../daemon/daemon.ts'
import { jsonLogger, LogWriter } from '../daemon/log-writer.ts'
import { Metrics } from '../daemon/metrics.ts'
import type { MetricsAddress } from '../daemon/metrics-address.ts'
import { OperationLog } from '../daemon/operation-log.ts'
import { Scheduler } from '../daemon/scheduler.ts'
import { ActivationError, inheritedSockets, Notifier, type SocketRole } from '../daemon/systemd.ts'
import { binding } from '../native/binding.ts'
import { startIsOver, stayQuick } from './lean.ts'
import { writePidFile } from './pid-file.ts'
import { packageVersion } from './version.ts'

/** What the command line says; checked. */
export interface RunOptions {
  readonly socket: string
  /** null: no leases are kept. */
  readonly dhcp: {
    readonly socketPath?: string | undefined
    readonly hostPrefix?: string | undefined
    readonly broadcast?: boolean | undefined
  } | null
  readonly metrics?: MetricsAddress | undefined
  readonly concurrency?: number | undefined
  readonly queue?: number | undefined
  readonly pidFile?: string | undefined
}

const stopSignals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const
/** Milliseconds that operations have to finish; what is left after them is aborted and undone. */
const GRACE = 7000
/** Milliseconds after which nothing is waited for any more: service managers and operators are told 10 s. */
const END = 9700
/** Milliseconds for the last lines of the log. */
const LAST_LINES = 200

/** Meant for this process, and not for what it may start. */
const handedOver = [
  'LISTEN_PID',
  'LISTEN_FDS',
  'LISTEN_FDNAMES',
  'NOTIFY_SOCKET',
  'WATCHDOG_USEC',
  'WATCHDOG_PID',
]

const wordsOf = (error: unknown): string => {
  if (error instanceof CniError) return error.details ? `${error.msg}; ${error.details}` : error.msg
  return error instanceof Error ? error.message : String(error)
}

/** Resolves with `work`, or after a time. Never rejects. */
const within = async (milliseconds: number, work: Promise<unknown>): Promise<void> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds)
  })
  await Promise.race([work.catch(() => {}), late])
  clearTimeout(timer)
}

/** Each signal that asks for the end, in order. */
class StopSignals {
  readonly first: Promise<string>
  /** Told of those after the first. */
  again: () => void = () => {}
  readonly #listener: (name: string) => void

  constructor() {
    let tell: ((name: string) => void) | undefined
    this.first = new Promise((resolve) => {
      tell = resolve
    })
    this.#listener = (name) => {
      tell?.(name)
      if (tell) tell = undefined
      else this.again()
    }
    for (const name of stopSignals) process.on(name, this.#listener)
  }

  close(): void {
    for (const name of stopSignals) process.off(name, this.#listener)
  }
}

/** What has been opened, to be closed last first. */
type Closers = (() => void | Promise<void>)[]

const closeAll = async (closers: Closers, log: Logger): Promise<void> => {
  for (const close of closers.splice(0).reverse())
    try {
      await close()
    } catch (error) {
      log.warn('at the end', { error: wordsOf(error) })
    }
}

interface Surroundings {
  /** Aborted when the end is asked for. */
  readonly signal: AbortSignal
  readonly sockets: ReadonlyMap<SocketRole, number>
  readonly log: Logger
  /** Of the log. */
  readonly write: (line: string) => void
  readonly closers: Closers
}

const open = async (options: RunOptions, surroundings: Surroundings): Promise<Daemon> => {
  const { dhcp, metrics: where, concurrency, queue, pidFile } = options
  const { signal, sockets, log, write, closers } = surroundings
  const metrics = new Metrics()
  const software = packageVersion()
  // Before anything is counted.
  const text = where && (await import('../daemon/metrics-registry.ts')).createRegistry(metrics, software)
  const inherited = sockets.get('linkwright')
  const daemon = await startDaemon({
    socket: inherited === undefined ? { path: options.socket } : { fd: inherited },
    dhcp: dhcp && { ...dhcp, fd: sockets.get('dhcp') },
    software,
    log,
    operations: new OperationLog(write),
    metrics,
    scheduler: new Scheduler({ concurrency, queue }),
    signal,
  })
  closers.push(() => daemon.close(0))
  let served: string | undefined
  if (where && text) {
    const server = await (await import('../daemon/metrics-server.ts')).serveMetrics(text, where, log)
    closers.push(() => server.close())
    served = server.address
  }
  if (pidFile !== undefined) {
    writePidFile(pidFile)
    closers.push(() => rmSync(pidFile, { force: true }))
  }
  log.info('ready', {
    pid: process.pid,
    version: software,
    socket: inherited === undefined ? options.socket : 'inherited',
    dhcp: dhcp !== null,
    leases: await metrics.read('leases'),
    metrics: served,
    concurrency: daemon.scheduler.concurrency,
    queue: daemon.scheduler.queue,
  })
  return daemon
}

/** Tells the service manager once in a while how it goes, as long as that changes. */
const reportStatus = (daemon: Daemon, notifier: Notifier): NodeJS.Timeout => {
  let last = ''
  const report = (): void => {
    const done = daemon.metrics.operations().reduce((sum, { count }) => sum + count, 0)
    const status = `${done} operations done, ${daemon.scheduler.running} running, ${daemon.scheduler.queued} waiting`
    if (status !== last) void notifier.status(status)
    last = status
  }
  return setInterval(report, 10_000).unref()
}

const stop = async (daemon: Daemon, signals: StopSignals, { closers, log }: Surroundings): Promise<void> => {
  const forced = new Promise<void>((resolve) => {
    let asked = 0
    signals.again = () => {
      // What is aborted is undone, which takes a moment. Whoever has no patience for that either asks once more.
      if (asked++ > 0) resolve()
      else void daemon.close(0)
    }
  })
  const work = (async () => {
    await daemon.close(GRACE)
    await closeAll(closers, log)
  })()
  await within(END, Promise.race([work, forced]))
}

/** @returns the exit status */
const run = async (options: RunOptions, writer: LogWriter, err: (text: string) => void): Promise<number> => {
  const log = jsonLogger(writer.write)
  const { env, pid } = process
  const environment = { ...env }
  for (const name of handedOver) delete env[name]
  const signals = new StopSignals()
  const closers: Closers = []
  const asked = new AbortController()
  void signals.first.then((name) => asked.abort(name))
  try {
    const sockets = inheritedSockets(environment, pid)
    if (sockets.has('dhcp') && !options.dhcp)
      throw new ActivationError('a socket for dhcp was handed over, and --no-dhcp says that it is not served')
    const notifier = new Notifier({ environment, pid, log })
    closers.push(() => notifier.close())
    const surroundings = { signal: asked.signal, sockets, log, write: writer.write, closers }
    const daemon = await open(options, surroundings)
    await Promise.race([notifier.ready('ready'), signals.first])
    startIsOver()
    const reports = reportStatus(daemon, notifier)
    const name = await signals.first
    clearInterval(reports)
    log.info(`stopping: ${name}`, { running: daemon.scheduler.running, queued: daemon.scheduler.queued })
    // A service manager that does not listen is not waited for: the time runs.
    void notifier.stopping('what runs may finish')
    await stop(daemon, signals, surroundings)
    log.info('stopped')
    return 0
  } catch (error) {
    await closeAll(closers, log)
    if (asked.signal.aborted && error === asked.signal.reason) {
      log.info(`stopped: ${asked.signal.reason}, before it was ready`)
      return 0
    }
    await within(LAST_LINES, writer.flush())
    err(`linkwright daemon: ${wordsOf(error)}\n`)
    return 1
  } finally {
    await within(LAST_LINES, writer.flush())
    signals.close()
  }
}

/**
 * Runs until SIGTERM, SIGINT or SIGHUP; then takes nothing new and lets what runs finish. A second signal ends that too,
 * and undoes what is not done. Ends the process: with status 0, or 1 where it could not start.
 */
export const runDaemon = async (options: RunOptions, err: (text: string) => void): Promise<never> => {
  stayQuick()
  // Not by process.exit: that waits for the threads of the pool, and one of them may hang in a write to a log that nobody
  // reads, or in a file system that does not answer.
  return binding().exit(await run(options, new LogWriter(2), err))
}
