/** What a client says until it is answered, one thing at a time (RFC 8415 section 15). */
import type { Timebase, Timer } from '../timebase.ts'
import { encode } from './message.ts'
import type { Options } from './options.ts'
import { RateLimit, Retransmission, schedules } from './retransmission.ts'

export interface Exchange {
  readonly type: keyof typeof schedules
  /** DUID in hex of the server that it goes to; null: any may answer. */
  readonly server: string | null
  /** Without the elapsed time. */
  readonly options: Options
  /** Milliseconds before it is sent for the first time. Default 0. */
  readonly delay?: number
  /** Moment at which it fails, whatever the schedule says; null: none. */
  readonly end: number | null
  /** MRT in milliseconds where it is not that of the schedule. */
  readonly maxRt?: () => number
  /** An answer is overdue. True where something else was begun; otherwise the message is sent again, or has failed. */
  readonly overdue?: () => boolean
  /** No answer has ended it, and nothing more is sent. */
  readonly failed: () => void
}

/** An exchange that is under way. */
export interface OpenExchange extends Exchange {
  /** 24 bits. */
  readonly transactionId: number
  readonly retransmission: Retransmission
  /** Moment of the first transmission. */
  began?: number
}

/** Hundredths of a second that an Elapsed Time option has room for (section 21.9). */
const MAX_ELAPSED = 0xffff

export class Conversation {
  readonly #time: Timebase
  readonly #send: (type: string, message: Uint8Array) => void
  readonly #limit = new RateLimit()
  #exchange: OpenExchange | undefined
  #timer: Timer | undefined

  /** @param send a message, of which the first argument is the type; it throws nothing */
  constructor(time: Timebase, send: (type: string, message: Uint8Array) => void) {
    this.#time = time
    this.#send = send
  }

  /** The exchange that an answer may belong to. */
  get exchange(): OpenExchange | undefined {
    return this.#exchange?.began === undefined ? undefined : this.#exchange
  }

  /** In place of what was said before. */
  begin(exchange: Exchange): void {
    const random = () => this.#time.random()
    const { type, delay = 0 } = exchange
    this.end()
    const begun: OpenExchange = {
      ...exchange,
      transactionId: this.#transactionId(),
      retransmission: new Retransmission(schedules[type], random, type === 'SOLICIT'),
    }
    this.#exchange = begun
    if (delay > 0)
      this.#arm(Math.min(delay, this.#left(begun, this.#time.now())), () => this.#transmit(begun))
    else this.#transmit(begun)
  }

  /** What needs no answer, or is not waited for. */
  say(type: 'RELEASE', options: Options): void {
    const transactionId = this.#transactionId()
    this.#send(type, encode({ type, transactionId, options: { ...options, elapsedTime: 0 } }))
  }

  /** Says nothing more until then. */
  wait(delay: number, work: () => void): void {
    this.end()
    this.#arm(delay, work)
  }

  /** Says nothing more, and no timer runs. */
  end(): void {
    this.#timer?.cancel()
    this.#exchange = undefined
  }

  #arm(delay: number, work: () => void): void {
    this.#timer?.cancel()
    this.#timer = this.#time.after(Math.max(0, delay), work)
  }

  #transactionId(): number {
    return Math.floor(this.#time.random() * 0x100_0000)
  }

  /** Milliseconds until it fails, whatever is sent before. */
  #left({ type, began, end }: OpenExchange, now: number): number {
    const { mrd } = schedules[type]
    const byDuration = mrd === 0 ? Number.POSITIVE_INFINITY : (began ?? now) + mrd - now
    return end === null ? byDuration : Math.min(byDuration, end - now)
  }

  #transmit(exchange: OpenExchange): void {
    const now = this.#time.now()
    if (this.#left(exchange, now) <= 0) {
      exchange.failed()
      return
    }
    const delay = this.#limit.take(now)
    if (delay > 0) {
      this.#arm(Math.min(delay, this.#left(exchange, now)), () => this.#transmit(exchange))
      return
    }
    exchange.began ??= now
    const { type, transactionId, options, retransmission, maxRt } = exchange
    const elapsedTime = Math.min(MAX_ELAPSED, Math.round((now - exchange.began) / 10))
    const message = encode({ type, transactionId, options: { ...options, elapsedTime } })
    const rt = retransmission.next(maxRt?.())
    const left = this.#left(exchange, now)
    const isLast = retransmission.isExhausted || rt >= left
    // Armed first: an answer may be there before the message counts as sent.
    this.#arm(Math.min(rt, left), () => {
      if (exchange.overdue?.()) return
      if (isLast) exchange.failed()
      else this.#transmit(exchange)
    })
    this.#send(type, message)
  }
}
