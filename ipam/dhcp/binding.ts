/** What a keeper does with an attachment's lease, whichever protocol it is of. */
import type { Logger } from '../../cni/plugin.ts'
import type { Netns } from '../../netlink/index.ts'
import type { Grant } from './grant.ts'
import type { Timebase } from './timebase.ts'

/** What happened to a lease; `count` is for the metrics. */
export interface BindingEvents {
  /** What is to be known after the program was killed has changed: {@link Binding.snapshot}. */
  changed(): void
  /** There is an address, for the first time or again. */
  bound(): void
  /** The namespace or the interface is gone: nobody needs the lease. */
  gone(why: Error): void
  count(event: string): void
}

export interface Binding {
  readonly version: 4 | 6
  /** The client's, in its RFC's words. */
  readonly state: string
  /** What servers said without giving an address; empty: silence. */
  readonly heard: string
  /** Null while there is no address. */
  readonly grant: Grant | null
  /** Moments of the timebase; null: never. */
  readonly times: {
    readonly renewAt: number | null
    readonly rebindAt: number | null
    readonly expiresAt: number | null
  } | null
  readonly server: string | undefined
  /** Looks for a server. */
  start(): void
  /** Gives the lease back, as far as it can be said to the server, and ends. */
  release(): void
  /** Ends, and says nothing to the server. Safe to repeat. */
  stop(): void
  /** Changes of the interface that are under way. */
  settled(): Promise<void>
}

/** What a binding needs of its keeper. */
export interface BindingContext {
  readonly time: Timebase
  readonly log: Logger
  /** Where interfaces of containers have their lower ones. */
  readonly hostNetns: Netns
  readonly events: BindingEvents
}
