/** A DHCPv4 client on an interface. */
import type { Netns } from '../../../netlink/index.ts'
import type { BindingContext } from '../binding.ts'
import type { Grant } from '../grant.ts'
import { LeaseBinding } from '../lease-binding.ts'
import type { Whereabouts } from '../place.ts'
import { clientSettings, type Pace, type Settings } from '../settings.ts'
import { Client4 } from './client.ts'
import { grantOf } from './grant.ts'
import type { Lease4 } from './lease.ts'
import { Transport4 } from './transport.ts'

export class Binding4 extends LeaseBinding<Lease4, Transport4> {
  readonly version = 4
  protected readonly client: Client4
  readonly #settings: Settings

  constructor(where: Whereabouts, settings: Settings, pace: Pace, context: BindingContext) {
    super(where, context)
    this.#settings = settings
    this.client = new Client4(clientSettings(settings, where.mac, pace), {
      time: context.time,
      log: context.log,
      send: (message, destination) => this.sendBy((transport) => transport.send(message, destination)),
      isTaken: (address, signal) => this.transport().isTaken(address, signal),
      requesting: (offer) => this.requesting(offer),
      bound: (lease, previous) => this.bound(lease, previous),
      // Nothing is heard until T1, and an open socket would keep the namespace alive.
      idle: () => this.closeTransport(),
      lost: (lease, why) => this.lost(lease, why),
      declined: () => this.declined(),
    })
  }

  protected openTransport(netns: Netns): Transport4 {
    const { index, mac, lower } = this.where
    const receive = this.guarded(this.client.receive.bind(this.client))
    const below = lower && {
      netns: lower.inContainer ? netns : this.context.hostNetns,
      index: lower.index,
    }
    return new Transport4({ netns, index, mac, lower: below }, this.context.time, receive)
  }

  protected grantOf(lease: Lease4): Grant {
    return grantOf(lease, this.#settings)
  }

  protected override bound(lease: Lease4, previous: Lease4 | null): void {
    if (previous?.address !== lease.address) this.#announce(lease.address)
    super.bound(lease, previous)
  }

  #announce(address: string): void {
    try {
      this.transport().announce(address)
    } catch (error) {
      this.context.log.warn(`DHCP: ${address} could not be announced: ${(error as Error).message}`)
    }
  }
}
