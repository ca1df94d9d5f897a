/** What a DHCPv4 client is told, and what it needs of whoever runs it. */
import type { Logger } from '../../../cni/plugin.ts'
import type { Timebase } from '../timebase.ts'
import type { Lease4 } from './lease.ts'

/** What the client says of itself in every message. */
export interface Identity {
  /** Of the interface, 6 bytes. */
  readonly mac: Uint8Array
  /** Value of option 61. */
  readonly clientId: Uint8Array
  /** Whether servers are to broadcast their answers: an ipvlan interface gets no others before it has an address. */
  readonly broadcast: boolean
}

/** How often it speaks. */
export interface Pace {
  /** Milliseconds until a message is repeated for the first time; doubled each time. RFC 2131 4.1: 4000. */
  readonly firstTimeout: number
  /** Milliseconds at most. RFC 2131 4.1: 64000. */
  readonly maxTimeout: number
}

export interface Settings extends Identity, Pace {
  /** Option codes, in order of preference. */
  readonly request: readonly number[]
  /** Further options, by their codes. */
  readonly provide: ReadonlyMap<number, Uint8Array>
  /** Whether an address is asked for by ARP before it is used. */
  readonly arpProbe: boolean
}

/** Where a message goes: `null` to everybody on the link, as all clients do that have no address. */
export type Destination = { readonly from: string; readonly to: string; readonly mac: string } | null

/** Why there is no lease any more. */
export type Loss = 'expired' | 'refused'

/**
 * Each of these may stop the client, and each may throw: the client logs it and goes on, because a timer or a packet
 * called it, and nobody is there to catch.
 */
export interface Surroundings {
  readonly time: Timebase
  readonly log: Logger
  /** Where it throws, the message counts as lost on the way. */
  send(message: Uint8Array, destination: Destination): void
  /** Whether another host on the link has the address. Where that can't be found out, the address is used. */
  isTaken(address: string, signal: AbortSignal): Promise<boolean>
  /**
   * A server's offer is about to be accepted. What is noted now is known though the program be killed. Where it throws,
   * the offer is not accepted.
   */
  requesting(offer: Lease4): void
  /** There is a lease, new or renewed. */
  bound(lease: Lease4, previous: Lease4 | null): void
  /** Nothing is sent or awaited for some time. */
  idle?(): void
  /** The address is not to be used any more. The client goes on looking for another. */
  lost(lease: Lease4, why: Loss): void
  /** The address of an offer is in use; the server was told. */
  declined?(address: string): void
}
