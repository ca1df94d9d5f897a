/** Watching a namespace: what changes in it, as it changes. */
import { type Binding, binding, type Descriptor, type SystemError, type Watch } from '../native/binding.ts'
import { littleEndian } from './codec/writer.ts'
import { type MonitorEvent, readEvents } from './monitor/events.ts'
import { NETLINK_ROUTE, type Netns } from './netns.ts'

export type { Action, BridgePortState, MonitorEvent } from './monitor/events.ts'

const AF_NETLINK = 16
const SOCK_RAW = 3
const EPOLLIN = 1
const MSG_TRUNC = 0x20
const SOL_SOCKET = 1
const SO_RCVBUFFORCE = 33
/** The kernel makes no notification longer than this, unless an interface has hundreds of virtual functions. */
const MAX_DATAGRAM = 65536
/** Datagrams taken at one go, so that a storm of them leaves room for other work. */
const MAX_AT_ONCE = 64
/** Events kept for a slow reader. After that the socket is left alone, until the kernel reports an overrun. */
const MAX_QUEUED = 4096

/** Multicast groups by what they tell of, `RTNLGRP_*` of linux/rtnetlink.h. */
const groups = {
  link: [1],
  neighbour: [3],
  address: [5, 9],
  route: [7, 11],
  rule: [8, 19],
} as const

/** What can be watched. `link` brings `port` events too, `neighbour` those of kind `fdb`. */
export type MonitorGroup = keyof typeof groups

export interface MonitorOptions {
  /** Default: link, address, route and neighbour. */
  readonly groups?: readonly MonitorGroup[] | undefined
  /** Ends it with the signal's reason as an error. */
  readonly signal?: AbortSignal | undefined
  /** Milliseconds after which it ends, without an error. Default: never. */
  readonly timeout?: number | undefined
  /** Bytes of the socket's buffer. Default 4 MiB: some thousand changes at once. */
  readonly receiveBuffer?: number | undefined
}

interface Waiter {
  give(event: MonitorEvent | undefined): void
  fail(error: unknown): void
}

/** `struct sockaddr_nl`: family, padding, port, groups. */
const address = (mask: number): Uint8Array => {
  const view = new DataView(new ArrayBuffer(12))
  view.setUint16(0, AF_NETLINK, littleEndian)
  view.setUint32(8, mask, littleEndian)
  return new Uint8Array(view.buffer)
}

/** A port of 0 is the kernel's. */
const isFromKernel = (sender: Uint8Array): boolean =>
  sender.length >= 8 && sender.subarray(4, 8).every((byte) => byte === 0)

/** The events of a namespace since it was opened. Leaving a `for await` loop closes it. */
export class Subscription implements AsyncIterableIterator<MonitorEvent> {
  /** The namespace it watches. */
  readonly netns: Netns
  readonly #native: Binding
  readonly #socket: Descriptor
  #watch: Watch | undefined
  #referenced = true
  #overrun = false
  readonly #queue: MonitorEvent[] = []
  readonly #waiters = new Set<Waiter>()
  #state: 'open' | 'ended' | { readonly failed: unknown } = 'open'
  readonly #release: () => void

  /** @internal Use {@link monitor}. */
  constructor(netns: Netns, { groups: wanted, signal, timeout, receiveBuffer }: MonitorOptions) {
    signal?.throwIfAborted()
    this.netns = netns
    this.#native = binding()
    this.#socket = netns.open({ domain: AF_NETLINK, type: SOCK_RAW, protocol: NETLINK_ROUTE })
    try {
      this.#setBuffer(receiveBuffer ?? 4 << 20)
      let mask = 0
      for (const name of wanted ?? (['link', 'address', 'route', 'neighbour'] as const))
        for (const group of groups[name]) mask |= 1 << (group - 1)
      this.#native.bind(this.#socket, address(mask >>> 0))
      this.#startWatching()
    } catch (error) {
      this.#socket.close()
      throw error
    }
    const abort = () => this.#fail(signal?.reason)
    const timer = timeout === undefined ? undefined : setTimeout(() => this.#end(), timeout)
    signal?.addEventListener('abort', abort, { once: true })
    this.#release = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
  }

  #setBuffer(size: number): void {
    try {
      const value = new Uint8Array(Uint32Array.of(size).buffer)
      this.#native.setsockopt(this.#socket, SOL_SOCKET, SO_RCVBUFFORCE, value)
    } catch (error) {
      // Watching needs no privilege; without one the default size has to do.
      if ((error as SystemError).code !== 'EPERM') throw error
    }
  }

  #startWatching(): void {
    this.#watch = this.#native.watch(this.#socket, EPOLLIN, () => this.#drain())
    if (!this.#referenced) this.#watch.unref()
  }

