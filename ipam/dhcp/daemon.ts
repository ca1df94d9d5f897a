/** A keeper that others can reach: its journal is its own, and its socket is open. */
import { CniError, codes } from '../../cni/error.ts'
import { leasesOf } from './conf.ts'
import { Journal } from './journal.ts'
import { Keeper, type KeeperOptions } from './keeper.ts'
import { takeJournal } from './one-shot.ts'
import { type KeeperServer, serveKeeper } from './rpc/server.ts'

/** Milliseconds for plugins that began without a keeper: an ADD may wait so long for its server. */
const PATIENCE = 30_000

export interface DaemonOptions extends Omit<KeeperOptions, 'journal'> {
  /** Of the socket, as the plugin's `daemonSocketPath` has it. Its leases are noted beside it. */
  readonly socketPath: string
  /** An inherited descriptor of the socket, which listens already (systemd socket activation). */
  readonly fd?: number | undefined
  /** Aborted when it is to start no more. */
  readonly signal?: AbortSignal | undefined
}

export interface Daemon {
  readonly keeper: Keeper
  /** Ends it, and waits `grace` milliseconds for calls under way. No lease is given back. Safe to repeat. */
  close(grace?: number): Promise<void>
}

/**
 * Starts a keeper on a socket, with the leases that an earlier one has left. Those are taken over while the first
 * callers wait.
 * @throws CniError code 5 where it can't listen, or somebody does already; code 11 where another keeper has the journal; the
 * signal's reason
 */
export const startDaemon = async ({ socketPath, fd, signal, ...options }: DaemonOptions): Promise<Daemon> => {
  const folder = `${options.hostPrefix ?? ''}${leasesOf(socketPath)}`
  const held = await takeJournal(folder, PATIENCE, signal)
  if (!held)
    throw new CniError({
      code: codes.tryAgainLater,
      msg: `another DHCP daemon keeps the leases in ${folder}`,
      details:
        'there can be one for each socket; or a plugin has been at work for long without a daemon, and will be done soon',
    })
  const journal = new Journal(folder)
  const keeper = new Keeper({ ...options, journal })
  let server: KeeperServer | undefined
  const close = async (grace?: number): Promise<void> => {
    await server?.close(grace)
    await keeper.stop()
    held.release()
  }
  try {
    journal.tidy()
    const adopted = keeper.adopt()
    const listen = fd === undefined ? { path: `${options.hostPrefix ?? ''}${socketPath}` } : { fd }
    server = await serveKeeper(keeper, { listen, log: options.log })
    await adopted
    signal?.throwIfAborted()
  } catch (error) {
    await close(0)
    throw error
  }
  return { keeper, close }
}
