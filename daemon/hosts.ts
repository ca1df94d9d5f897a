/** The network namespaces that launchers live in: usually one, the daemon's own. */
import { type OpenHost, openHost } from '../cni/host.ts'
import type { Host } from '../cni/session.ts'
import { Netns } from '../netlink/netns.ts'

/** Milliseconds that the connections to another namespace stay open without a use: they keep it alive. */
const LINGER = 5000

interface Entry {
  readonly host: OpenHost
  users: number
  timer?: NodeJS.Timeout | undefined
}

/** A host in use. */
export interface HeldHost {
  readonly host: Host
  /** Once. */
  release(): void
}

/**
 * Connections to each namespace that plays a host, shared by all operations there. Those to the daemon's own stay open;
 * others are closed some time after their last use.
 */
export class Hosts {
  readonly #options: Host
  readonly #linger: number
  readonly #own = Netns.current()
  readonly #ownHost: OpenHost
  readonly #others = new Map<string, Entry>()

  /** @param linger milliseconds that connections to others stay open without a use. Default 5000 */
  constructor(options: Host, linger = LINGER) {
    this.#options = options
    this.#linger = linger
    this.#ownHost = openHost(options)
  }

  /** The host whose namespace this is, which stays the caller's. @throws SystemError */
  hold({ identity, descriptor }: Netns): HeldHost {
    if (identity === this.#own.identity) return { host: this.#ownHost, release: () => {} }
    let entry = this.#others.get(identity)
    if (!entry) {
      // One of its own: the caller's ends with the request.
      const hostNetns = Netns.open(`/proc/self/fd/${descriptor?.fd}`)
      entry = { host: openHost({ ...this.#options, hostNetns }), users: 0 }
      this.#others.set(identity, entry)
    }
    clearTimeout(entry.timer)
    entry.users++
    const held = entry
    return {
      host: held.host,
      release: () => {
        held.users--
        if (held.users === 0) held.timer = setTimeout(() => this.#drop(identity, held), this.#linger)
      },
    }
  }

  #drop(identity: string, { host, timer }: Entry): void {
    clearTimeout(timer)
    host.close()
    host.hostNetns?.close()
    this.#others.delete(identity)
  }

  /** Closes all of them. Nothing may be in use. */
  close(): void {
    for (const [identity, entry] of [...this.#others]) this.#drop(identity, entry)
    this.#ownHost.close()
  }
}
