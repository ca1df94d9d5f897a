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
import { answeringServer, failureOf } from './incoming.ts'
import { type Answer, answerOf, describeRefusal, earliest, type Lease6, type Refusal } from './lease.ts'
import { Machine } from './machine.ts'
import type { Message } from './message.ts'
import { Offers } from './offers.ts'
import { optionsOf, releasesOf } from './outgoing.ts'
import { CONFIRM_MAX_DELAY, Restarts } from './retransmission.ts'
import type { Loss, Settings, Surroundings } from './surroundings.ts'

/** A preference after which no other server is waited for (section 18.2.1). */
const MAX_PREFERENCE = 255

export class Client6 extends Machine {
  readonly #settings: Settings
  readonly #conversation: Conversation
  readonly #addressCheck: AddressCheck
  readonly #offers = new Offers()
  #lease: Lease6 | null = null
  /** What is asked for, or checked. */
  #offer: Lease6 | null = null
  /** What was asked for without an answer: its server may have granted it all the same. */
  #unanswered: Lease6 | null = null
  /** Addresses that the next discovery asks for: the one that has ended. */
  #wanted: readonly string[] = []
  readonly #restarts: Restarts
  /** A server has said that the address is not of this link. */
  #notOnLink = false

  constructor(settings: Settings, around: Surroundings) {
    super(around)
    this.#settings = settings
    this.#addressCheck = new AddressCheck(around)
    this.#restarts = new Restarts(() => around.time.random())
    this.#conversation = new Conversation(around.time, (type, message) => this.send(type, message))
  }

  /** What it has; null while it has no address. */
  get lease(): Lease6 | null {
    return this.#lease
  }

  /** Looks for a server. @throws Error where it has begun or ended before */
  start(): void {
    this.#solicit()
  }

  /**
   * Goes on with a lease that was obtained before: where its time has come, by asking for it to be extended.
   * @param confirm asks servers first whether the address is of this link (section 18.2.3)
   * @throws Error where it has begun or ended before
   */
  resume(lease: Lease6, confirm = false): void {
    this.enter(confirm ? 'CONFIRMING' : 'BOUND')
    this.#lease = lease
    if (confirm) this.#confirm(lease)
    else this.#wait()
  }

  /** Extends the lease now, without waiting for T1. */
  renew(): void {
    if (this.state === 'BOUND') this.#extend('RENEWING')
  }

  /** The address turned out to be another host's: the server is told, and another one asked for (section 18.2.8). */
  decline(): void {
    const lease = this.#lease
    if (!lease || this.state === 'STOPPED') return
    this.#lease = null
    this.#decline(lease)
    this.tell(() => this.around.lost(lease, 'declined'))
  }

  /** Sends nothing more. The lease stays the server's knowledge. Safe to repeat. */
  stop(): void {
    this.#end()
    if (this.state !== 'STOPPED') this.enter('STOPPED')
  }

  /**
   * Gives an address back, and one that was about to be accepted, and stops (section 18.2.7). The address has to be
   * off the interface. It is said once: nobody waits for an answer, and the server knows when the lease ends.
   */
  release(): void {
    const given = [this.#lease, this.#unanswered, this.#offer].filter((one) => one !== null)
    this.stop()
    this.#lease = null
    this.#offer = null
    this.#unanswered = null
    for (const options of releasesOf(this.#settings, given)) this.#conversation.say('RELEASE', options)
  }

  /** A message from a server. One that is not for this client, or answers nothing it has asked, is passed over. */
  receive(message: Message): void {
    const { exchange } = this.#conversation
    const server = exchange && answeringServer(message, exchange, this.#settings)
    if (!exchange || !server) return
    if (message.type === 'ADVERTISE') this.#advertised(exchange, message, server)
    else this.#replied(exchange, message, server)
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

  #solicit(): void {
    this.enter('SOLICITING')
    this.#offers.clear()
    this.#ask('SOLICIT', null, this.#wanted, {
      end: null,
      maxRt: () => this.#offers.solMaxRt,
      overdue: () => {
        if (this.#offers.isEmpty) return false
        this.#request()
        return true
      },
      failed: () => this.#again(),
    })
    this.#wanted = []
  }

  /** Section 18.2.9. */
  #advertised({ retransmission }: OpenExchange, message: Message, server: string): void {
    const { solMaxRt, preference = 0 } = message.options
    this.#offers.advertiseMaxRt(solMaxRt)
    const { lease, refusal, text } = this.#read(message, server)
    if (!lease) {
      this.note(describeRefusal(server, refusal, text))
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
    this.enter('REQUESTING')
    const failed = this.tell(() => this.around.requesting(offer))
    // It may have been stopped by who was told.
    if (this.state !== 'REQUESTING') return
    if (failed !== '') {
      this.note(`the offer of server ${offer.server} could not be noted: ${failed}`)
      this.#request()
      return
    }
    this.#ask('REQUEST', offer.server, [offer.address], {
      end: null,
      failed: () => {
        this.note(`server ${offer.server} offered ${offer.address}, and then said nothing more`)
        this.#unanswered = offer
        this.#request()
      },
    })
  }

  /** From the start. */
  #again(): void {
    this.#end()
    this.#offer = null
    this.enter('INIT')
    this.#conversation.wait(this.#restarts.next(), () => this.#solicit())
  }

