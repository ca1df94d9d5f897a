/** When a client says again what was not answered, and when it gives up (RFC 8415 section 15). */

/** Times in milliseconds. 0 is no limit. */
export interface Schedule {
  /** Initial retransmission time. */
  readonly irt: number
  /** Maximum retransmission time. */
  readonly mrt: number
  /** Maximum retransmission count: how often the message is sent, the first time included. */
  readonly mrc: number
  /** Maximum retransmission duration, from the first transmission. That of RENEW and REBIND follows from the lease. */
  readonly mrd: number
}

/** Section 7.6, by the message that is sent. */
export const schedules = {
  SOLICIT: { irt: 1000, mrt: 3_600_000, mrc: 0, mrd: 0 },
  REQUEST: { irt: 1000, mrt: 30_000, mrc: 10, mrd: 0 },
  CONFIRM: { irt: 1000, mrt: 4000, mrc: 0, mrd: 10_000 },
  RENEW: { irt: 10_000, mrt: 600_000, mrc: 0, mrd: 0 },
  REBIND: { irt: 10_000, mrt: 600_000, mrc: 0, mrd: 0 },
  DECLINE: { irt: 1000, mrt: 0, mrc: 4, mrd: 0 },
} as const satisfies Record<string, Schedule>

/** CNF_MAX_DELAY, milliseconds. */
export const CONFIRM_MAX_DELAY = 1000
/** RAND moves a time by a tenth at most. */
const RAND = 0.1

/** The times of one exchange. */
export class Retransmission {
  readonly #schedule: Schedule
  readonly #random: () => number
  readonly #isSolicit: boolean
  #rt = 0
  #count = 0

  /**
   * @param random of [0, 1)
   * @param isSolicit the first RT of a SOLICIT is never shorter than IRT (section 18.2.1): servers have a full second
   */
  constructor(schedule: Schedule, random: () => number, isSolicit = false) {
    this.#schedule = schedule
    this.#random = random
    this.#isSolicit = isSolicit
  }

  /** How often the message was sent. */
  get count(): number {
    return this.#count
  }

  /** Whether it was sent as often as it may be. */
  get isExhausted(): boolean {
    return this.#schedule.mrc !== 0 && this.#count >= this.#schedule.mrc
  }

  /**
   * Counts a transmission.
   * @param mrt in place of the schedule's
   * @returns RT: milliseconds to wait for an answer to it
   */
  next(mrt = this.#schedule.mrt): number {
    const random = this.#random()
    const isFirst = this.#count++ === 0
    // Of (0, 0.1], or of [-0.1, 0.1).
    const rand = isFirst && this.#isSolicit ? RAND * (1 - random) : RAND * (2 * random - 1)
    const rt = isFirst ? (1 + rand) * this.#schedule.irt : (2 + rand) * this.#rt
    this.#rt = mrt !== 0 && rt > mrt ? (1 + rand) * mrt : rt
    return this.#rt
  }
}

/**
 * How long a client waits before it looks for servers anew, after one has offered something and then taken it back. The
 * first time not at all, then as long as between SOLICITs that nobody answers (section 14.1 wants some limit).
 */
export class Restarts {
  readonly #random: () => number
  #retransmission: Retransmission | undefined

  /** @param random of [0, 1) */
  constructor(random: () => number) {
    this.#random = random
  }

  /** Milliseconds. */
  next(): number {
    const delay = this.#retransmission?.next() ?? 0
    this.#retransmission ??= new Retransmission(schedules.SOLICIT, this.#random)
    return delay
  }

  /** What went wrong is over. */
  reset(): void {
    this.#retransmission = undefined
  }
}

/** Messages and milliseconds of section 14.1. */
const LIMIT = 20
const PERIOD = 20_000

/**
 * Keeps a client from flooding its link, whatever servers make it do (section 14.1): a bucket of 20 messages that fills
 * up with one a second.
 */
export class RateLimit {
  #tokens = LIMIT
  #filledAt = Number.NEGATIVE_INFINITY

  /** Takes room for a message. @returns milliseconds until there will be some; 0: it was taken */
  take(now: number): number {
    const filled = ((now - this.#filledAt) * LIMIT) / PERIOD
    this.#tokens = Math.min(LIMIT, this.#tokens + filled)
    this.#filledAt = now
    if (this.#tokens < 1) return Math.ceil(((1 - this.#tokens) * PERIOD) / LIMIT)
    this.#tokens--
    return 0
  }
}
