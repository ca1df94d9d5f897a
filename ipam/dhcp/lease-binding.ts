/** What a client's lease does to its interface, and when its sockets are open: the same for both protocols. */
import { isDeepStrictEqual } from 'node:util'
import { isErrno, type Netns } from '../../netlink/index.ts'
import type { Binding, BindingContext } from './binding.ts'
import { applyGrant, type Grant } from './grant.ts'
import { atPlace, GoneError, openPlace, type Whereabouts } from './place.ts'

/** Of either protocol. Moments are milliseconds of the timebase; null: never. */
export interface AnyLease {
  readonly address: string
  readonly prefixLength: number
  readonly server: string
  readonly renewAt: number | null
  readonly rebindAt: number | null
  readonly expiresAt: number | null
}

/** A client of either protocol. */
export interface AnyClient<L> {
  readonly state: string
  readonly lease: L | null
  readonly heard: string
  start(): void
  resume(lease: L, confirm?: boolean): void
  release(): void
  stop(): void
}

export abstract class LeaseBinding<L extends AnyLease, T extends { close(): void }> implements Binding {
  abstract readonly version: 4 | 6
  protected readonly where: Whereabouts
  protected readonly context: BindingContext
  #transport: T | undefined
  #offer: L | null = null
  /** Whether a container has had an address of it: from then on the interface is kept as the lease says. */
  #used = false
  /** Whose address and routes the interface has, as far as is known. */
  #applied: L | null = null
  #work: Promise<void> = Promise.resolve()

  constructor(where: Whereabouts, context: BindingContext) {
    this.where = where
    this.context = context
  }

  protected abstract get client(): AnyClient<L>
  /** @throws SocketError */
  protected abstract openTransport(netns: Netns): T
  protected abstract grantOf(lease: L): Grant

  get state(): string {
    return this.client.state
  }
  get heard(): string {
    return this.client.heard
  }
  get lease(): L | null {
    return this.client.lease
  }
  get offer(): L | null {
    return this.#offer
  }
  get used(): boolean {
    return this.#used
  }
  /** Undefined where the interface is as the lease says. */
  get applied(): L | null | undefined {
    return this.#applied === this.lease ? undefined : this.#applied
  }
  get grant(): Grant | null {
    const { lease } = this
    // One that was taken over may have ended already.
    const ended = lease !== null && lease.expiresAt !== null && this.context.time.now() >= lease.expiresAt
    return lease && !ended ? this.grantOf(lease) : null
  }
  get times() {
    return this.lease
  }
  get server(): string | undefined {
    return this.lease?.server
  }

  start(): void {
    this.client.start()
  }

  /**
   * Goes on where a program that was ended has left off.
   * @param applied what the interface has, where that program did not come to change it
   * @param confirm whether a server is to be asked first
   */
  resume(lease: L | null, applied: L | null | undefined, confirm: boolean): void {
    this.#used = true
    this.#applied = applied === undefined ? lease : applied
    if (lease) this.client.resume(lease, confirm)
    else this.start()
    if (applied !== undefined) this.#apply(lease)
  }

  /** Gives back what a program was about to accept when it was ended. */
  giveBack(offer: L): void {
    this.client.resume(offer)
    this.release()
  }

  release(): void {
    this.client.release()
    this.closeTransport()
  }

  stop(): void {
    this.client.stop()
    this.closeTransport()
  }

  settled(): Promise<void> {
    return this.#work
  }

  /** The transport, opened where it is not. @throws GoneError; SocketError */
  protected transport(): T {
    if (this.#transport) return this.#transport
    const netns = openPlace(this.where)
    try {
      this.#transport = this.openTransport(netns)
      return this.#transport
    } catch (error) {
      netns.close()
      throw this.#explain(error)
    }
  }

  protected closeTransport(): void {
    this.#transport?.close()
    this.#transport = undefined
  }

  #explain(error: unknown): unknown {
    return isErrno(error, 'ENODEV', 'ENXIO')
      ? new GoneError(`${this.where.path} has no interface ${this.where.ifName}`, { cause: error })
      : error
  }

  /** @throws GoneError, of which the keeper is told; SocketError */
  protected sendBy(send: (transport: T) => void): void {
    try {
      // An open socket keeps a namespace alive that nobody else has any more: its path tells.
      if (this.#transport) openPlace(this.where).close()
      send(this.transport())
    } catch (error) {
      // A socket that could not send is of no use for the next try, either.
      this.closeTransport()
      const reason = this.#explain(error)
      if (reason instanceof GoneError) queueMicrotask(() => this.context.events.gone(reason))
      throw reason
    }
  }

  /** What arrives: one message must not end the program that keeps everybody's leases. */
  protected guarded<A extends readonly unknown[]>(work: (...args: A) => void): (...args: A) => void {
    return (...args) => {
      try {
        work(...args)
      } catch (error) {
        this.context.events.count('internalError')
        this.context.log.error(`DHCP: a message could not be dealt with: ${(error as Error).stack}`)
      }
    }
  }

  // What clients tell.

  protected requesting(offer: L): void {
    this.#offer = offer
    this.context.events.changed()
  }

  protected declined(): void {
    this.#offer = null
    this.context.events.count('declined')
    this.context.events.changed()
  }

  protected bound(lease: L, previous: L | null): void {
    const { events, log } = this.context
    this.#offer = null
    const first = !this.#used
    this.#used = true
    events.count(previous ? 'renewed' : 'bound')
    // The first time the plugin that has asked does it; mostly there is nothing to do.
    const same = first || (this.#applied !== null && this.#isSame(this.#applied, lease))
    if (same) this.#applied = lease
    events.changed()
    if (!same) this.#apply(lease, previous ? 'changed' : undefined)
    log.info(`DHCP: ${lease.address}/${lease.prefixLength} ${previous ? 'renewed' : 'leased'}`, {
      ...this.#here,
      server: lease.server,
    })
    events.bound()
  }

  protected lost(lease: L, why: string): void {
    const { events, log } = this.context
    events.count(why)
    const reason = why === 'expired' ? 'the lease has ended' : this.heard
    log.error(`DHCP: ${lease.address} is not to be used any more: ${reason}`, {
      ...this.#here,
      server: lease.server,
    })
    events.changed()
    this.#apply(null)
  }

  get #here() {
    return { interface: this.where.ifName, netns: this.where.path }
  }

  /** Whether the interface is the same by both. */
  #isSame(one: L, other: L): boolean {
    return isDeepStrictEqual(this.grantOf(one), this.grantOf(other))
  }

  /**
   * Makes the interface as a lease says: one change after the other. What could not be done is done with the next one.
   * @param counts what is counted where the interface differed
   */
  #apply(lease: L | null, counts?: string): void {
    const { events, log } = this.context
    this.#work = this.#work.then(async () => {
      try {
        const [before, after] = [this.#applied, lease].map((one) => one && this.grantOf(one))
        const differs = await atPlace(this.where, ({ connection, link }) =>
          applyGrant(connection, link.index, before ?? null, after ?? null),
        )
        this.#applied = lease
        events.changed()
        if (differs && counts) events.count(counts)
      } catch (error) {
        if (error instanceof GoneError) {
          events.gone(error)
          return
        }
        events.count('applyFailed')
        log.error(`DHCP: what the server says could not be applied: ${(error as Error).message}`, this.#here)
      }
    })
  }
}
