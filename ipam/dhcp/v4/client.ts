/**
 * A DHCPv4 client as a state machine (RFC 2131). It has neither sockets nor a clock of its own: what it sends, the time
 * and what becomes of a lease go through {@link Surroundings}; what arrives comes by {@link Client4.receive}.
 */
import type { Logger } from '../../../cni/plugin.ts'
import type { Timebase, Timer } from '../timebase.ts'
import { isHostAddress, type Lease4, leaseOf } from './lease.ts'
import { encode, type Message } from './message.ts'
import { type OptionValues, read, write } from './options.ts'
import { type State, transitions } from './states.ts'

/** What the client says of itself in every message. */
export interface Identity {
  /** Of the interface, 6 bytes. */
  readonly mac: Uint8Array
  /** Value of option 61. */
  readonly clientId: Uint8Array
  /** Whether servers are to broadcast their answers: an ipvlan interface gets no others before it has an address. */
  readonly broadcast: boolean
}

export interface Settings extends Identity {
  /** Option codes, in order of preference. */
  readonly request: readonly number[]
  /** Further options, by their codes. */
  readonly provide: ReadonlyMap<number, Uint8Array>
  /** Whether an address is asked for by ARP before it is used. */
  readonly arpProbe: boolean
  /** Milliseconds until a message is repeated for the first time; doubled each time. RFC 2131 4.1: 4000. */
  readonly firstTimeout: number
  /** Milliseconds at most. RFC 2131 4.1: 64000. */
  readonly maxTimeout: number
}

/** Where a message goes: `null` to everybody on the link, as all clients do that have no address. */
export type Destination = { readonly from: string; readonly to: string; readonly mac: string } | null

/** Why there is no lease any more. */
export type Loss = 'expired' | 'refused'

export interface Surroundings {
  readonly time: Timebase
  readonly log: Logger
  /** May throw: the message counts as lost on the way. */
  send(message: Uint8Array, destination: Destination): void
  /** Whether another host on the link has the address. Rejects when aborted. */
  isTaken(address: string, signal: AbortSignal): Promise<boolean>
  /** A server's offer is about to be accepted. What is noted now is known though the program be killed. */
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

/** How often a request is sent before the client begins anew (RFC 2131 3.1, about four times in a minute). */
const REQUESTS = 3
/** Milliseconds before the next try after an address was found in use: RFC 2131 3.1 says ten seconds. */
const AFTER_DECLINE = 10_000
/** The same for the first time: one such address is chance, and an ADD is waiting. */
const AFTER_FIRST_DECLINE = 500
/** Milliseconds between renewals that stay without an answer, at least (RFC 2131 4.4.5). */
const LEAST_BETWEEN_RENEWALS = 60_000
const MAX_MESSAGE_SIZE = 1472

export class Client4 {
  readonly #settings: Settings
  readonly #around: Surroundings
  #state: State = 'INIT'
  #lease: Lease4 | null = null
  #offer: Lease4 | null = null
  #timer: Timer | undefined
  #probe: AbortController | undefined
  #xid = 0
  /** When the present attempt began, for `secs`. */
  #began = 0
  /** When the present request was sent first. */
  #sentAt = 0
  #tries = 0
  #declines = 0
  #refusals = 0
  #heard = ''

  constructor(settings: Settings, around: Surroundings) {
    this.#settings = settings
    this.#around = around
  }

  get state(): State {
    return this.#state
  }
  /** What it has; null while it has no address. */
  get lease(): Lease4 | null {
    return this.#lease
  }
  /** The last thing that a server said without giving an address; empty: silence. */
  get heard(): string {
    return this.#heard
  }

  /** Looks for a server. */
  start(): void {
    this.#begin()
    this.#select()
  }

