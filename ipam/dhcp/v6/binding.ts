/** A DHCPv6 client on an interface, and what it hears from routers before it begins. */
import { type address, type Netns, TimeoutError, waitForAddress } from '../../../netlink/index.ts'
import type { BindingContext } from '../binding.ts'
import type { Grant } from '../grant.ts'
import { LeaseBinding } from '../lease-binding.ts'
import { atPlace, GoneError, type OpenPlace, type Whereabouts } from '../place.ts'
import { clientSettings6, type Pace, type Settings } from '../settings.ts'
import type { Timer } from '../timebase.ts'
import { Client6 } from './client.ts'
import { grantOf, heardFrom, type LinkFacts, noFacts } from './grant.ts'
import type { Lease6 } from './lease.ts'
import type { RouterAdvertisement } from './router-advertisement.ts'
import { Transport6 } from './transport.ts'

/** Milliseconds for the link-local address to be free of doubt: one second, and a random part of another. */
const LINK_LOCAL_TIMEOUT = 5000

const NO_ROUTER = 'no router has advertised itself ("waitForRouter": false does without)'

export class Binding6 extends LeaseBinding<Lease6, Transport6> {
  readonly version = 6
  protected readonly client: Client6
  readonly #settings: Settings
  readonly #pace: Pace
  #facts: LinkFacts = noFacts
  /** Before the client begins: what is waited for, and what was heard of it. */
  #before: { readonly state: string; readonly heard: string } | null = null
  #preparing: AbortController | undefined
  /** A router has said that addresses are to be had by DHCPv6. */
  #isManaged = false
  #timer: Timer | undefined

  constructor(where: Whereabouts, settings: Settings, pace: Pace, context: BindingContext) {
    super(where, context)
    this.#settings = settings
    this.#pace = pace
    this.client = new Client6(clientSettings6(settings), {
      time: context.time,
      log: context.log,
      send: (message) => this.sendBy((transport) => transport.send(message)),
      isTaken: (taken, signal) => this.transport().isTaken(taken, signal),
      requesting: (offer) => this.requesting(offer),
      bound: (lease, previous) => this.bound(lease, previous),
      idle: () => this.closeTransport(),
      lost: (lease, why) => this.lost(lease, why),
      declined: () => this.declined(),
    })
  }

  /** What routers have said; noted with the lease. */
  get facts(): LinkFacts {
    return this.#facts
  }
  /** Takes over what an earlier program has heard. */
  remember(facts: LinkFacts): void {
    this.#facts = facts
  }

  override get state(): string {
    return this.#before?.state ?? this.client.state
  }
  override get heard(): string {
    return this.client.heard || (this.#before?.heard ?? '')
  }

  /** IPv6 on, a link-local address, a router that says that addresses are managed; then the client begins. */
  override start(): void {
    // Why the last try failed is what there is to tell until this one has come further.
    const heard = this.#before?.heard ?? ''
    this.#end()
    const preparing = new AbortController()
    this.#preparing = preparing
    this.#before = { state: 'STARTING', heard }
    this.#isManaged = false
    atPlace(this.where, (place) => this.#prepare(place, preparing.signal)).then(
      (own) => {
        if (!preparing.signal.aborted) this.#askRouters(own, 0)
      },
      (error: unknown) => {
        if (preparing.signal.aborted) return
        if (error instanceof GoneError) this.context.events.gone(error)
        else this.#failed(error as Error)
      },
    )
  }

  #failed(error: Error): void {
    this.context.log.error(`DHCPv6: ${this.where.ifName} could not be prepared: ${error.message}`)
    this.#before = { state: 'STARTING', heard: error.message }
    this.#timer = this.context.time.after(this.#pace.firstTimeout, () => this.start())
  }

  /** @returns the link-local address; null: none */
  async #prepare(
    { netns, connection, link }: OpenPlace,
    signal: AbortSignal,
  ): Promise<address.Address | null> {
    signal.throwIfAborted()
    const [outcome] = netns.writeSysctls([{ name: `net/ipv6/conf/${link.name}/disable_ipv6`, value: '0' }])
    if (outcome instanceof Error)
      throw new Error(`IPv6 can not be enabled: ${outcome.message}`, { cause: outcome })
    // The kernel asks routers, too, as soon as it has an address: their answer to that is heard already.
    this.transport()
    const isUsable = ({ family, scope, flags }: address.Address): boolean =>
      family === 6 && scope === 'link' && !flags.dadfailed && (!flags.tentative || flags.optimistic)
    try {
      const all = await waitForAddress({ netns, connection }, link.index, (own) => own.some(isUsable), {
        timeout: LINK_LOCAL_TIMEOUT,
        signal,
      })
      return all.find(isUsable) ?? null
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error
      // Without it nothing can be sent: each try will say so.
      this.context.log.warn(`DHCPv6: ${link.name} has no link-local address`)
      return null
    }
  }

  /** RFC 4861 6.3.7, RFC 7559: until one answers. */
  #askRouters(own: address.Address | null, tries: number): void {
    this.#before = { state: 'SOLICITING-ROUTERS', heard: this.#before?.heard || NO_ROUTER }
    if (this.#isManaged) {
      this.#begin()
      return
    }
    try {
      this.sendBy((transport) => transport.solicit(own))
    } catch (error) {
      this.#before = { state: 'SOLICITING-ROUTERS', heard: (error as Error).message }
    }
    if (!this.#settings.waitForRouter) {
      this.#begin()
      return
    }
    const { firstTimeout, maxTimeout } = this.#pace
    const wait = Math.min(firstTimeout * 2 ** tries, maxTimeout)
    this.#timer = this.context.time.after(wait, () => this.#askRouters(own, tries + 1))
  }

  #begin(): void {
    this.#end()
    this.client.start()
  }

  #advertised(advertisement: RouterAdvertisement, router: string): void {
    this.#facts = heardFrom(this.#facts, advertisement, router)
    if (!this.#before) return
    if (advertisement.managed) {
      this.#isManaged = true
      if (this.#before.state === 'SOLICITING-ROUTERS') this.#begin()
    } else
      this.#before = {
        state: this.#before.state,
        heard: `the router ${router} says that addresses are not managed by DHCPv6 (no M flag)`,
      }
  }

  #end(): void {
    this.#preparing?.abort(new Error('the DHCPv6 client has ended'))
    this.#preparing = undefined
    this.#timer?.cancel()
    this.#before = null
  }

  override release(): void {
    this.#end()
    super.release()
  }

  override stop(): void {
    this.#end()
    super.stop()
  }

  protected openTransport(netns: Netns): Transport6 {
    const { index, mac } = this.where
    return new Transport6({ netns, index, mac }, this.context.time, {
      message: this.guarded(this.client.receive.bind(this.client)),
      advertisement: this.guarded(this.#advertised.bind(this)),
    })
  }

  protected grantOf(lease: Lease6): Grant {
    return grantOf(lease, this.#facts, this.#settings, this.where.ifName)
  }
}
