import type { PrintedResult } from '../../support/plugin.ts'
import type { Network } from './networks.ts'

/** Who has which address: nobody may be given what somebody has. */
export class Addresses {
  readonly #owners = new Map<string, string>()

  /** @throws Error where another one has it */
  claim({ name }: Network, owner: string, { ips = [] }: PrintedResult): void {
    for (const { address } of ips) {
      const key = `${name} ${address}`
      const other = this.#owners.get(key)
      if (other !== undefined) throw new Error(`${owner} was given ${key}, which ${other} has`)
      this.#owners.set(key, owner)
    }
  }

  /** From the moment on in which it is about to be given back. */
  release(owner: string): void {
    for (const [key, has] of this.#owners) if (has === owner) this.#owners.delete(key)
  }
}
