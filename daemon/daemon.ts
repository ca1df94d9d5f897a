/** The daemon: every plugin behind one socket, the DHCP leases of the node, and an orderly end. */
import { CniError, codes } from '../cni/error.ts'
import type { Logger, Plugins } from '../cni/plugin.ts'
import { within } from '../cni/within.ts'
import { DEFAULT_SOCKET as DHCP_SOCKET } from '../ipam/dhcp/conf.ts'
import { type Daemon as DhcpDaemon, startDaemon as startDhcp } from '../ipam/dhcp/daemon.ts'
import { createDhcp } from '../ipam/dhcp/plugin.ts'
import { binding, type Descriptor } from '../native/binding.ts'
import { plugins as allPlugins } from '../plugins/index.ts'
import { connectionsWithin } from './capacity.ts'
import { Connection, type ConnectionOptions, type Exchange } from './connection.ts'
import { Deadlines } from './deadlines.ts'
import { Executor } from './execute.ts'
import { Hosts } from './hosts.ts'
import { type Listener, listen } from './listener.ts'
import { Metrics } from './metrics.ts'
import type { OperationLog } from './operation-log.ts'
import { maxDescriptors } from './process-facts.ts'
import {
  type Answer,
  type DaemonRequest,
  encodeGreeting,
  encodeWelcome,
  ProtocolError,
  VERSION,
} from './protocol.ts'
import { Scheduler } from './scheduler.ts'
import { statusOf } from './status.ts'
import { Thrift } from './thrift.ts'
import { Turnstile } from './turnstile.ts'

/** Where launchers look for it. */
export const DEFAULT_SOCKET = '/run/linkwright/linkwright.sock'

const MAX_CONNECTIONS = 2048
const MAX_AHEAD = 256
/** Milliseconds. */
const IDLE_TIMEOUT = 5000
const PRINT_TIMEOUT = 200_000
/** Callers listened to from one turn of the event loop on. */
const STARTED_AT_ONCE = 16
/** Milliseconds that requests under way have at the end. */
const GRACE = 7000
/** Milliseconds for what has been aborted to be undone. */
const ABORTED = 1250

/** A socket by its path, or one that was inherited listening. */
export type SocketPlace = { readonly path: string } | { readonly fd: number }

/** The DHCP keeper of the daemon. */
export interface DhcpOptions {
  /** Its socket, as configurations have it in `daemonSocketPath`. Default `/run/cni/dhcp.sock`. */
  readonly socketPath?: string | undefined
  /** An inherited descriptor of that socket. */
  readonly fd?: number | undefined
  /** Put before the paths of namespaces and of the socket: where the host's root is seen. Default: nothing. */
  readonly hostPrefix?: string | undefined
  /** Asks servers to broadcast. Default false. */
  readonly broadcast?: boolean | undefined
}

export interface StartOptions extends Pick<ConnectionOptions, 'stalled'> {
  /** Milliseconds in which a request has to be complete. Default 5000. */
  readonly idleTimeout?: number | undefined
  /** Milliseconds in which a launcher has to have printed a result. Default 200 000, what a launcher has for everything. */
  readonly printTimeout?: number | undefined
  /** Default `/run/linkwright/linkwright.sock`. */
  readonly socket?: SocketPlace | undefined
  /** null: none in this process; plugins ask whoever listens on the socket. Default: one. */
  readonly dhcp?: DhcpOptions | null | undefined
  /** Version of the software. */
  readonly software: string
  readonly log: Logger
  readonly operations: OperationLog
  readonly metrics?: Metrics | undefined
  readonly scheduler?: Scheduler | undefined
  /** Aborted when it is to start no more; has no part in what comes after. */
  readonly signal?: AbortSignal | undefined
  /** What it serves. Default: all plugins. */
  readonly plugins?: Plugins | undefined
  /** Connections at a time; others are told to do without. Default 2048, or what RLIMIT_NOFILE leaves room for. */
  readonly maxConnections?: number | undefined
}

