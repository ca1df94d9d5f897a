/** What a client is in, has heard, and tells: the part of it that knows nothing of the protocol. */
import { type State, transitions } from './states.ts'
import type { Surroundings } from './surroundings.ts'

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

export abstract class Machine {
  protected readonly around: Surroundings
  #state: State = 'INIT'
  #heard = ''
  /** Why the last message could not be sent; empty: it was. */
  #unsent = ''

  constructor(around: Surroundings) {
    this.around = around
  }

  get state(): State {
    return this.#state
  }

  /** Why there is no address, as far as is known: what a server said last, or what kept it from being asked. Empty: silence. */
  get heard(): string {
    return this.#unsent || this.#heard
  }

  /** @throws Error for a transition that is not in the table */
  protected enter(next: State): void {
    if (!transitions[this.#state].includes(next))
      throw new Error(`a DHCPv6 client does not go from ${this.#state} to ${next}`)
    this.around.log.debug(`DHCPv6: ${this.#state} to ${next}`)
    this.#state = next
  }

  /** Something went wrong, and is worth a line. */
  protected note(heard: string): void {
    this.#heard = heard
    this.around.log.warn(`DHCPv6: ${heard}`)
  }

  /** All is well. @param heard but for this */
  protected forget(heard = ''): void {
    this.#heard = heard
    this.#unsent = ''
  }

  /** @returns what the listener throws; empty: nothing */
  protected tell(listener: () => void): string {
    try {
      listener()
      return ''
    } catch (error) {
      this.around.log.error(`DHCPv6: ${reasonOf(error)}`)
      return reasonOf(error)
    }
  }

  /** A message that can't be sent counts as lost: an interface may be down for a moment. */
  protected send(type: string, message: Uint8Array): void {
    // Before: an answer may be there before the message counts as sent.
    this.#unsent = ''
    try {
      this.around.send(message)
    } catch (error) {
      this.#unsent = `${type} could not be sent: ${reasonOf(error)}`
      this.around.log.warn(`DHCPv6: ${this.#unsent}`)
    }
  }
}
