/**
 * A DHCPv6 client for one address of one interface as a state machine (RFC 8415, IA_NA). It has neither sockets nor a
 * clock of its own: what it sends, the time and what becomes of a lease go through {@link Surroundings}; what arrives
 * comes by {@link Client6.receive}.
 *
 * Its first SOLICIT is not delayed (SOL_MAX_DELAY, section 18.2.1): that is for hosts which all have their power back
 * at once. Containers begin one by one, and each with somebody who waits for it.
 */
import { AddressCheck } from './address-check.ts'
import { Conversation, type Exchange, type OpenExchange } from './conversation.ts'
import { type Answer, answerOf, describeRefusal, earliest, type Lease6, type Refusal } from './lease.ts'
import type { Message } from './message.ts'
import { Offers } from './offers.ts'
import { optionsOf, releaseOf } from './outgoing.ts'
import { CONFIRM_MAX_DELAY, Restarts } from './retransmission.ts'
import { type State, transitions } from './states.ts'
import type { Loss, Settings, Surroundings } from './surroundings.ts'

/** A preference after which no other server is waited for (section 18.2.1). */
const MAX_PREFERENCE = 255

export class Client6 {
  readonly #settings: Settings
  readonly #around: Surroundings
  readonly #conversation: Conversation
  readonly #addressCheck: AddressCheck
  readonly #offers = new Offers()
  #state: State = 'INIT'
  #lease: Lease6 | null = null
  /** What is asked for, or checked. */
  #offer: Lease6 | null = null
  readonly #restarts: Restarts
  /** A server has said that the address is not of this link. */
  #notOnLink = false
  #heard = ''

  constructor(settings: Settings, around: Surroundings) {
    this.#settings = settings
    this.#around = around
    this.#addressCheck = new AddressCheck(around)
    this.#restarts = new Restarts(() => around.time.random())
    this.#conversation = new Conversation(around, (error) => this.#note(error))
  }

  get state(): State {
    return this.#state
  }
  /** What it has; null while it has no address. */
  get lease(): Lease6 | null {
    return this.#lease
  }
  /** The last thing that a server said without giving an address; empty: silence. */
  get heard(): string {
    return this.#heard
  }

  /** Looks for a server. */
  start(): void {
    this.#solicit()
  }

  /**
   * Goes on with a lease that was obtained before: where its time has come, by asking for it to be extended.
   * @param confirm asks servers first whether the address is of this link (section 18.2.3)
   */
  resume(lease: Lease6, confirm = false): void {
    this.#lease = lease
    if (confirm) this.#confirm(lease)
    else this.#settle()
  }

