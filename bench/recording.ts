/**
 * What an operation does to the kernel, as the addon is told it: namespaces entered, sockets, datagrams and their
 * answers, sysctls. Files of other kinds (reservations, locks) are not recorded.
 */
import {
  type Binding,
  binding,
  type Descriptor,
  type SysctlSpec,
  type SystemError,
  type TransactOptions,
} from '../native/binding.ts'

const AF_NETLINK = 16

/** Descriptors go by numbers of their own: slots. */
export type Step =
  | { readonly kind: 'container'; readonly slot: number; readonly path: string }
  | { readonly kind: 'enter'; readonly slot: number }
  | { readonly kind: 'leave' }
  | {
      readonly kind: 'socket'
      readonly slot: number
      readonly domain: number
      readonly type: number
      readonly protocol: number
    }
  | {
      readonly kind: 'option'
      readonly slot: number
      readonly level: number
      readonly name: number
      readonly value: number
    }
  | Exchange
  | { readonly kind: 'sysctl'; readonly path: string; readonly value: string | null }
  | { readonly kind: 'close'; readonly slot: number }

/** One datagram, and the answers to it. */
export interface Exchange {
  readonly kind: 'exchange'
  readonly slot: number
  /** Of its socket: NETLINK_ROUTE or NETLINK_NETFILTER. */
  readonly protocol: number
  readonly datagram: Uint8Array
  readonly options: TransactOptions
  readonly received: Uint8Array
}

/** What {@link Recorder.take} found. */
export interface Recording {
  readonly steps: readonly Step[]
  /** Milliseconds of each step, of those that were measured. */
  readonly times: readonly number[]
}

/** Records, from its making to {@link close}, whatever this process does through the addon. */
export class Recorder {
  readonly #native: Binding
  readonly #original: Pick<
    Binding,
    'open' | 'openInNetns' | 'setsockopt' | 'sysctls' | 'transact' | 'transactSync'
  >
  readonly #slots = new WeakMap<Descriptor, number>()
  readonly #protocols = new WeakMap<Descriptor, number>()
  readonly #isContainer: (path: string) => boolean
  #steps: Step[] = []
  #times: number[] = []
  #lastSlot = 0

  /** @param isContainer tells the paths of containers' namespaces from other files */
  constructor(isContainer: (path: string) => boolean) {
    this.#isContainer = isContainer
    this.#native = binding()
    const { open, openInNetns, setsockopt, sysctls, transact, transactSync } = this.#native
    this.#original = { open, openInNetns, setsockopt, sysctls, transact, transactSync }
    this.#native.open = (path, flags, mode) => this.#open(path, flags, mode)
    this.#native.openInNetns = (netns, specs) => this.#openInNetns(netns, specs)
    this.#native.setsockopt = (socket, level, name, value) => {
      const slot = this.#slots.get(socket)
      this.#measure(
        () => setsockopt(socket, level, name, value),
        () =>
          slot === undefined
            ? []
            : [{ kind: 'option', slot, level, name, value: Buffer.from(value).readInt32LE(0) }],
      )
    }
    this.#native.transactSync = (socket, datagram, options) =>
      this.#measure(
        () => transactSync(socket, datagram, options),
        (received) => [this.#exchange(socket, datagram, options, received)],
      )
    this.#native.transact = async (socket, datagram, options) => {
      const received = await transact(socket, datagram, options)
      this.#steps.push(this.#exchange(socket, datagram, options, received))
      return received
    }
    this.#native.sysctls = (netns, sysctls) => this.#sysctls(netns, sysctls)
  }

  /** What was recorded since the last time. */
  take(): Recording {
    const taken = { steps: this.#steps, times: this.#times }
    this.#steps = []
    this.#times = []
    return taken
  }

  close(): void {
    Object.assign(this.#native, this.#original)
  }

  #measure<T>(work: () => T, record: (result: T) => Step[]): T {
    const start = performance.now()
    const result = work()
    const took = performance.now() - start
    const steps = record(result)
    this.#steps.push(...steps)
    if (steps.length > 0) this.#times.push(took, ...steps.slice(1).map(() => 0))
    return result
  }

  /** Gives a descriptor its number, and sees when it is closed. */
  #number(descriptor: Descriptor): number {
    const slot = ++this.#lastSlot
    this.#slots.set(descriptor, slot)
    const close = descriptor.close.bind(descriptor)
    Object.defineProperty(descriptor, 'close', {
      value: () => {
        const isOpen = descriptor.fd >= 0
        this.#measure(close, () => (isOpen ? [{ kind: 'close', slot }] : []))
      },
    })
    return slot
  }

  #open(path: string, flags: number, mode: number): Descriptor {
    return this.#measure(
      () => this.#original.open(path, flags, mode),
      (opened) => (this.#isContainer(path) ? [{ kind: 'container', slot: this.#number(opened), path }] : []),
    )
  }

  #openInNetns(...[netns, specs]: Parameters<Binding['openInNetns']>): (Descriptor | SystemError)[] {
    return this.#measure(
      () => this.#original.openInNetns(netns, specs),
      (opened) => {
        const steps = opened.flatMap((descriptor, i): Step[] => {
          const spec = specs[i]!
          if (descriptor instanceof Error) return []
          if ('path' in spec || spec.domain !== AF_NETLINK) return []
          this.#protocols.set(descriptor, spec.protocol)
          return [{ kind: 'socket', slot: this.#number(descriptor), ...spec }]
        })
        if (steps.length === 0 || !netns) return steps
        return [{ kind: 'enter', slot: this.#container(netns) }, ...steps, { kind: 'leave' }]
      },
    )
  }

  #exchange(
    socket: Descriptor,
    datagram: Uint8Array,
    options: TransactOptions,
    received: Uint8Array,
  ): Exchange {
    const slot = this.#slots.get(socket)
    const protocol = this.#protocols.get(socket)
    if (slot === undefined || protocol === undefined)
      throw new Error('an exchange over a socket that was opened before the recording')
    return { kind: 'exchange', slot, protocol, datagram: datagram.slice(), options, received }
  }

  #sysctls(netns: Descriptor | null, sysctls: readonly SysctlSpec[]): (string | SystemError)[] {
    return this.#measure(
      () => this.#original.sysctls(netns, sysctls),
      (outcomes) => {
        const steps = sysctls.flatMap(({ path, value }, i): Step[] =>
          outcomes[i] instanceof Error ? [] : [{ kind: 'sysctl', path, value: value ?? null }],
        )
        if (steps.length === 0 || !netns) return steps
        return [{ kind: 'enter', slot: this.#container(netns) }, ...steps, { kind: 'leave' }]
      },
    )
  }

  #container(netns: Descriptor): number {
    const slot = this.#slots.get(netns)
    if (slot === undefined) throw new Error('entered a namespace that is no container')
    return slot
  }
}
