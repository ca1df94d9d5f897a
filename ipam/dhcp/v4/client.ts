/**
 * A DHCPv4 client as a state machine (RFC 2131). It has neither sockets nor a clock of its own: what it sends, the time
 * and what becomes of a lease go through {@link Surroundings}; what arrives comes by {@link Client4.receive}.
 */
import type { Timer } from '../timebase.ts'
import { clientMessage, isAnswer } from './client-message.ts'
import { isHostAddress, isOver, type Lease4, leaseOf } from './lease.ts'
import type { Message } from './message.ts'
import { type OptionValues, read } from './options.ts'
import { afterDecline, afterRefusal, backoff, REQUESTS, untilNextRenewal } from './retransmission.ts'
import { isAsking, type State, transitions } from './states.ts'
import type { Destination, Loss, Settings, Surroundings } from './surroundings.ts'

export type { Destination, Identity, Loss, Pace, Settings, Surroundings } from './surroundings.ts'

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

export class Client4 {
  readonly #settings: Settings
  readonly #around: Surroundings
  #state: State = 'INIT'
  #lease: Lease4 | null = null
  #offer: Lease4 | null = null
  /** What was asked for without an answer: its server may have granted it all the same. */
  #unanswered: Lease4 | null = null
  #timer: Timer | undefined
  #probe: AbortController | undefined
  #xid = 0
  /** When the present attempt began, for `secs`. */
  #began = 0
  #secs = 0
  /** When the present request was sent: a lease begins then. Of repetitions within seconds the first counts. */
  #sentAt = 0
  #tries = 0
  #declines = 0
  #refusals = 0
  #heard = ''
  #unsent = ''

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
  /** Why there is no address, as far as is known: what a server said last, or what kept it from being asked. Empty: silence. */
  get heard(): string {
    return this.#unsent || this.#heard
  }

  /** Looks for a server. @throws Error where it has begun or ended before */
  start(): void {
    this.#select(true)
  }

  /**
   * Goes on with a lease that was obtained before: where its time has come, by asking for it to be extended.
   * @param confirm asks a server first whether the address is still good here (INIT-REBOOT)
   * @throws Error where it has begun or ended before
   */
  resume(lease: Lease4, confirm = false): void {
    this.#enter(confirm ? 'INIT-REBOOT' : 'BOUND')
    this.#lease = lease
    this.#newExchange(true)
    if (confirm) {
      this.#enter('REBOOTING')
      this.#tries = 0
      this.#reboot(lease)
    } else this.#wait()
  }

  /** Extends the lease now, without waiting for T1. */
  renew(): void {
    const lease = this.#lease
    if (this.#state !== 'BOUND' || !lease) return
    this.#enter('RENEWING')
    this.#newExchange(true)
    this.#extend(lease)
  }

  /** Sends nothing more. The lease stays the server's knowledge. Safe to repeat. */
  stop(): void {
    this.#timer?.cancel()
    this.#probe?.abort()
    this.#probe = undefined
    if (this.#state !== 'STOPPED') this.#enter('STOPPED')
  }

  /** Gives an address back, or one that was about to be accepted, and stops (RFC 2131 4.4.6). Once, also after stop(). */
  release(): void {
    const given = this.#lease ?? this.#offer ?? this.#unanswered
    this.stop()
    this.#lease = null
    this.#offer = null
    this.#unanswered = null
    if (!given) return
    const { address, server, serverMac } = given
    this.#newExchange()
    const to = { from: address, to: server, mac: serverMac }
    this.#send({ messageType: 'RELEASE', serverId: server }, address, to)
  }

  /** A message from a server. @param senderMac where it came from on the link */
  receive(message: Message, senderMac: string): void {
    if (!isAnswer(message, this.#settings, this.#xid)) return
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

  #enter(next: State): void {
    if (!transitions[this.#state].includes(next))
      throw new Error(`a DHCP client does not go from ${this.#state} to ${next}`)
    this.#around.log.debug(`DHCP: ${this.#state} to ${next}`)
    this.#state = next
  }

  /** Before anything is sent or told: either may end in {@link stop}. */
  #arm(delay: number, work: () => void): void {
    this.#timer?.cancel()
    this.#timer = this.#around.time.after(Math.max(0, delay), work)
  }

  /** @param begins whether it is the first of an attempt */
  #newExchange(begins = false): void {
    if (begins) this.#began = this.#around.time.now()
    this.#xid = Math.floor(this.#around.time.random() * 0x1_0000_0000) >>> 0
  }

  #nextTry(): number {
    return backoff(this.#settings, this.#tries++, this.#around.time.random())
  }

  /** A request that begins something at a server, or begins it anew, is sent now. */
  #stamp(): void {
    this.#sentAt = this.#around.time.now()
    this.#secs = Math.floor((this.#sentAt - this.#began) / 1000)
  }

  #send(values: OptionValues, ciaddr = '0.0.0.0', to: Destination = null): void {
    try {
      const rest = { xid: this.#xid, secs: this.#secs, ciaddr, values }
      this.#around.send(clientMessage(this.#settings, rest), to)
      this.#unsent = ''
    } catch (error) {
      // Once more at the next turn: an interface may be down for a moment.
      this.#unsent = `${values.messageType} could not be sent: ${reasonOf(error)}`
      this.#around.log.warn(`DHCP: ${this.#unsent}`)
    }
  }

  /** What a listener throws; empty: nothing. */
  #tell(listener: () => void): string {
    try {
      listener()
      return ''
    } catch (error) {
      this.#around.log.error(`DHCP: ${reasonOf(error)}`)
      return reasonOf(error)
    }
  }

  #select(begins = false): void {
    this.#enter('SELECTING')
    this.#tries = 0
    this.#newExchange(begins)
    this.#discover()
  }

  #discover(): void {
    this.#stamp()
    this.#arm(this.#nextTry(), () => this.#discover())
    this.#send({ messageType: 'DISCOVER' })
  }