export interface Daemon {
  readonly metrics: Metrics
  readonly scheduler: Scheduler
  /**
   * Ends it: removes the socket, tells newcomers to do without, lets requests finish for `grace` milliseconds (default
   * 7000), aborts the rest, which is undone, and closes everything. Leases stay. Never rejects. Safe to repeat: a later
   * call with less patience shortens the wait.
   */
  close(grace?: number): Promise<void>
}

/** The connections that are open. */
class Connections {
  readonly #all = new Set<Connection>()
  readonly #options: ConnectionOptions
  /** Hundreds may have been greeted by the time that JavaScript hears of them. */
  readonly #starting = new Turnstile(STARTED_AT_ONCE)

  constructor(options: ConnectionOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#all.size
  }

  async add(socket: Descriptor, greeted: boolean): Promise<void> {
    const connection = new Connection(socket, greeted, this.#options)
    this.#all.add(connection)
    const turn = this.#starting.pass()
    if (turn) await turn
    connection.start()
    await connection.closed
    this.#all.delete(connection)
  }

  /** When all are closed that are open by now. */
  async over(): Promise<void> {
    await Promise.all([...this.#all].map(({ closed }) => closed))
  }

  abort(reason: CniError): void {
    for (const connection of this.#all) connection.abort(reason)
  }

  destroy(): void {
    for (const connection of this.#all) connection.destroy()
  }
}

class RunningDaemon implements Daemon {
  readonly metrics: Metrics
  readonly scheduler: Scheduler
  readonly #log: Logger
  readonly #hosts: Hosts
  readonly #executor: Executor
  readonly #connections: Connections
  readonly #dhcp: DhcpDaemon | undefined
  readonly #thrift = new Thrift(() => void binding().trimHeap())
  readonly #software: string
  readonly #maxConnections: number
  /** Connections that are told to go on before they are counted. */
  readonly #ahead: number
  #listener: Listener | undefined
  #stopping: Promise<void> | undefined
  #hurry: () => void = () => {}

  constructor(options: StartOptions, dhcp: DhcpDaemon | undefined, dhcpSocket: string) {
    const { log, operations, software, plugins: served = allPlugins } = options
    const { idleTimeout = IDLE_TIMEOUT, printTimeout = PRINT_TIMEOUT } = options
    this.metrics = options.metrics ?? new Metrics()
    this.scheduler = options.scheduler ?? new Scheduler()
    const room = connectionsWithin(maxDescriptors(), this.scheduler.concurrency)
    const { maxConnections = Math.min(MAX_CONNECTIONS, room) } = options
    this.#log = log
    this.#software = software
    this.#dhcp = dhcp
    this.#maxConnections = maxConnections
    this.#ahead = Math.min(MAX_AHEAD, Math.floor(maxConnections / 8))
    const plugins: Plugins = dhcp
      ? new Map(served).set('dhcp', createDhcp({ keeper: dhcp.keeper, socketPath: dhcpSocket }))
      : served
    const { metrics, scheduler } = this
    // One alone waits for nobody but itself, and is quicker without a change of thread for each exchange.
    this.#hosts = new Hosts({ plugins, log, sync: () => scheduler.running <= 1 })
    this.#executor = new Executor({
      plugins,
      hosts: this.#hosts,
      scheduler,
      metrics,
      operations,
      thrift: this.#thrift,
      log,
      software,
    })
    this.#connections = new Connections({
      ...options,
      turnstile: new Turnstile(),
      idle: new Deadlines(idleTimeout),
      printing: new Deadlines(printTimeout),
      open: () => this.#isOpen(),
      serve: (request, descriptors, exchange) => this.#serve(request, descriptors, exchange),
      refused: (error) => {
        metrics.refused(error instanceof ProtocolError ? 'protocol' : 'resources')
        log.warn(`a connection was closed: ${error.message}`)
      },
    })
    metrics.gauge('running', () => scheduler.running)
    metrics.gauge('queued', () => scheduler.queued)
    metrics.gauge('connections', () => this.#connections.size)
    if (dhcp) metrics.gauge('leases', async () => (await dhcp.keeper.status()).leases)
  }

  #isOpen(): boolean {
    if (this.#stopping) return false
    // The newcomer is one of them already.
    if (this.#connections.size <= this.#maxConnections) return true
    this.metrics.refused('limit')
    return false
  }

  async #serve(
    request: DaemonRequest,
    descriptors: readonly Descriptor[],
    exchange: Exchange,
  ): Promise<Omit<Answer, 'acknowledge'> | null> {
    if (request.kind === 'execute') return await this.#executor.execute(request, descriptors, exchange)
    const stdout = `${JSON.stringify(await statusOf(this.metrics, this.#software))}\n`
    return { status: 0, stdout, stderr: '' }
  }

  async listen(where: SocketPlace): Promise<void> {
    const ahead = this.#ahead
    this.#listener = await listen({
      where,
      connected: (socket, greeted) => void this.#connected(socket, greeted),
      greeting: ahead > 0 ? { question: encodeGreeting(), answer: encodeWelcome(VERSION), ahead } : undefined,
      refused: (reason) => this.metrics.refused(reason),
      log: this.#log,
    })
  }