  /** Extends the lease now, without waiting for T1. */
  renew(): void {
    if (this.#state === 'BOUND') this.#extend('RENEWING')
  }

  /** The address turned out to be another host's: the server is told, and another one asked for (section 18.2.8). */
  decline(): void {
    const lease = this.#lease
    if (!lease || this.#state === 'STOPPED') return
    this.#lease = null
    this.#decline(lease)
    this.#around.lost(lease, 'declined')
  }

  /** Sends nothing more. The lease stays the server's knowledge. Safe to repeat. */
  stop(): void {
    this.#end()
    if (this.#state !== 'STOPPED') this.#enter('STOPPED')
  }

  /**
   * Gives an address back, and one that was about to be accepted, and stops (section 18.2.7). The address has to be
   * off the interface. It is said once: nobody waits for an answer, and the server knows when the lease ends.
   */
  release(): void {
    const given = [this.#lease, this.#offer].filter((one) => one !== null)
    this.stop()
    this.#lease = null
    this.#offer = null
    const options = releaseOf(this.#settings, given)
    if (options) this.#conversation.say('RELEASE', options)
  }

  /** A message from a server. One that is not for this client, or answers nothing it has asked, is passed over. */
  receive(message: Message): void {
    const { exchange } = this.#conversation
    const { clientId, serverId } = message.options
    // Sections 16.3 and 16.10.
    if (!exchange || message.transactionId !== exchange.transactionId) return
    if (!serverId || !clientId || Buffer.compare(clientId, this.#settings.clientId) !== 0) return
    const server = Buffer.from(serverId).toString('hex')
    if (exchange.server !== null && exchange.server !== server) return
    if (message.type === 'REPLY') this.#replied(exchange, message, server)
    else if (message.type === 'ADVERTISE' && exchange.type === 'SOLICIT')
      this.#advertised(exchange, message, server)
  }

  #enter(next: State): void {
    if (!transitions[this.#state].includes(next))
      throw new Error(`a DHCPv6 client does not go from ${this.#state} to ${next}`)
    this.#around.log.debug(`DHCPv6: ${this.#state} to ${next}`)
    this.#state = next
  }

  /** Nothing is awaited any more. */
  #end(): void {
    this.#conversation.end()
    this.#addressCheck.end()
  }

  #ask(
    type: Exchange['type'],
    server: string | null,
    addresses: readonly string[],
    rest: Omit<Exchange, 'type' | 'server' | 'options'>,
  ): void {
    const options = optionsOf(type, this.#settings, server, addresses)
    this.#conversation.begin({ type, server, options, ...rest })
  }

  #note(heard: string): void {
    this.#heard = heard
    this.#around.log.warn(`DHCPv6: ${heard}`)
  }

  #solicit(): void {
    this.#enter('SOLICITING')
    this.#offers.clear()
    this.#ask('SOLICIT', null, [], {
      end: null,
      maxRt: () => this.#offers.solMaxRt,
      overdue: () => {
        if (this.#offers.isEmpty) return false
        this.#request()
        return true
      },
      failed: () => this.#again(),
    })
  }

  /** Section 18.2.9. */
  #advertised({ retransmission }: OpenExchange, message: Message, server: string): void {
    const { solMaxRt, preference = 0 } = message.options
    this.#offers.advertiseMaxRt(solMaxRt)
    const { lease, refusal, text } = this.#read(message, server)
    if (!lease) {
      this.#note(describeRefusal(server, refusal, text))
      return
    }
    this.#offers.add(lease, preference)
    if (preference === MAX_PREFERENCE || retransmission.count > 1) this.#request()
  }

  /** Asks the servers that have offered something, one after the other. */
  #request(): void {
    const offer = this.#offers.take()
    if (!offer) {
      this.#again()
      return
    }
    this.#offer = offer
    this.#enter('REQUESTING')
    this.#around.requesting(offer)
    // It may have been stopped by who was told.
    if (this.#state !== 'REQUESTING') return
    this.#ask('REQUEST', offer.server, [offer.address], {
      end: null,
      failed: () => {
        this.#note(`server ${offer.server} offered ${offer.address}, and then said nothing more`)
        this.#request()
      },
    })
  }

  /** From the start. */
  #again(): void {
    this.#end()
    this.#offer = null
    this.#enter('INIT')
    this.#conversation.wait(this.#restarts.next(), () => this.#solicit())
  }

