/** One protocol's lease of an attachment, as a keeper holds it: who it is for, and its client. */
import type { AttachmentId } from '../../cni/types.ts'
import type { Binding, BindingContext } from './binding.ts'
import type { Entry } from './journal.ts'
import type { AnyLease, LeaseBinding } from './lease-binding.ts'
import type { KeptLease } from './lease-keeper.ts'
import type { Whereabouts } from './place.ts'
import type { Pace, Settings } from './settings.ts'
import { Binding4 } from './v4/binding.ts'
import { Binding6 } from './v6/binding.ts'

/** Whose it is, and where. */
export interface Held {
  readonly id: AttachmentId & { readonly network: string }
  readonly where: Whereabouts
  readonly settings: Settings
  /** CNI_NETNS as it came. */
  readonly netns: string
}

/** What the journal knows of a lease of either protocol, but for the lease. */
type Common = Omit<Entry, 'version' | 'lease' | 'offer' | 'applied'>

/** What differs between the protocols: what is noted of a lease. */
interface Protocol {
  readonly binding: Binding & { readonly used: boolean }
  note(common: Common): Entry
  resume(entry: Entry, lapsed: boolean): void
}

interface Leases<L> {
  readonly lease: L | null
  readonly offer: L | null
  readonly applied?: L | null | undefined
}

const leasesOf = <L extends AnyLease>({
  lease,
  offer,
  applied,
}: LeaseBinding<L, { close(): void }>): Leases<L> => ({
  lease,
  offer,
  ...(applied === undefined ? {} : { applied }),
})

/** Takes a lease over, or gives back what nobody has used yet. */
const takeOver = <L extends AnyLease>(
  binding: LeaseBinding<L, { close(): void }>,
  { used, lease, offer, applied }: Leases<L> & { readonly used: boolean },
  lapsed: boolean,
): void => {
  if (used) binding.resume(lease, applied, lapsed)
  else if (offer) binding.giveBack(offer)
}

const protocol4 = (binding: Binding4): Protocol => ({
  binding,
  note: (common) => ({ ...common, version: 4, ...leasesOf(binding) }),
  resume(entry, lapsed) {
    if (entry.version === 4) takeOver(binding, entry, lapsed)
  },
})

const protocol6 = (binding: Binding6): Protocol => ({
  binding,
  note: (common) => ({ ...common, version: 6, ...leasesOf(binding), facts: binding.facts }),
  resume(entry, lapsed) {
    if (entry.version !== 6) return
    binding.remember(entry.facts)
    takeOver(binding, entry, lapsed)
  },
})

export class Holding {
  readonly what: Held
  readonly binding: Binding
  readonly #protocol: Protocol
  /** Called when there is an address, or, with the reason, when there can't be one. */
  readonly told = new Set<(why?: Error) => void>()
  /** Why the journal does not know it as it is. */
  unnoted: Error | undefined

  constructor(version: 4 | 6, what: Held, pace: Pace, context: BindingContext) {
    this.what = what
    const { where, settings } = what
    this.#protocol =
      version === 4
        ? protocol4(new Binding4(where, settings, pace, context))
        : protocol6(new Binding6(where, settings, pace, context))
    this.binding = this.#protocol.binding
  }

  tell(why?: Error): void {
    for (const one of [...this.told]) one(why)
  }

  /** Whether it is a lease of an earlier ADD that the same interface has still. */
  isGoodFor({ netnsId, index, mac }: Whereabouts, versions: readonly (4 | 6)[]): boolean {
    const { where } = this.what
    return (
      this.binding.grant !== null &&
      versions.includes(this.binding.version) &&
      where.netnsId === netnsId &&
      where.index === index &&
      where.mac === mac
    )
  }

  /** What the journal is to know. */
  get entry(): Entry {
    const { id, where, settings, netns } = this.what
    const { netnsId, index, mac } = where
    const { used } = this.#protocol.binding
    return this.#protocol.note({ ...id, netns, netnsId, index, mac, settings, used })
  }

  /**
   * Goes on with what the journal knows.
   * @returns false where nobody uses it: what a server may have granted was given back
   */
  resume(entry: Entry, now: number): boolean {
    // One that has ended meanwhile may be somebody else's by now: a server is asked first.
    const lapsed = entry.lease !== null && entry.lease.expiresAt !== null && now >= entry.lease.expiresAt
    this.#protocol.resume(entry, lapsed)
    return entry.used
  }

  /** As others are told of it. @param shift what makes a moment of the timebase one since the epoch */
  kept(shift: number): KeptLease {
    const { what, binding } = this
    const epoch = (moment: number | null | undefined) =>
      moment === null || moment === undefined ? undefined : moment + shift
    const { renewAt, rebindAt, expiresAt } = binding.times ?? {}
    return {
      ...what.id,
      netns: what.netns,
      version: binding.version,
      state: binding.state,
      address: binding.grant?.ips[0]?.address,
      server: binding.server,
      renewAt: epoch(renewAt),
      rebindAt: epoch(rebindAt),
      expiresAt: epoch(expiresAt),
    }
  }
}