  async #connected(socket: Descriptor, greeted: boolean): Promise<void> {
    const over = this.#connections.add(socket, greeted)
    const { size } = this.#connections
    // Whoever may have to do without is told so here: as many may be on their way as wait, and as come after those.
    if (size >= this.#maxConnections - 2 * this.#ahead) this.#listener?.quick(false)
    await over
    if (!this.#stopping && this.#connections.size < this.#maxConnections / 2) this.#listener?.quick(true)
  }

  close(grace = GRACE): Promise<void> {
    if (this.#stopping) {
      const timer = setTimeout(() => this.#hurry(), grace)
      void this.#stopping.then(() => clearTimeout(timer))
    }
    this.#stopping ??= this.#stop(grace)
    return this.#stopping
  }

  async #retire(): Promise<void> {
    try {
      await this.#listener?.retire()
    } catch (error) {
      this.#log.warn('the socket could not be removed', { error: (error as Error).message })
    }
  }

  async #stop(grace: number): Promise<void> {
    const end = performance.now() + grace
    const hurried = new Promise<void>((resolve) => {
      this.#hurry = resolve
    })
    // Whoever has been welcomed by now is served.
    this.#listener?.quick(false)
    const finished = this.#retire().then(() => this.#connections.over())
    await within(grace, Promise.race([finished, hurried]))
    this.#connections.abort(
      new CniError({
        code: codes.tryAgainLater,
        msg: 'stopped before it was done: the daemon is stopping',
        details: 'what was done is undone: try again',
      }),
    )
    await within(ABORTED, this.#connections.over())
    this.#listener?.close()
    this.#connections.destroy()
    // A result that nobody has acknowledged is undone now, and no sooner: it may have been printed.
    await within(ABORTED, this.#connections.over())
    this.#thrift.close()
    await this.#dhcp?.close(Math.max(0, end - performance.now()))
    this.#hosts.close()
  }
}

/**
 * Starts the daemon.
 * @throws CniError code 5 where it can't listen, or somebody does already; code 11 where another process keeps the DHCP
 * leases; the signal's reason
 */
export const startDaemon = async (options: StartOptions): Promise<Daemon> => {
  const { dhcp, software, log, signal } = options
  const { socketPath = DHCP_SOCKET, ...keeping } = dhcp ?? {}
  const keeper =
    dhcp === null ? undefined : await startDhcp({ ...keeping, socketPath, software, log, signal })
  const daemon = new RunningDaemon(options, keeper, socketPath)
  try {
    await daemon.listen(options.socket ?? { path: DEFAULT_SOCKET })
    return daemon
  } catch (error) {
    await daemon.close(0)
    throw error
  }
}
