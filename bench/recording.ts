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
const SOCK_RAW = 3
const [SOL_SOCKET, SO_SNDBUFFORCE, SO_RCVBUFFORCE] = [1, 32, 33] as const
const [SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK] = [270, 10, 11, 12] as const

/** What the addon sets for each netlink socket. */
const socketOptions = [
  { level: SOL_NETLINK, name: NETLINK_CAP_ACK, value: 1 },
  { level: SOL_NETLINK, name: NETLINK_EXT_ACK, value: 1 },
  { level: SOL_NETLINK, name: NETLINK_GET_STRICT_CHK, value: 1 },
  { level: SOL_SOCKET, name: SO_SNDBUFFORCE, value: 16 << 20 },
  { level: SOL_SOCKET, name: SO_RCVBUFFORCE, value: 32 << 20 },
] as const

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
  readonly #original: Pick<Binding, 'open' | 'openNetlink' | 'sysctls' | 'transact' | 'transactSync'>
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
    const { open, openNetlink, sysctls, transact, transactSync } = this.#native
    this.#original = { open, openNetlink, sysctls, transact, transactSync }
    this.#native.open = (path, flags, mode) => this.#open(path, flags, mode)
    this.#native.openNetlink = (netns, protocol) => this.#openNetlink(netns, protocol)
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

  #openNetlink(netns: Descriptor | null, protocol: number): Descriptor {
    return this.#measure(
      () => this.#original.openNetlink(netns, protocol),
      (opened) => {
        this.#protocols.set(opened, protocol)
        const slot = this.#number(opened)
        const socket: Step = { kind: 'socket', slot, domain: AF_NETLINK, type: SOCK_RAW, protocol }
        const options = socketOptions.map((option): Step => ({ kind: 'option', slot, ...option }))
        if (!netns) return [socket, ...options]
        return [{ kind: 'enter', slot: this.#container(netns) }, socket, { kind: 'leave' }, ...options]
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
