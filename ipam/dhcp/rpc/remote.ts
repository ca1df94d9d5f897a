/** A lease keeper behind a socket: ours, or Go's daemon. */
import type { AttachmentId, Result } from '../../../cni/types.ts'
import type { KeeperStatus, KeptLease, LeaseCall, LeaseKeeper } from '../lease-keeper.ts'

export { KeeperCannotTell, KeeperUnreachable, type UnreachableReason } from './errors.ts'

export interface RemoteKeeperOptions {
  /** Milliseconds for connecting and the greeting. Default 10 000: systemd may have to start it first. */
  readonly connectTimeout?: number | undefined
}

/**
 * The keeper that listens on a unix socket. Every call makes a connection of its own, and any of them may throw
 * {@link KeeperUnreachable} (code 50), a CniError of code 11 where the keeper goes away in the middle of it, or the
 * keeper's own CniError.
 *
 * Where Go's daemon listens, `allocate` and `release` are its own, and its errors are worded as Go's plugin words them:
 * `error calling DHCP.Allocate: no more tries` (code 11; any other text 999). `check` and `list` throw
 * {@link KeeperCannotTell} once it has answered the greeting; `gc` does nothing; `status` says pid 0, version `go`.
 */
export class RemoteKeeper implements LeaseKeeper {
  readonly path: string

  constructor(path: string, _options: RemoteKeeperOptions = {}) {
    this.path = path
  }

  /**
   * @param signal closes the connection, upon which our keeper gives up. Go's daemon goes on and may get the lease all
   * the same: release it after
   */
  allocate(_call: LeaseCall, _signal?: AbortSignal): Promise<Result> {
    throw new Error('not there yet')
  }

  check(_call: LeaseCall): Promise<Result> {
    throw new Error('not there yet')
  }

  release(_call: LeaseCall): Promise<void> {
    throw new Error('not there yet')
  }

  gc(_network: string, _valid: readonly AttachmentId[]): Promise<void> {
    throw new Error('not there yet')
  }

  status(): Promise<KeeperStatus> {
    throw new Error('not there yet')
  }

  list(): Promise<readonly KeptLease[]> {
    throw new Error('not there yet')
  }
}
