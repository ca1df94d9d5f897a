/** What the servers of a link have offered (RFC 8415 section 18.2.9), and what they say about being asked. */
import type { Lease6 } from './lease.ts'
import { schedules } from './retransmission.ts'

interface Offer {
  readonly lease: Lease6
  readonly preference: number
}

/** Servers that a choice is made of: there is no end to the names that a hostile link can invent. */
const MAX_OFFERS = 16
/** Seconds that SOL_MAX_RT may be set to; other values are ignored (section 21.24). */
const MIN_MAX_RT = 60
const MAX_MAX_RT = 86_400

export class Offers {
  #offers: Offer[] = []
  /** Milliseconds. */
  #solMaxRt: number = schedules.SOLICIT.mrt
  /** Seconds that servers have advertised. */
  readonly #maxRts = new Set<number>()

  /** Milliseconds between SOLICITs at most. */
  get solMaxRt(): number {
    return this.#solMaxRt
  }

  get isEmpty(): boolean {
    return this.#offers.length === 0
  }

  /** A new discovery. */
  clear(): void {
    this.#offers = []
    this.#maxRts.clear()
  }

  /** A server's last offer counts. */
  add(lease: Lease6, preference: number): void {
    const others = this.#offers.filter((offer) => offer.lease.server !== lease.server)
    if (others.length < MAX_OFFERS) this.#offers = [...others, { lease, preference }]
  }

  /** Takes out the offer of the highest preference, of equals the first. */
  take(): Lease6 | undefined {
    const highest = Math.max(...this.#offers.map(({ preference }) => preference))
    const best = this.#offers.find(({ preference }) => preference === highest)
    this.#offers = this.#offers.filter((offer) => offer !== best)
    return best?.lease
  }

  /** SOL_MAX_RT of an ADVERTISE, seconds. Servers that do not agree leave it at its default. */
  advertiseMaxRt(seconds: number | undefined): void {
    if (!isMaxRt(seconds)) return
    this.#maxRts.add(seconds)
    this.#solMaxRt = this.#maxRts.size === 1 ? seconds * 1000 : schedules.SOLICIT.mrt
  }

  /** SOL_MAX_RT of a REPLY, seconds. */
  setMaxRt(seconds: number | undefined): void {
    if (isMaxRt(seconds)) this.#solMaxRt = seconds * 1000
  }
}

const isMaxRt = (seconds: number | undefined): seconds is number =>
  seconds !== undefined && seconds >= MIN_MAX_RT && seconds <= MAX_MAX_RT
