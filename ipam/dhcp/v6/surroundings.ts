/** What a DHCPv6 client is given, and what it tells. */
import type { Logger } from '../../../cni/plugin.ts'
import type { Timebase } from '../timebase.ts'
import type { Lease6 } from './lease.ts'
import { optionCodes } from './options.ts'

export interface Settings {
  /** DUID: who the client is. */
  readonly clientId: Uint8Array
  /** Which of its interfaces, 32 bits. */
  readonly iaid: number
  /** Codes of options that servers are asked for. SOL_MAX_RT always is. */
  readonly request: readonly number[]
  /** Further options, by their codes: those that a server chooses by, such as the user class. */
  readonly provide: ReadonlyMap<number, Uint8Array>
  /** Whether a server may commit an address in answer to a SOLICIT (RFC 8415 section 18.2.1). */
  readonly rapidCommit: boolean
  /** Whether the link is asked for an address before it is used (RFC 4862 section 5.4). */
  readonly probe: boolean
}

/** What a client asks for where nothing else is wanted. */
export const defaultRequest: readonly number[] = [optionCodes.dnsServers, optionCodes.domainSearch]

/** Why there is no lease any more: `refused` by a server, `declined` because another host has the address. */
export type Loss = 'expired' | 'refused' | 'declined'

/**
 * Each of these may stop the client, and each may throw: the client logs it and goes on, because a timer or a packet
 * called it, and nobody is there to catch.
 */
export interface Surroundings {
  readonly time: Timebase
  readonly log: Logger
  /**
   * To all servers: ff02::1:2, port 547, from port 546 of the interface's link-local address. Where it throws, the
   * message counts as lost on the way.
   */
  send(message: Uint8Array): void
  /** Whether another host on the link has the address. Where that can't be found out, the address is used. */
  isTaken(address: string, signal: AbortSignal): Promise<boolean>
  /**
   * A server's offer is about to be accepted, or what a server has given is checked. What is noted now is known though
   * the program be killed. Where it throws, an offer is not accepted.
   */
  requesting(offer: Lease6): void
  /** There is a lease, new or renewed. */
  bound(lease: Lease6, previous: Lease6 | null): void
  /** Nothing is sent or awaited for some time. */
  idle?(): void
  /** The address is not to be used any more. The client goes on looking for another. */
  lost(lease: Lease6, why: Loss): void
  /** The address that a server gave is in use; it is being told. */
  declined?(address: string): void
}
