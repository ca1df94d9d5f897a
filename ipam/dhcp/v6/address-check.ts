/** Whether an address can be used: the link is asked for it before (RFC 8415 section 18.2.10.1, RFC 4862 section 5.4). */
import type { Surroundings } from './surroundings.ts'

export class AddressCheck {
  readonly #around: Pick<Surroundings, 'isTaken' | 'log'>
  #controller: AbortController | undefined

  constructor(around: Pick<Surroundings, 'isTaken' | 'log'>) {
    this.#around = around
  }

  /** Nothing is called any more, and nobody asks. */
  end(): void {
    this.#controller?.abort()
    this.#controller = undefined
  }

  /** Where it can't be found out, the server's word counts. */
  begin(address: string, then: (taken: boolean) => void): void {
    this.end()
    const controller = new AbortController()
    this.#controller = controller
    this.#ask(address, controller.signal).then((taken) => {
      if (!controller.signal.aborted) then(taken)
    })
  }

  async #ask(address: string, signal: AbortSignal): Promise<boolean> {
    try {
      return await this.#around.isTaken(address, signal)
    } catch (error) {
      if (!signal.aborted)
        this.#around.log.warn(`DHCPv6: ${address} could not be asked for: ${(error as Error).message}`)
      return false
    }
  }
}
