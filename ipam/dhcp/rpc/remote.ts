/** A lease keeper behind a socket: ours, or Go's daemon. */
import { CniError, codes } from '../../../cni/error.ts'
import { parseResult } from '../../../cni/result.ts'
import type { AttachmentId, Json, JsonObject, Result } from '../../../cni/types.ts'
import { currentVersion } from '../../../cni/version.ts'
import { stopped } from '../../lock.ts'
import type { KeeperStatus, KeptLease, LeaseCall, LeaseKeeper } from '../lease-keeper.ts'
import { dial, type Peer } from './dial.ts'
import { KeeperCannotTell } from './errors.ts'
import { readLeases, readStatus } from './fields.ts'
import { ConnectionLost, ProtocolError } from './incoming.ts'
import { ownCall } from './own-rpc.ts'

export { KeeperCannotTell, KeeperUnreachable, type UnreachableReason } from './errors.ts'

export interface RemoteKeeperOptions {
  /** Milliseconds for connecting and the greeting. Default 10 000: systemd may have to start it first. */
  readonly connectTimeout?: number | undefined
  /** Milliseconds for every call but `allocate`, which takes as long as its signal lets it. Default 60 000. */
  readonly callTimeout?: number | undefined
}

/** The words of {@link LeaseKeeper}, by the names that errors call them, which are Go's. */
const names = {
  allocate: 'DHCP.Allocate',
  check: 'DHCP.Check',
  release: 'DHCP.Release',
  gc: 'DHCP.GC',
  status: 'DHCP.Status',
  list: 'DHCP.List',
} as const
type Method = keyof typeof names

/** A call: how it is made where our keeper answers, and where Go's daemon does. */
interface Call<T> {
  readonly params?: JsonObject | undefined
  read(json: Json): T
  go(peer: Peer): Promise<T>
}

const jsonOf = ({ containerId, ifName, netns, args, conf }: LeaseCall): JsonObject => ({
  containerId,
  ifName,
  netns,
  args,
  conf,
})

const readResult = (json: Json): Result => {
  try {
    return parseResult(json, currentVersion)
  } catch (error) {
    // Code 7 is about configurations.
    const { msg, details } = CniError.from(error)
    throw new CniError({ code: codes.decoding, msg, details, cause: error })
  }
}
const nothing = (): void => {}

/**
 * The keeper that listens on a unix socket. Every call makes a connection of its own, and any of them may throw
 * {@link KeeperUnreachable} (code 50), a CniError of code 11 where the keeper goes away in the middle of it or does not
 * answer, or the keeper's own CniError.
 *
 * Where Go's daemon listens, `allocate` and `release` are its own, and its errors are worded as Go's plugin words them:
 * `error calling DHCP.Allocate: no more tries` (code 11; any other text 999). `check` and `list` throw
 * {@link KeeperCannotTell} once it has answered the greeting; `gc` does nothing; `status` says pid 0, version `go`.
 */
export class RemoteKeeper implements LeaseKeeper {
  readonly path: string
  readonly #connectTimeout: number
  readonly #callTimeout: number

  constructor(path: string, { connectTimeout = 10_000, callTimeout = 60_000 }: RemoteKeeperOptions = {}) {
    this.path = path
    this.#connectTimeout = connectTimeout
    this.#callTimeout = callTimeout
  }

  /**
   * @param signal closes the connection, upon which our keeper gives up. Go's daemon goes on and may get the lease all
   * the same: release it after
   */
  allocate(call: LeaseCall, signal?: AbortSignal): Promise<Result> {
    return this.#call('allocate', signal, {
      params: jsonOf(call),
      read: readResult,
      async go(peer) {
        const { goAllocate } = await import('./go-calls.ts')
        return goAllocate(peer, call)
      },
    })
  }

  /** @throws KeeperCannotTell where Go's daemon listens: that it does is all that can be known without making a lease */
  check(call: LeaseCall): Promise<Result> {
    return this.#timed('check', {
      params: jsonOf(call),
      read: readResult,
      go: () => this.#cannot('tell a lease without making one'),
    })
  }

  release(call: LeaseCall): Promise<void> {
    return this.#timed('release', {
      params: jsonOf(call),
      read: nothing,
      async go(peer) {
        const { goRelease } = await import('./go-calls.ts')
        return goRelease(peer, call)
      },
    })
  }

  gc(network: string, valid: readonly AttachmentId[]): Promise<void> {
    const ids = valid.map(({ containerId, ifName }) => ({ containerId, ifName }))
    return this.#timed('gc', { params: { network, valid: ids }, read: nothing, go: async () => {} })
  }

  status(): Promise<KeeperStatus> {
    return this.#timed('status', {
      read: readStatus,
      go: async () => ({ pid: 0, version: 'go', leases: 0, counters: {} }),
    })
  }

  /** @throws KeeperCannotTell where Go's daemon listens */
  list(): Promise<readonly KeptLease[]> {
    return this.#timed('list', { read: readLeases, go: () => this.#cannot('list its leases') })
  }

  async #cannot(what: string): Promise<never> {
    throw new KeeperCannotTell(this.path, what)
  }

  async #timed<T>(method: Method, call: Call<T>): Promise<T> {
    const controller = new AbortController()
    const late = () =>
      controller.abort(
        new CniError({
          code: codes.tryAgainLater,
          msg: `error calling ${names[method]}: no answer within ${this.#callTimeout} ms`,
        }),
      )
    const timer = setTimeout(late, this.#callTimeout)
    try {
      return await this.#call(method, controller.signal, call)
    } finally {
      clearTimeout(timer)
    }
  }

  async #call<T>(method: Method, signal: AbortSignal | undefined, call: Call<T>): Promise<T> {
    const peer = await dial(this.path, { timeout: this.#connectTimeout, signal })
    const stop = () => peer.stream.destroy()
    signal?.addEventListener('abort', stop)
    try {
      if (signal?.aborted) throw stopped(signal)
      if (peer.speaks === 'go') return await call.go(peer)
      return call.read(await ownCall(peer, method, call.params ?? {}))
    } catch (error) {
      if (signal?.aborted) throw stopped(signal)
      if (error instanceof ConnectionLost) throw lost(method, error)
      const broken = error instanceof ProtocolError
      throw broken ? malformed(method, error) : CniError.from(error, `error calling ${names[method]}: `)
    } finally {
      signal?.removeEventListener('abort', stop)
      stop()
    }
  }
}

const lost = (method: Method, cause: ConnectionLost): CniError =>
  new CniError({
    code: codes.tryAgainLater,
    msg: `error calling ${names[method]}: ${cause.message}`,
    details: 'what keeps the leases went away in the middle of the call: try again when it is back',
    cause,
  })

const malformed = (method: Method, cause: ProtocolError): CniError =>
  new CniError({ code: codes.decoding, msg: `error calling ${names[method]}: ${cause.message}`, cause })
