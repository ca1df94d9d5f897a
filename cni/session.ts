/** One operation on one attachment (or network): what its plugins share, opened when first used, closed at the end. */
import { Connection, type ConnectionOptions } from '../netlink/connection.ts'
import { during, isErrno } from '../netlink/error.ts'
import { LinkDeleter } from '../netlink/link-deleter.ts'
import { NETLINK_NETFILTER, Netns, NotANamespaceError } from '../netlink/netns.ts'
import { CniError, codes } from './error.ts'
import type { Exec } from './exec.ts'
import type { Clock, Logger, Plugins } from './plugin.ts'
import { UndoStack } from './undo.ts'

/** What stays open of the host's namespace. */
export interface HostConnections {
  readonly rtnetlink: Connection
  readonly nftables: Connection
  /** Deletes links of the host for all operations: those at the same time together. */
  readonly links: LinkDeleter
}

/** Where plugins run, and what they are given there: the same for many operations. */
export interface Host {
  /** What runs in process. Other types are executed from CNI_PATH. */
  readonly plugins: Plugins
  /** The namespace that plays the host. Default: the process's own. Stays open. */
  readonly hostNetns?: Netns | undefined
  /** Netlink on the calling thread: always, for a program that does one thing and exits, or when the function says so. */
  readonly sync?: ConnectionOptions['sync']
  /** Default: silence. */
  readonly log?: Logger | undefined
  readonly clock?: Clock | undefined
  /** Connections to the host's namespace that outlive an operation; see `openHost`. Default: opened for each. */
  readonly connections?: HostConnections | undefined
  /** What executed programs get besides the `CNI_*` variables; PATH finds them. Default: nothing. */
  readonly environment?: Readonly<Record<string, string>> | undefined
}

/** Names and paths of one operation, already validated. */
export interface Target {
  readonly containerId: string
  readonly ifName: string
  /** Empty where there is none. */
  readonly netnsPath: string
  /**
   * What is at `netnsPath`, where somebody else has opened it, whose view of the files may be another: the namespace,
   * which the session closes; or the error that opening it gave. Default: it is opened.
   */
  readonly netns?: Netns | Error | undefined
  /** CNI_ARGS. */
  readonly args: string
  /** CNI_PATH. */
  readonly path: string
  readonly netnsOverride: boolean
}

const nothing = (): void => {}
const silence: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing }
const systemClock: Clock = { now: () => Date.now() }
/** No thread of the program ever leaves the process's namespace, so its identity may be remembered. */
const ownNetns = Netns.current()
const noSocket = { fd: -1, close: nothing }

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** What the plugins of one operation share. Made by `dispatch` and `runChain`. */
export class Session {
  readonly host: Host
  readonly target: Target
  readonly undo = new UndoStack()
  readonly log: Logger
  readonly clock: Clock
  readonly hostNetns: Netns
  /** The container's namespace; null where there is none (any more). */
  readonly netns: Netns | null
  readonly exec: Exec
  /** Why {@link netns} is null. */
  readonly #whyGone: unknown
  #signal: AbortSignal | undefined
  #rtnetlink: Connection | undefined
  #nftables: Connection | undefined
  #links: LinkDeleter | undefined
  #container: Connection | undefined

  /** @throws CniError code 8 where CNI_NETNS is there but can't be opened */
  constructor(host: Host, target: Target, signal?: AbortSignal) {
    this.host = host
    this.target = target
    this.#signal = signal
    this.log = host.log ?? silence
    this.clock = host.clock ?? systemClock
    this.hostNetns = host.hostNetns ?? ownNetns
    const opened = openNetns(target)
    this.netns = opened instanceof Netns ? opened : null
    this.#whyGone = opened
    let exec: Exec | undefined
    // Loaded when the first program is run: most operations run none.
    this.exec = async (file, args, options) => {
      const { createExec } = await import('./spawn.ts')
      exec ??= createExec({
        hostNetns: this.hostNetns,
        environment: host.environment,
        signal: this.signal,
        guard: () => {
          this.guard()
          return this.undo.running
        },
      })
      return await exec(file, args, options)
    }
  }

