/** Serves a lease keeper on a unix socket, to our own plugin and to Go's. */
import type { Logger } from '../../../cni/plugin.ts'
import type { LeaseKeeper } from '../lease-keeper.ts'

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

/**
 * Listens for plugins, and answers them by asking `keeper`. Who may connect is decided by the modes of the directory
 * (0700) and of the socket (0660).
 * @throws CniError code 5 where it can't listen: somebody answers on the path already, or something that is no socket
 * is there
 */
export const serveKeeper = async (
  _keeper: LeaseKeeper,
  _options: ServeKeeperOptions,
): Promise<KeeperServer> => {
  throw new Error('not there yet')
}