  /**
   * Goes on with a lease that was obtained before: where its time has come, by asking for it to be extended.
   * @param confirm asks a server first whether the address is still good here (INIT-REBOOT)
   */
  resume(lease: Lease4, confirm = false): void {
    this.#lease = lease
    this.#begin()
    if (confirm) {
      this.#enter('INIT-REBOOT')
      this.#enter('REBOOTING')
      this.#tries = 0
      this.#newExchange()
      this.#reboot()
    } else {
      this.#enter('BOUND')
      this.#wait()
    }
  }

  /** Extends the lease now, without waiting for T1. */
  renew(): void {
    if (this.#state !== 'BOUND') return
    this.#newExchange()
    this.#enter('RENEWING')
    this.#extend()
  }

  /** Sends nothing more. The lease stays the server's knowledge. Safe to repeat. */
  stop(): void {
    this.#disarm()
    if (this.#state !== 'STOPPED') this.#enter('STOPPED')
  }

  /** Gives an address back, or one that was about to be accepted, and stops (RFC 2131 4.4.6). */
  release(): void {
    const given = this.#lease ?? this.#offer
    this.stop()
    this.#lease = null
    if (!given) return
    this.#newExchange()
    this.#send(
      { messageType: 'RELEASE', serverId: given.server, clientId: this.#settings.clientId },
      { ciaddr: given.address, to: { from: given.address, to: given.server, mac: given.serverMac } },
    )
  }

  /** A message from a server. @param senderMac where it came from on the link */
  receive(message: Message, senderMac: string): void {
    if (!this.#isForUs(message)) return
    switch (read(message, 'messageType')) {
      case 'OFFER':
        if (this.#state === 'SELECTING') this.#offered(message, senderMac)
        break
      case 'ACK':
        this.#acknowledged(message, senderMac)
        break
      case 'NAK':
        this.#refused(message)
        break
    }
  }

  #isForUs({ op, xid, chaddr, options }: Message): boolean {
    const { mac, clientId } = this.#settings
    if (op !== 'BOOTREPLY' || xid !== this.#xid) return false
    if (Buffer.compare(chaddr, mac) !== 0) return false
    // RFC 6842: servers send it back. All ipvlan interfaces of a master have one MAC.
    const echoed = options.get(61)
    return !echoed || Buffer.compare(echoed, clientId) === 0
  }

  #enter(next: State): void {
    if (!transitions[this.#state].includes(next))
      throw new Error(`a DHCP client does not go from ${this.#state} to ${next}`)
    this.#around.log.debug(`DHCP: ${this.#state} to ${next}`)
    this.#state = next
  }

  #arm(delay: number, work: () => void): void {
    this.#timer?.cancel()
    this.#timer = this.#around.time.after(Math.max(0, delay), work)
  }

  #disarm(): void {
    this.#timer?.cancel()
    this.#probe?.abort()
    this.#probe = undefined
  }

  #begin(): void {
    this.#began = this.#around.time.now()
  }

  #newExchange(): void {
    this.#xid = Math.floor(this.#around.time.random() * 0x1_0000_0000) >>> 0
    this.#sentAt = this.#around.time.now()
  }

  /** RFC 2131 4.1: doubled each time, and a random part of a second more or less. */
  #backoff(): number {
    const { firstTimeout, maxTimeout } = this.#settings
    const base = Math.min(firstTimeout * 2 ** this.#tries, maxTimeout)
    return base + (2 * this.#around.time.random() - 1) * Math.min(1000, base / 4)
  }

  #send(
    values: OptionValues,
    { ciaddr = '0.0.0.0', to = null }: { readonly ciaddr?: string; readonly to?: Destination } = {},
  ): void {
    const { mac, broadcast, request, provide } = this.#settings
    const asks = values.messageType !== 'RELEASE' && values.messageType !== 'DECLINE'
    const options = write({
      ...values,
      ...(asks ? { maxMessageSize: MAX_MESSAGE_SIZE, parameterRequestList: request } : {}),
    })
    if (asks) for (const [code, value] of provide) options.set(code, value)
    const message = encode({
      op: 'BOOTREQUEST',
      htype: 1,
      hops: 0,
      xid: this.#xid,
      secs: Math.min(0xffff, Math.floor((this.#around.time.now() - this.#began) / 1000)),
      broadcast: broadcast && asks && ciaddr === '0.0.0.0',
      ciaddr,
      yiaddr: '0.0.0.0',
      siaddr: '0.0.0.0',
      giaddr: '0.0.0.0',
      chaddr: mac,
      options,
    })
    try {
      this.#around.send(message, to)
    } catch (error) {
      // Once more at the next turn: an interface may be down for a moment.
      const { message: why } = error as Error
      this.#heard = `${values.messageType} could not be sent: ${why}`
      this.#around.log.warn(`DHCP: ${this.#heard}`)
    }
  }

  #select(): void {
    this.#enter('SELECTING')
    this.#tries = 0
    this.#newExchange()
    this.#discover()
  }

  #discover(): void {
    this.#sentAt = this.#around.time.now()
    this.#send({ messageType: 'DISCOVER', clientId: this.#settings.clientId })
    this.#arm(this.#backoff(), () => this.#discover())
    this.#tries++
  }

  #offered(message: Message, senderMac: string): void {
    const { time } = this.#around
    const offer = leaseOf(message, senderMac, time.now(), time.random())
    if (!offer) {
      this.#heard = 'an offer of no use (no server identifier, no lease time or no address a host can have)'
      return
    }
    this.#offer = offer
    this.#around.requesting(offer)
    this.#enter('REQUESTING')
    this.#tries = 0
    this.#sentAt = time.now()
    this.#request(offer)
  }

  #request(offer: Lease4): void {
    if (this.#tries === REQUESTS) {
      this.#heard = `${offer.server} offered ${offer.address}, and then said nothing more`
      this.#again(0)
      return
    }
    this.#send({
      messageType: 'REQUEST',
      clientId: this.#settings.clientId,
      serverId: offer.server,
      requestedAddress: offer.address,
    })
    this.#arm(this.#backoff(), () => this.#request(offer))
    this.#tries++
  }

  /** From the start, after some time. */
  #again(delay: number): void {
    this.#offer = null
    this.#enter('INIT')
    this.#arm(delay, () => this.#select())
  }

  #acknowledged(message: Message, senderMac: string): void {
    const { time } = this.#around
    const asked = this.#state
    if (asked !== 'REQUESTING' && asked !== 'RENEWING' && asked !== 'REBINDING' && asked !== 'REBOOTING')
      return
    const lease = leaseOf(message, senderMac, this.#sentAt, time.random())
    if (!lease) {
      this.#heard = 'an acknowledgement of no use'
      return
    }
    // Another server's does not belong to this request.
    if (asked === 'REQUESTING' && lease.server !== this.#offer?.server) return
    this.#timer?.cancel()
    this.#refusals = 0
    if (asked === 'REQUESTING' && this.#settings.arpProbe) {
      // What it would be if nobody else has it: a program that is killed now has something to give back.
      this.#offer = lease
      this.#enter('CHECKING')
      this.#check(lease)
    } else this.#bind(lease)
  }

  #check(lease: Lease4): void {
    const controller = new AbortController()
    this.#probe = controller
    this.#around.isTaken(lease.address, controller.signal).then(
      (taken) => {
        if (controller.signal.aborted) return
        this.#probe = undefined
        if (taken) this.#decline(lease)
        else this.#bind(lease)
      },
      (error: unknown) => {
        if (controller.signal.aborted) return
        this.#probe = undefined
        this.#around.log.warn(`DHCP: ${lease.address} could not be asked for: ${(error as Error).message}`)
        this.#bind(lease)
      },
    )
  }

  #decline(lease: Lease4): void {
    this.#heard = `${lease.server} gave ${lease.address}, which another host on the link uses`
    this.#around.log.warn(`DHCP: ${this.#heard}`)
    this.#send({
      messageType: 'DECLINE',
      clientId: this.#settings.clientId,
      serverId: lease.server,
      requestedAddress: lease.address,
    })
    this.#around.declined?.(lease.address)
    this.#again(this.#declines++ === 0 ? AFTER_FIRST_DECLINE : AFTER_DECLINE)
  }

  #bind(lease: Lease4): void {
    const previous = this.#lease
    this.#lease = lease
    this.#offer = null
    this.#heard = ''
    this.#enter('BOUND')
    this.#around.bound(lease, previous)
    // It may have been stopped by who was told.
    if (this.#state === 'BOUND') this.#wait()
  }

  /** Until T1. */
  #wait(): void {
    this.#around.idle?.()
    const renewAt = this.#lease?.renewAt
    if (renewAt === null || renewAt === undefined) {
      this.#timer?.cancel()
      return
    }
    this.#arm(renewAt - this.#around.time.now(), () => this.renew())
  }

  /** RENEWING and REBINDING: asks, waits half of the time that is left, asks again (RFC 2131 4.4.5). */
  #extend(): void {
    const lease = this.#lease
    if (!lease) throw new Error('there is no lease to extend')
    const now = this.#around.time.now()
    const { rebindAt, expiresAt } = lease
    if (expiresAt !== null && now >= expiresAt) {
      this.#lose('expired', 0)
      return
    }
    const late = rebindAt !== null && now >= rebindAt
    if (this.#state === 'RENEWING' && late) {
      this.#enter('REBINDING')
      this.#newExchange()
    }
    this.#sentAt = now
    const to = this.#state === 'RENEWING' ? { from: lease.address, to: lease.server, mac: '' } : null
    this.#send({ messageType: 'REQUEST', clientId: this.#settings.clientId }, { ciaddr: lease.address, to })
    const end = (this.#state === 'RENEWING' ? rebindAt : expiresAt) ?? now + 2 * LEAST_BETWEEN_RENEWALS
    const left = end - now
    // Short leases have no minute to wait.
    const span = expiresAt === null ? LEAST_BETWEEN_RENEWALS : (expiresAt - lease.obtainedAt) / 16
    this.#arm(Math.min(left, Math.max(left / 2, Math.min(LEAST_BETWEEN_RENEWALS, span))), () =>
      this.#extend(),
    )
  }

  #reboot(): void {
    const lease = this.#lease
    if (!lease) throw new Error('there is no lease to confirm')
    const { expiresAt } = lease
    const now = this.#around.time.now()
    if (this.#tries === REQUESTS) {
      if (expiresAt !== null && now >= expiresAt) this.#lose('expired', 0)
      else {
        this.#enter('BOUND')
        this.#wait()
      }
      return
    }
    this.#sentAt = now
    this.#send({
      messageType: 'REQUEST',
      clientId: this.#settings.clientId,
      requestedAddress: lease.address,
    })
    this.#arm(this.#backoff(), () => this.#reboot())
    this.#tries++
  }

  #refused(message: Message): void {
    const { state } = this
    const server = read(message, 'serverId')
    if (state === 'REQUESTING' && server !== this.#offer?.server) return
    const waits =
      state === 'REQUESTING' || state === 'RENEWING' || state === 'REBINDING' || state === 'REBOOTING'
    if (!waits) return
    const text = read(message, 'message')
    this.#heard = `${server && isHostAddress(server) ? server : 'a server'} refused the request (DHCPNAK)${text ? `: ${text}` : ''}`
    this.#around.log.warn(`DHCP: ${this.#heard}`)
    // The first time at once, as RFC 2131 3.1 has it; a server that goes on refusing is not to be asked in a loop.
    const delay =
      this.#refusals === 0 ? 0 : this.#settings.firstTimeout * 2 ** Math.min(this.#refusals - 1, 4)
    this.#refusals++
    if (state === 'REQUESTING') this.#again(delay)
    else this.#lose('refused', delay)
  }

  #lose(why: Loss, delay: number): void {
    const lease = this.#lease
    this.#lease = null
    this.#begin()
    this.#again(delay)
    if (lease) this.#around.lost(lease, why)
  }
}
