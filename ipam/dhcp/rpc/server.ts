/** Serves a lease keeper on a unix socket, to our own plugin and to Go's. */
import type { Socket } from 'node:net'
import { CniError, codes } from '../../../cni/error.ts'
import type { Logger } from '../../../cni/plugin.ts'
import { within } from '../../../cni/within.ts'
import type { LeaseKeeper } from '../lease-keeper.ts'
import { Connection, type ConnectionOptions } from './connection.ts'
import { BUSY, statusLine } from './greeting.ts'
import { goMethods, ownMethods } from './methods.ts'
import { listenOnDescriptor, listenOnPath } from './unix-socket.ts'

export interface ServeKeeperOptions {
  /**
   * Where to listen: a path, whose directory is made (0700) and whose stale socket is replaced; or an inherited
   * descriptor of a socket that listens already (systemd socket activation).
   */
  readonly listen: { readonly path: string } | { readonly fd: number }
  readonly log?: Logger | undefined
  /** Connections at a time; more are told to come later. Default 1024. */
  readonly maxConnections?: number | undefined
  /** Milliseconds in which a peer has to say what it speaks. Default 5000. */
  readonly greetingTimeout?: number | undefined
  /** Milliseconds after which a connection without a call under way is closed. Default 60 000. */
  readonly idleTimeout?: number | undefined
}

export interface KeeperServer {
  /** The socket's path; null where it was inherited. */
  readonly path: string | null
  /**
   * Stops accepting and lets calls that are under way finish; those that have not within `grace` milliseconds (default
   * 5000) are aborted. Removes the socket if it is still ours. Safe to repeat. Never rejects.
   */
  close(grace?: number): Promise<void>
}

/** As systemd's unit of the Go daemon has it: `SocketMode=0660`. */
const MODE = 0o660
/** Milliseconds for calls to end that have been told to. */
const ABORTED = 500

class Connections {
  readonly #all = new Set<Connection>()
  readonly #max: number
  readonly #options: ConnectionOptions
  #finishing = false

  constructor(max: number, options: ConnectionOptions) {
    this.#max = max
    this.#options = options
  }

  add(socket: Socket): void {
    // Already accepted when the end began, or one too many.
    if (this.#finishing || this.#all.size >= this.#max) {
      socket.on('error', () => {})
      socket.write(statusLine(BUSY))
      socket.destroySoon()
      return
    }
    const connection = new Connection(socket, this.#options)
    this.#all.add(connection)
    void connection.closed.then(() => this.#all.delete(connection))
    void connection.run()
  }

  async finish(grace: number): Promise<void> {
    this.#finishing = true
    const all = [...this.#all]
    const finished = Promise.all(all.map((connection) => connection.finish()))
    await within(grace, finished)
    const reason = new CniError({ code: codes.tryAgainLater, msg: 'what keeps the leases is stopping' })
    for (const connection of this.#all) connection.abort(reason)
    await within(ABORTED, Promise.all(all.map(({ closed }) => closed)))
    for (const connection of this.#all) connection.destroy()
    await Promise.all(all.map(({ closed }) => closed))
  }
}

/**
 * Listens for plugins, and answers them by asking `keeper`. Who may connect is decided by the modes of the directory
 * (0700) and of the socket (0660): Node does not give away the descriptors that SO_PEERCRED could be asked of.
 * @throws CniError code 5 where it can't listen: somebody answers on the path already, or something that is no socket
 * is there
 */
export const serveKeeper = async (
  keeper: LeaseKeeper,
  options: ServeKeeperOptions,
): Promise<KeeperServer> => {
  const { listen, log, maxConnections = 1024, greetingTimeout = 5000, idleTimeout = 60_000 } = options
  // Loaded when needed: the same executable is a plugin that lives for milliseconds.
  const { createServer } = await import('node:net')
  const connections = new Connections(maxConnections, {
    ownMethods: ownMethods(keeper),
    goMethods: goMethods(keeper),
    greetingTimeout,
    idleTimeout,
    log,
  })
  const server = createServer((socket) => connections.add(socket))
  const path = 'path' in listen ? listen.path : null
  const socketPath = 'path' in listen ? await listenOnPath(server, listen.path, MODE) : undefined
  if ('fd' in listen) await listenOnDescriptor(server, listen.fd)
  server.on('error', (error) => log?.error('a connection could not be accepted', { error: error.message }))

  const stop = async (grace: number): Promise<void> => {
    try {
      await socketPath?.remove()
    } catch (error) {
      log?.warn('the socket could not be removed', { path, error: (error as Error).message })
    }
    server.close()
    await connections.finish(grace)
  }
  let stopping: Promise<void> | undefined
  return {
    path,
    close(grace = 5000) {
      stopping ??= stop(grace)
      return stopping
    },
  }
}