  #offered(message: Message, senderMac: string): void {
    const { time } = this.#around
    const offer = leaseOf(message, senderMac, time.now(), time.random())
    if (!offer) {
      this.#heard = 'an offer of no use (no server, no lease time or no address that a host can have)'
      return
    }
    const failed = this.#tell(() => this.#around.requesting(offer))
    if (failed !== '') this.#heard = `the offer of ${offer.server} could not be noted: ${failed}`
    if (failed !== '' || this.#state !== 'SELECTING') return
    this.#offer = offer
    this.#enter('REQUESTING')
    this.#tries = 0
    // The seconds stay those of the DISCOVER, by which relays choose where it goes (RFC 2131 4.4.1).
    this.#sentAt = time.now()
    this.#request(offer)
  }

  #request(offer: Lease4): void {
    if (this.#tries === REQUESTS) {
      this.#heard = `${offer.server} offered ${offer.address}, and then said nothing more`
      this.#unanswered = offer
      this.#again(0)
      return
    }
    this.#arm(this.#nextTry(), () => this.#request(offer))
    this.#send({ messageType: 'REQUEST', serverId: offer.server, requestedAddress: offer.address })
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
    if (!isAsking(asked)) return
    const lease = leaseOf(message, senderMac, this.#sentAt, time.random())
    if (!lease || isOver(lease, time.now())) {
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
      void this.#check(lease)
    } else this.#bind(lease)
  }

  async #check(lease: Lease4): Promise<void> {
    const controller = new AbortController()
    const { signal } = controller
    this.#probe = controller
    let taken = false
    try {
      taken = await this.#around.isTaken(lease.address, signal)
    } catch (error) {
      if (!signal.aborted)
        this.#around.log.warn(`DHCP: ${lease.address} could not be asked for: ${reasonOf(error)}`)
    }
    if (signal.aborted) return
    this.#probe = undefined
    if (taken) this.#decline(lease)
    else if (isOver(lease, this.#around.time.now())) this.#again(0)
    else this.#bind(lease)
  }

  #decline({ address, server }: Lease4): void {
    this.#heard = `${server} gave ${address}, which another host on the link uses`
    this.#around.log.warn(`DHCP: ${this.#heard}`)
    this.#again(afterDecline(this.#declines++))
    this.#send({ messageType: 'DECLINE', serverId: server, requestedAddress: address })
    this.#tell(() => this.#around.declined?.(address))
  }

  #bind(lease: Lease4): void {
    const previous = this.#lease
    this.#lease = lease
    this.#offer = null
    this.#unanswered = null
    this.#unsent = ''
    this.#declines = 0
    this.#enter('BOUND')
    this.#wait(() => this.#around.bound(lease, previous))
  }

  /** Until T1. @param first to be told before that */
  #wait(first: () => void = () => {}): void {
    const renewAt = this.#lease?.renewAt ?? null
    if (renewAt === null) this.#timer?.cancel()
    else this.#arm(renewAt - this.#around.time.now(), () => this.renew())
    this.#heard = this.#tell(first)
    if (this.#state === 'BOUND') this.#tell(() => this.#around.idle?.())
  }

  /** RENEWING and REBINDING (RFC 2131 4.4.5). */
  #extend(lease: Lease4): void {
    const now = this.#around.time.now()
    if (isOver(lease, now)) {
      this.#lose('expired', 0)
      return
    }
    if (this.#state === 'RENEWING' && lease.rebindAt !== null && now >= lease.rebindAt) {
      this.#enter('REBINDING')
      this.#newExchange()
    }
    const renewing = this.#state === 'RENEWING'
    this.#stamp()
    this.#arm(untilNextRenewal(lease, renewing ? 'RENEWING' : 'REBINDING', now), () => this.#extend(lease))
    const { address, server } = lease
    this.#send({ messageType: 'REQUEST' }, address, renewing ? { from: address, to: server, mac: '' } : null)
  }

  #reboot(lease: Lease4): void {
    const now = this.#around.time.now()
    const { expiresAt } = lease
    // One that had lapsed when it was taken over is used while a server is asked, any other one to its end.
    const end = expiresAt !== null && expiresAt > this.#began ? expiresAt : null
    const done = this.#tries === REQUESTS
    if (end === null ? done && isOver(lease, now) : now >= end) this.#lose('expired', 0)
    else if (done) {
      this.#enter('BOUND')
      this.#wait()
    } else {
      this.#stamp()
      const next = this.#nextTry()
      this.#arm(end === null ? next : Math.min(next, end - now), () => this.#reboot(lease))
      this.#send({ messageType: 'REQUEST', requestedAddress: lease.address })
    }
  }

  #refused(message: Message): void {
    const { state } = this
    if (!isAsking(state)) return
    const server = read(message, 'serverId')
    if (state === 'REQUESTING' && server !== this.#offer?.server) return
    const text = read(message, 'message')
    this.#heard = `${server && isHostAddress(server) ? server : 'a server'} refused the request (DHCPNAK)${text ? `: ${text}` : ''}`
    this.#around.log.warn(`DHCP: ${this.#heard}`)
    const delay = afterRefusal(this.#settings, this.#refusals++)
    if (state === 'REQUESTING') this.#again(delay)
    else this.#lose('refused', delay)
  }

  #lose(why: Loss, delay: number): void {
    const lease = this.#lease
    this.#lease = null
    this.#began = this.#around.time.now()
    this.#again(delay)
    if (lease) this.#tell(() => this.#around.lost(lease, why))
  }
}