  #read(message: Message, server: string): Answer {
    const held = this.#lease?.address ?? null
    return answerOf(message, server, { iaid: this.#settings.iaid, held, now: this.around.time.now() })
  }

  /** Section 18.2.10. */
  #replied({ type }: OpenExchange, message: Message, server: string): void {
    this.#offers.setMaxRt(message.options.solMaxRt)
    if (type === 'CONFIRM') this.#confirmed(message, server)
    else if (type === 'DECLINE') this.#withoutOffer()
    else this.#answered(message, server)
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
    this.note(describeRefusal(server, refusal, text))
    // Everything goes to all servers anyway.
    if (refusal === 'UseMulticast') return
    if (this.state === 'REQUESTING') {
      if (this.#lease) this.#lose('refused')
      else this.#request()
    } else if (this.#lease) this.#notExtended(this.#lease, server, refusal)
  }

  /** Where nothing is said against the lease, the next RENEW or REBIND may have a better answer. */
  #notExtended({ address, expiresAt }: Lease6, server: string, refusal: Refusal): void {
    if (refusal === 'NotOnLink' || refusal === 'withdrawn') this.#lose('refused')
    else if (refusal === 'NoBinding') {
      this.enter('REQUESTING')
      this.#ask('REQUEST', server, [address], { end: expiresAt, failed: () => this.#extend('REBINDING') })
    }
  }

  #check(lease: Lease6): void {
    // What it would be if nobody else has it: a program that is stopped now has something to give back.
    const isNoted = this.#offer?.address === lease.address
    this.#offer = lease
    this.enter('CHECKING')
    if (!isNoted) this.tell(() => this.around.requesting(lease))
    if (this.state !== 'CHECKING') return
    const end = earliest(lease.expiresAt, this.#lease?.expiresAt ?? null)
    if (end !== null) this.#conversation.wait(end - this.around.time.now(), () => this.#withoutOffer())
    this.#addressCheck.begin(lease.address, (taken) => {
      if (taken) {
        this.#decline(lease)
        this.tell(() => this.around.declined?.(lease.address))
      } else this.#bind(lease)
    })
  }

  #bind(lease: Lease6): void {
    const previous = this.#lease
    this.#lease = lease
    this.#unanswered = null
    this.#settle(() => this.around.bound(lease, previous))
  }

  #settle(first?: () => void): void {
    this.#end()
    this.#offer = null
    this.enter('BOUND')
    this.#wait(first)
  }

  /** Until T1. @param first to be told before that */
  #wait(first: () => void = () => {}): void {
    const lease = this.#lease
    const next = lease && earliest(lease.renewAt, lease.rebindAt, lease.expiresAt)
    if (next !== null) this.#conversation.wait(next - this.around.time.now(), () => this.#extend('RENEWING'))
    this.forget(this.tell(first))
    if (this.state === 'BOUND') this.tell(() => this.around.idle?.())
  }

  /** Sections 18.2.4 and 18.2.5. RENEWING gives way to what is due by now. */
  #extend(state: 'RENEWING' | 'REBINDING'): void {
    const lease = this.#lease
    if (!lease) throw new Error('there is no lease to extend')
    const { address, server, rebindAt, expiresAt } = lease
    const now = this.around.time.now()
    const isPast = (moment: number | null): boolean => moment !== null && now >= moment
    // It has lasted: what went wrong before it is over.
    this.#restarts.reset()
    if (isPast(expiresAt)) this.#lose('expired')
    else if (state === 'REBINDING' || isPast(rebindAt)) {
      this.enter('REBINDING')
      this.#ask('REBIND', null, [address], { end: expiresAt, failed: () => this.#lose('expired') })
    } else {
      this.enter('RENEWING')
      const end = earliest(rebindAt, expiresAt)
      this.#ask('RENEW', server, [address], { end, failed: () => this.#extend('REBINDING') })
    }
  }

  #confirm({ address, expiresAt }: Lease6): void {
    this.#ask('CONFIRM', null, [address], {
      // After a restart the leases of a whole node are confirmed at once: this delay is for them.
      delay: this.around.time.random() * CONFIRM_MAX_DELAY,
      end: expiresAt,
      overdue: () => {
        if (this.#notOnLink) this.#lose('refused')
        return this.#notOnLink
      },
      failed: () => this.#settle(),
    })
  }

  /** One server that knows the address is enough, whatever others say (section 18.2.10.3): they have their time. */
  #confirmed(message: Message, server: string): void {
    const failure = failureOf(message)
    if (failure) {
      this.note(describeRefusal(server, failure.code, failure.message))
      if (failure.code === 'NotOnLink') this.#notOnLink = true
    } else this.#settle()
  }

  /** Section 18.2.8. */
  #decline({ server, address }: Lease6): void {
    this.note(`server ${server} gave ${address}, which another host on the link uses`)
    this.#end()
    this.#offer = null
    this.enter('DECLINING')
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
    // Its server may have it for the client still.
    if (lease && why === 'expired') this.#wanted = [lease.address]
    this.#again()
    if (lease) this.tell(() => this.around.lost(lease, why))
  }
}