  #read(message: Message, server: string): Answer {
    const held = this.#lease?.address ?? null
    return answerOf(message, server, { iaid: this.#settings.iaid, held, now: this.#around.time.now() })
  }

  /** Section 18.2.10. */
  #replied({ type }: OpenExchange, message: Message, server: string): void {
    const { solMaxRt, rapidCommit } = message.options
    this.#offers.setMaxRt(solMaxRt)
    if (type === 'CONFIRM') this.#confirmed(message, server)
    else if (type === 'DECLINE') this.#withoutOffer()
    // Without rapid commit it answers no SOLICIT.
    else if (type !== 'SOLICIT' || (rapidCommit && this.#settings.rapidCommit))
      this.#answered(message, server)
  }

  /** Section 18.2.10.1. */
  #answered(message: Message, server: string): void {
    const { lease, refusal, text } = this.#read(message, server)
    if (lease) {
      this.#end()
      if (this.#settings.probe && lease.address !== this.#lease?.address) this.#check(lease)
      else this.#bind(lease)
      return
    }
    this.#note(describeRefusal(server, refusal, text))
    // Everything goes to all servers anyway.
    if (refusal === 'UseMulticast') return
    if (this.#state === 'REQUESTING') {
      if (this.#lease) this.#lose('refused')
      else this.#request()
    } else if (this.#lease) this.#notExtended(this.#lease, server, refusal)
  }

  /** Where nothing is said against the lease, the next RENEW or REBIND may have a better answer. */
  #notExtended({ address, expiresAt }: Lease6, server: string, refusal: Refusal): void {
    if (refusal === 'NotOnLink' || refusal === 'withdrawn') this.#lose('refused')
    else if (refusal === 'NoBinding') {
      this.#enter('REQUESTING')
      this.#ask('REQUEST', server, [address], { end: expiresAt, failed: () => this.#extend('REBINDING') })
    }
  }

  #check(lease: Lease6): void {
    // What it would be if nobody else has it: a program that is stopped now has something to give back.
    const isNoted = this.#offer?.address === lease.address
    this.#offer = lease
    this.#enter('CHECKING')
    if (!isNoted) this.#around.requesting(lease)
    if (this.#state !== 'CHECKING') return
    const end = earliest(lease.expiresAt, this.#lease?.expiresAt ?? null)
    if (end !== null) this.#conversation.wait(end - this.#around.time.now(), () => this.#withoutOffer())
    this.#addressCheck.begin(lease.address, (taken) => {
      if (taken) {
        this.#decline(lease)
        this.#around.declined?.(lease.address)
      } else this.#bind(lease)
    })
  }

  #bind(lease: Lease6): void {
    const previous = this.#lease
    this.#lease = lease
    this.#settle()
    this.#around.bound(lease, previous)
  }

  /** Until T1. */
  #settle(): void {
    this.#end()
    this.#offer = null
    this.#heard = ''
    this.#enter('BOUND')
    const lease = this.#lease
    const next = lease && earliest(lease.renewAt, lease.rebindAt, lease.expiresAt)
    if (next !== null) this.#conversation.wait(next - this.#around.time.now(), () => this.#extend('RENEWING'))
  }

  /** Sections 18.2.4 and 18.2.5. RENEWING gives way to what is due by now. */
  #extend(state: 'RENEWING' | 'REBINDING'): void {
    const lease = this.#lease
    if (!lease) throw new Error('there is no lease to extend')
    const { address, server, rebindAt, expiresAt } = lease
    const now = this.#around.time.now()
    const isPast = (moment: number | null): boolean => moment !== null && now >= moment
    // It has lasted: what went wrong before it is over.
    this.#restarts.reset()
    if (isPast(expiresAt)) this.#lose('expired')
    else if (state === 'REBINDING' || isPast(rebindAt)) {
      this.#enter('REBINDING')
      this.#ask('REBIND', null, [address], { end: expiresAt, failed: () => this.#lose('expired') })
    } else {
      this.#enter('RENEWING')
      const end = earliest(rebindAt, expiresAt)
      this.#ask('RENEW', server, [address], { end, failed: () => this.#extend('REBINDING') })
    }
  }

  #confirm({ address, expiresAt }: Lease6): void {
    this.#enter('CONFIRMING')
    this.#ask('CONFIRM', null, [address], {
      // After a restart the leases of a whole node are confirmed at once: this delay is for them.
      delay: this.#around.time.random() * CONFIRM_MAX_DELAY,
      end: expiresAt,
      overdue: () => {
        if (this.#notOnLink) this.#lose('refused')
        return this.#notOnLink
      },
      failed: () => this.#settle(),
    })
  }

  /** One server that knows the address is enough, whatever others say (section 18.2.10.3): they have their time. */
  #confirmed({ options }: Message, server: string): void {
    const status = options.statusCode ?? options.iaNa?.[0]?.statusCode
    if (status && status.code !== 'Success') {
      this.#note(describeRefusal(server, status.code, status.message))
      if (status.code === 'NotOnLink') this.#notOnLink = true
    } else this.#settle()
  }

  /** Section 18.2.8. */
  #decline({ server, address }: Lease6): void {
    this.#note(`server ${server} gave ${address}, which another host on the link uses`)
    this.#end()
    this.#offer = null
    this.#enter('DECLINING')
    // It may have been meant to replace one that is good until then.
    const end = this.#lease?.expiresAt ?? null
    this.#ask('DECLINE', server, [address], { end, failed: () => this.#withoutOffer() })
  }

  /** It was declined, or has ended before it was checked. One that it was to replace is used on. */
  #withoutOffer(): void {
    if (this.#lease) this.#settle()
    else this.#again()
  }

  #lose(why: Loss): void {
    const lease = this.#lease
    this.#lease = null
    this.#again()
    if (lease) this.#around.lost(lease, why)
  }
}
