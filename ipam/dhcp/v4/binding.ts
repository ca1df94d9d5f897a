/** A DHCPv4 client on an interface: its sockets while it talks, and what its lease changes on the interface. */
import { isErrno } from '../../../netlink/index.ts'
import type { Binding, BindingContext } from '../binding.ts'
import { applyGrant, type Grant } from '../grant.ts'
import { atPlace, GoneError, openPlace, type Whereabouts } from '../place.ts'
import { clientSettings, type Pace, type Settings } from '../settings.ts'
import { Client4, type Destination, type Loss } from './client.ts'
import { grantOf } from './grant.ts'
import type { Lease4 } from './lease.ts'
import type { Message } from './message.ts'
import { Transport4 } from './transport.ts'

export class Binding4 implements Binding {
  readonly version = 4
  readonly #where: Whereabouts
  readonly #settings: Settings
  readonly #context: BindingContext
  readonly #client: Client4
  #transport: Transport4 | undefined
  #offer: Lease4 | null = null
  /** Whether a container has had an address of it: from then on the interface is kept as the lease says. */
  #used = false
  #work: Promise<void> = Promise.resolve()

  constructor(where: Whereabouts, settings: Settings, pace: Pace, context: BindingContext) {
    this.#where = where
    this.#settings = settings
    this.#context = context
    this.#client = new Client4(clientSettings(settings, where.mac, pace), {
      time: context.time,
      log: context.log,
      send: (message, destination) => this.#send(message, destination),
      isTaken: (address, signal) => this.#open().isTaken(address, signal),
      requesting: (offer) => {
        this.#offer = offer
        context.events.changed()
      },
      bound: (lease, previous) => this.#bound(lease, previous),
      lost: (lease, why) => this.#lost(lease, why),
      declined: () => {
        this.#offer = null
        context.events.count('declined')
        context.events.changed()
      },
    })
  }

  get state(): string {
    return this.#client.state
  }
  get heard(): string {
    return this.#client.heard
  }
  get lease(): Lease4 | null {
    return this.#client.lease
  }
  get offer(): Lease4 | null {
    return this.#offer
  }
  get used(): boolean {
    return this.#used
  }
  get grant(): Grant | null {
    const { lease } = this.#client
    // One that was taken over may have ended already.
    const ended = lease !== null && lease.expiresAt !== null && this.#context.time.now() >= lease.expiresAt
    return lease && !ended ? grantOf(lease, this.#settings) : null
  }
  get times() {
    return this.#client.lease
  }
  get server(): string | undefined {
    return this.#client.lease?.server
  }

  start(): void {
    this.#client.start()
  }

  /** Goes on where a program that was ended has left off. @param confirm whether a server is to be asked first */
  resume(lease: Lease4 | null, confirm: boolean): void {
    this.#used = true
    if (lease) this.#client.resume(lease, confirm)
    else this.#client.start()
  }

  /** Gives back what a program was about to accept when it was ended. */
  giveBack(offer: Lease4): void {
    this.#client.resume(offer)
    this.release()
  }

  release(): void {
    this.#client.release()
    this.#close()
  }

  stop(): void {
    this.#client.stop()
    this.#close()
  }

  settled(): Promise<void> {
    return this.#work
  }

  #open(): Transport4 {
    if (this.#transport) return this.#transport
    const { index, mac } = this.#where
    const netns = openPlace(this.#where)
    try {
      this.#transport = new Transport4({ netns, index, mac }, this.#context.time, (message, senderMac) =>
        this.#receive(message, senderMac),
      )
      return this.#transport
    } catch (error) {
      netns.close()
      throw isErrno(error, 'ENODEV', 'ENXIO')
        ? new GoneError(`${this.#where.path} has no interface ${this.#where.ifName}`, { cause: error })
        : error
    }
  }

  /** One message must not end the program that keeps everybody's leases. */
  #receive(message: Message, senderMac: string): void {
    try {
      this.#client.receive(message, senderMac)
    } catch (error) {
      this.#context.events.count('internalError')
      this.#context.log.error(`DHCP: a message could not be dealt with: ${(error as Error).stack}`)
    }
  }

  #close(): void {
    this.#transport?.close()
    this.#transport = undefined
  }

  #send(message: Uint8Array, destination: Destination): void {
    try {
      this.#open().send(message, destination)
    } catch (error) {
      // A socket that could not send is of no use for the next try, either.
      this.#close()
      const gone = isErrno(error, 'ENODEV', 'ENXIO')
        ? new GoneError('the interface is gone', { cause: error })
        : error
      if (gone instanceof GoneError) queueMicrotask(() => this.#context.events.gone(gone))
      throw gone
    }
  }

  #bound(lease: Lease4, previous: Lease4 | null): void {
    const { events, log } = this.#context
    this.#offer = null
    const first = !this.#used
    this.#used = true
    events.count(previous ? 'renewed' : 'bound')
    events.changed()
    const after = grantOf(lease, this.#settings)
    const before = previous && grantOf(previous, this.#settings)
    if (previous?.address !== lease.address) this.#announce(lease.address)
    // The first time the plugin that has asked does it.
    if (!first) this.#apply(before, after, previous ? 'renewed' : 'bound')
    log.info(`DHCP: ${lease.address}/${lease.prefixLength} ${previous ? 'renewed' : 'leased'}`, {
      interface: this.#where.ifName,
      netns: this.#where.path,
      server: lease.server,
    })
    events.bound()
    // Nothing is heard until T1, and an open socket would keep the namespace alive.
    queueMicrotask(() => {
      if (this.#client.state === 'BOUND') this.#close()
    })
  }

  #announce(address: string): void {
    try {
      this.#open().announce(address)
    } catch (error) {
      this.#context.log.warn(`DHCP: ${address} could not be announced: ${(error as Error).message}`)
    }
  }

  #lost(lease: Lease4, why: Loss): void {
    const { events, log } = this.#context
    events.count(why)
    log.error(
      `DHCP: ${lease.address} is not to be used any more: ${why === 'expired' ? 'the lease has ended' : this.heard}`,
      {
        interface: this.#where.ifName,
        netns: this.#where.path,
        server: lease.server,
      },
    )
    events.changed()
    this.#apply(grantOf(lease, this.#settings), null, 'lost')
  }

  /** One change after the other. */
  #apply(before: Grant | null, after: Grant | null, why: string): void {
    const { events, log } = this.#context
    this.#work = this.#work.then(async () => {
      try {
        const differs = await atPlace(this.#where, ({ connection, link }) =>
          applyGrant(connection, link.index, before, after),
        )
        if (differs && why === 'renewed') events.count('changed')
      } catch (error) {
        if (error instanceof GoneError) {
          events.gone(error)
          return
        }
        events.count('applyFailed')
        log.error(`DHCP: what the server says could not be applied: ${(error as Error).message}`, {
          interface: this.#where.ifName,
          netns: this.#where.path,
        })
      }
    })
  }
}