  #stopWatching(): void {
    this.#watch?.close()
    this.#watch = undefined
  }

  #drain(): void {
    try {
      for (let i = 0; i < MAX_AT_ONCE && this.#state === 'open'; i++) {
        if (this.#queue.length >= MAX_QUEUED && !this.#overrun) {
          this.#stopWatching()
          return
        }
        const received = this.#receive()
        if (received === null) {
          if (this.#overrun) this.#push({ kind: 'overrun' })
          this.#overrun = false
          return
        }
        for (const event of received) this.#push(event)
      }
    } catch (error) {
      this.#fail(error)
    }
  }

  /** The events of the next datagram; null when none waits. */
  #receive(): MonitorEvent[] | null {
    try {
      const received = this.#native.receive(this.#socket, MAX_DATAGRAM)
      if (received === null) return null
      for (const descriptor of received.descriptors) descriptor.close()
      if (this.#overrun || !isFromKernel(received.address)) return []
      return received.flags & MSG_TRUNC ? [{ kind: 'overrun' }] : readEvents(received.data)
    } catch (error) {
      if ((error as SystemError).code !== 'ENOBUFS') throw error
      // The kernel says so once, and from then on drops everything, silently, until the socket was read empty. So that
      // is done first: who lists again on being told must not miss what comes after.
      this.#overrun = true
      return []
    }
  }

  #push(event: MonitorEvent): void {
    for (const waiter of this.#waiters) {
      waiter.give(event)
      return
    }
    this.#queue.push(event)
  }

  /** No more events will come; those that did can still be read. */
  #end(): void {
    if (this.#state !== 'open') return
    this.#state = 'ended'
    this.#shut()
    for (const waiter of this.#waiters) waiter.give(undefined)
  }

  #fail(error: unknown): void {
    if (this.#state !== 'open') return
    this.#shut()
    this.#queue.length = 0
    // Whoever waits is told; if nobody does, whoever asks next.
    this.#state = this.#waiters.size > 0 ? 'ended' : { failed: error }
    for (const waiter of this.#waiters) waiter.fail(error)
  }

  #shut(): void {
    this.#release()
    this.#stopWatching()
    this.#socket.close()
  }

  /** Ends it at once; events not read yet are dropped. Safe to repeat. */
  close(): void {
    this.#queue.length = 0
    this.#end()
  }
  [Symbol.dispose](): void {
    this.close()
  }

  /** Whether it has ended: closed, aborted, failed, or its time is over. */
  get closed(): boolean {
    return this.#state !== 'open'
  }

  /** Lets the program end though the subscription is open. */
  unref(): void {
    this.#referenced = false
    this.#watch?.unref()
  }
  /** Keeps the program running while it is open (the default). */
  ref(): void {
    this.#referenced = true
    this.#watch?.ref()
  }

  /**
   * The next event; undefined when there will be none, or none within `timeout` milliseconds.
   * @throws what the signal, or the subscription's own, was aborted with; SystemError when the socket fails
   */
  take({
    timeout,
    signal,
  }: {
    timeout?: number | undefined
    signal?: AbortSignal | undefined
  } = {}): Promise<MonitorEvent | undefined> {
    const event = this.#queue.shift()
    if (this.#queue.length === 0 && this.#state === 'open' && !this.#watch) this.#startWatching()
    if (event) return Promise.resolve(event)
    if (typeof this.#state === 'object') {
      const { failed } = this.#state
      this.#state = 'ended'
      return Promise.reject(failed)
    }
    if (this.#state === 'ended') return Promise.resolve(undefined)
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#waiters.delete(waiter)
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
      }
      const waiter: Waiter = {
        give(value) {
          settle()
          resolve(value)
        },
        fail(error) {
          settle()
          reject(error)
        },
      }
      const abort = () => waiter.fail(signal?.reason)
      const timer = timeout === undefined ? undefined : setTimeout(() => waiter.give(undefined), timeout)
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiters.add(waiter)
      if (signal?.aborted) abort()
    })
  }

  async next(): Promise<IteratorResult<MonitorEvent, undefined>> {
    const value = await this.take()
    return value ? { done: false, value } : { done: true, value: undefined }
  }

  async return(): Promise<IteratorResult<MonitorEvent, undefined>> {
    this.close()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

/**
 * Watches a namespace: `for await (const event of monitor(netns)) …`. It is subscribed when this returns: nothing that
 * changes afterwards is missed. Equivalent: `ip monitor link address route neigh rule`.
 *
 * The namespace stays alive as long as the subscription is open. Close it, or leave the loop.
 * @throws SystemError when no socket can be opened there; the signal's reason when it is aborted already
 */
export const monitor = (netns: Netns, options: MonitorOptions = {}): Subscription =>
  new Subscription(netns, options)