  /** The caller's, or one that nobody aborts. */
  get signal(): AbortSignal {
    // One of its own each: Node takes many listeners on a shared one for a leak.
    this.#signal ??= new AbortController().signal
    return this.#signal
  }

  /** Stops what comes next once the caller has given up, unless it is what undoes. @throws CniError */
  readonly guard = (): void => {
    if (!this.#signal?.aborted || this.undo.running) return
    const { reason } = this.#signal
    if (reason instanceof CniError) throw reason
    throw new CniError({
      code: codes.internal,
      msg: `stopped before it was done: ${messageOf(reason)}`,
      cause: reason,
    })
  }

  /** Refuses a container that lives in the host's namespace, before anything is done there. @throws CniError code 8 */
  checkNetns(): void {
    if (this.netns && !this.target.netnsOverride && this.netns.equals(this.hostNetns))
      throw new CniError({
        code: codes.invalidNetns,
        msg: "plugin's netns and netns from CNI_NETNS should not be the same",
        details: 'set CNI_NETNS_OVERRIDE=1 if that is what you want',
      })
  }

  get rtnetlink(): Connection {
    this.#rtnetlink ??= this.host.connections?.rtnetlink.guarded(this.guard) ?? this.#connect(this.hostNetns)
    return this.#rtnetlink
  }
  /** Deletes a link of the host. */
  readonly deleteHostLink = async (index: number): Promise<void> => {
    this.guard()
    this.#links ??= this.host.connections?.links ?? new LinkDeleter(this.rtnetlink)
    await this.#links.delete(index)
  }
  get nftables(): Connection {
    this.#nftables ??=
      this.host.connections?.nftables.guarded(this.guard) ?? this.#connect(this.hostNetns, NETLINK_NETFILTER)
    return this.#nftables
  }
  /** Where the namespace is gone every exchange throws {@link gone}: asking for the connection alone is no error. */
  get container(): Connection {
    this.#container ??= this.netns
      ? this.#connect(this.netns)
      : new Connection(noSocket, {
          guard: () => {
            throw this.gone()
          },
        })
    return this.#container
  }

  /** Code 8: why there is no namespace. */
  gone(): CniError {
    const { netnsPath } = this.target
    const why = netnsPath === '' ? 'CNI_NETNS is empty' : messageOf(this.#whyGone)
    return new CniError({
      code: codes.invalidNetns,
      msg: `failed to open netns ${JSON.stringify(netnsPath)}: ${why}`,
      cause: this.#whyGone ?? undefined,
    })
  }

  #connect(netns: Netns, protocol?: number): Connection {
    const where = netns === this.hostNetns ? "the host's network namespace" : this.target.netnsPath
    try {
      return netns.connect({ protocol, sync: this.host.sync, guard: this.guard })
    } catch (error) {
      throw during(`open a netlink socket in ${where}`, error)
    }
  }

  /** Closes every handle. An open one would keep the container's namespace alive. */
  close(): void {
    if (!this.host.connections) {
      this.#rtnetlink?.close()
      this.#nftables?.close()
    }
    this.#container?.close()
    this.netns?.close()
  }
}

/** What opening says where there is no namespace (any more); the last is for sockets and devices. */
const noNamespace = ['ENOENT', 'ENOTDIR', 'ESRCH', 'ENXIO'] as const

/** A namespace, or why it is gone: nothing is there, or what a reboot left in its place. */
const openNetns = ({ netnsPath: path, netns }: Target): Netns | unknown => {
  if (path === '') return null
  try {
    if (netns instanceof Error) throw netns
    return netns ?? Netns.open(path)
  } catch (error) {
    if (error instanceof NotANamespaceError || isErrno(error, ...noNamespace)) return error
    throw new CniError({
      code: codes.invalidNetns,
      msg: `failed to open netns ${JSON.stringify(path)}: ${messageOf(error)}`,
      cause: error,
    })
  }
}
