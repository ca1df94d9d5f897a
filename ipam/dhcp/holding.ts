/** One protocol's lease of an attachment, as a keeper holds it: who it is for, and its client. */
import type { AttachmentId } from '../../cni/types.ts'
import type { Binding, BindingContext } from './binding.ts'
import type { Entry } from './journal.ts'
import type { Whereabouts } from './place.ts'
import type { Pace, Settings } from './settings.ts'
import { Binding4 } from './v4/binding.ts'

/** Whose it is, and where. */
export interface Held {
  readonly id: AttachmentId & { readonly network: string }
  readonly where: Whereabouts
  readonly settings: Settings
  /** CNI_NETNS as it came. */
  readonly netns: string
}

export class Holding {
  readonly what: Held
  readonly #binding: Binding4
  /** Called when there is an address, or, with the reason, when there can't be one. */
  readonly told = new Set<(why?: Error) => void>()
  /** Why the journal does not know it as it is. */
  unnoted: Error | undefined

  constructor(version: 4 | 6, what: Held, pace: Pace, context: BindingContext) {
    this.what = what
    if (version !== 4) throw new Error(`there is no DHCPv${version}`)
    this.#binding = new Binding4(what.where, what.settings, pace, context)
  }

  get binding(): Binding {
    return this.#binding
  }

  tell(why?: Error): void {
    for (const one of [...this.told]) one(why)
  }

  /** What the journal is to know. */
  get entry(): Entry {
    const { id, where, settings, netns } = this.what
    const { netnsId, index, mac } = where
    const { lease, offer, used } = this.#binding
    return { ...id, netns, netnsId, index, mac, settings, used, version: 4, lease, offer }
  }

  /**
   * Goes on with what the journal knows.
   * @returns false where nobody uses it: what a server may have granted was given back
   */
  resume({ used, lease, offer }: Entry, now: number): boolean {
    if (!used) {
      if (offer) this.#binding.giveBack(offer)
      return false
    }
    // One that has ended meanwhile may be somebody else's by now: a server is asked first.
    const lapsed = lease !== null && lease.expiresAt !== null && now >= lease.expiresAt
    this.#binding.resume(lease, lapsed)
    return true
  }
}
