import { type Binding, binding, type Descriptor } from '../native/binding.ts'
import { during, NetlinkError } from './error.ts'
import { type Decoded, decode, encode, type Outcome } from './exchange.ts'
import { isDump, type Request } from './request.ts'

/** A dump that the kernel keeps interrupting is tried this often before EINTR is reported. */
const DUMP_TRIES = 32
/** No kernel operation of ours takes longer, unless the machine is in trouble. */
const DEFAULT_TIMEOUT = 30_000
/** linux/rtnetlink.h */
const RTM_DELLINK = 17
/** A datagram is cut before it grows past this: the acknowledgements of one must fit into the receive buffer. */
const MAX_REQUESTS = 512

/** The outcomes of a tuple of requests, in its order. */
export type Outcomes<R extends readonly Request<unknown>[]> = {
  [K in keyof R]: R[K] extends Request<infer T> ? Outcome<T> : never
}

/** How a connection sends: what the addon does, or a fake kernel in tests. */
export type Transport = Pick<Binding, 'transact' | 'transactSync'>

export interface ConnectionOptions {
  /**
   * Whether exchanges run on the calling thread, which saves two changes of thread each: always, for a program that does
   * one thing and exits; or when the function says so, which is asked before each. Then deletions of links, which take
   * the kernel tens of milliseconds, do not, nor does what comes while another exchange is under way. Default false.
   */
  readonly sync?: boolean | (() => boolean) | undefined
  /** Milliseconds that one exchange may take. Default 30 000. */
  readonly timeout?: number | undefined
  /** Called before each exchange; what it throws stops the request from being sent. */
  readonly guard?: (() => void) | undefined
  readonly transport?: Transport | undefined
}

/** A socket, and the one exchange at a time that goes over it. */
interface Channel {
  readonly socket: Descriptor
  readonly sync: boolean | (() => boolean)
  readonly timeout: number
  readonly transport: Transport
  seq: number
  last: Promise<unknown> | undefined
  /** Exchanges that are under way or wait, off this thread. */
  pending: number
}

/** Requests, ready to be sent. */
interface Encoded<T> {
  readonly requests: readonly Request<T>[]
  /** Of the first. */
  readonly seq: number
  readonly datagram: Uint8Array
}

/** @internal The operations of one datagram, in words. */
export const describe = ([first, ...others]: readonly { readonly op: string }[]): string =>
  `${first?.op}${others.length > 0 ? ` and ${others.length} more` : ''}`

/**
 * A netlink socket, bound for life to the namespace it was opened in, and the requests that go over it: one datagram
 * at a time, in the order of the calls. It keeps its namespace alive, so close it promptly.
 */
export class Connection {
  #channel: Channel
  readonly #guard: (() => void) | undefined

  /** Takes over a netlink socket; `Netns.connect` opens one. */
  constructor(socket: Descriptor, options: ConnectionOptions = {}) {
    this.#channel = {
      socket,
      sync: options.sync ?? false,
      timeout: options.timeout ?? DEFAULT_TIMEOUT,
      transport: options.transport ?? binding(),
      seq: 1,
      last: undefined,
      pending: 0,
    }
    this.#guard = options.guard
  }

  /** The same socket, and the same queue before it, for a user with a guard of its own. */
  guarded(guard: () => void): Connection {
    const { socket, transport } = this.#channel
    const view = new Connection(socket, { guard, transport })
    view.#channel = this.#channel
    return view
  }

  /** Safe to repeat. */
  close(): void {
    this.#channel.socket.close()
  }
  [Symbol.dispose](): void {
    this.close()
  }

  /**
   * Sends one request.
   * @returns what its answer means
   * @throws NetlinkError when the kernel refuses; SocketError when the socket fails
   */
  async run<T>(request: Request<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const sent = this.#send(this.#encode([request]))
      const { outcomes, interrupted } = sent instanceof Promise ? await sent : sent
      const outcome = outcomes[0]!
      if (!outcome.ok) throw outcome.error
      if (!interrupted) return outcome.value
      if (attempt === DUMP_TRIES)
        throw new NetlinkError({
          op: request.op,
          errno: 4,
          kernelMessage: `the objects changed during each of ${DUMP_TRIES} attempts to list them`,
        })
    }
  }

  /**
   * Sends requests in one datagram (or a few, when there are very many). **Not atomic**: the kernel carries out each
   * on its own and goes on after an error, so look at every outcome and undo what succeeded. One dump may be among them,
   * as the last: the kernel does not finish it before its answer is read, and begins no other meanwhile.
   * @throws SocketError when the socket fails; RangeError for a dump that others follow
   */
  async batch<const R extends readonly Request<unknown>[]>(requests: R): Promise<Outcomes<R>> {
    const last = requests.length - 1
    if (requests.some((request, i) => i < last && isDump(request)))
      throw new RangeError('a dump can share a datagram with other requests only as the last of them')
    // All before the first is sent, so that nothing is when a value is out of range.
    const parts: Encoded<unknown>[] = []
    for (let i = 0; i < requests.length; i += MAX_REQUESTS)
      parts.push(this.#encode(requests.slice(i, i + MAX_REQUESTS)))
    const outcomes: Outcome<unknown>[] = []
    for (const part of parts) {
      const sent = this.#send(part)
      const decoded = sent instanceof Promise ? await sent : sent
      outcomes.push(...decoded.outcomes)
      if (decoded.interrupted && outcomes[last]?.ok) outcomes[last] = await this.#again(requests[last]!)
    }
    return outcomes as Outcomes<R>
  }

  /** For a dump that was interrupted. */
  async #again<T>(request: Request<T>): Promise<Outcome<T>> {
    try {
      return { ok: true, value: await this.run(request) }
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error
      return { ok: false, code: error.code, error }
    }
  }

  #encode<T>(requests: readonly Request<T>[]): Encoded<T> {
    const seq = this.takeSeq(requests.length)
    return { requests, seq, datagram: encode(requests, seq) }
  }

  /** On the calling thread it is over at once: promises on the way to there would take as long as a small exchange. */
  #send<T>({ requests, seq, datagram }: Encoded<T>): Decoded<T> | Promise<Decoded<T>> {
    const count = requests.length
    const options = { firstSeq: seq, lastSeq: seq + count - 1, expected: count, abortSeq: -1 }
    const slow = requests.some(({ type }) => type === RTM_DELLINK)
    if (!this.#isHere(slow))
      return this.exclusive(
        () => describe(requests),
        async (send) => decode(requests, seq, await send(datagram, options)),
        slow,
      )
    this.#guard?.()
    const { socket, timeout, transport } = this.#channel
    try {
      return decode(requests, seq, transport.transactSync(socket, datagram, { ...options, timeout }))
    } catch (error) {
      throw during(describe(requests), error)
    }
  }

  /** Whether an exchange is to be on the calling thread. */
  #isHere(slow: boolean): boolean {
    const { sync, pending } = this.#channel
    return sync === true || (sync !== false && !slow && pending === 0 && sync())
  }

  /** @internal Sequence numbers for `count` messages. */
  takeSeq(count: number): number {
    const channel = this.#channel
    if (channel.seq + count > 0x7fff_ffff) channel.seq = 1
    const first = channel.seq
    channel.seq += count
    return first
  }

  /**
   * @internal Runs `use` when every exchange before it is over, so that one is under way at a time.
   * @param what what it does, in words, for errors of the socket
   * @param slow it may take the kernel so long that nothing else should wait
   */
  async exclusive<T>(
    what: () => string,
    use: (
      send: (
        datagram: Uint8Array,
        options: { firstSeq: number; lastSeq: number; expected: number; abortSeq: number },
      ) => Uint8Array | Promise<Uint8Array>,
    ) => Promise<T>,
    slow = false,
  ): Promise<T> {
    this.#guard?.()
    const channel = this.#channel
    const { socket, timeout, transport } = channel
    const here = this.#isHere(slow)
    const take = () =>
      use((datagram, { firstSeq, lastSeq, expected, abortSeq }) => {
        const options = { firstSeq, lastSeq, expected, abortSeq, timeout }
        return here
          ? transport.transactSync(socket, datagram, options)
          : transport.transact(socket, datagram, options)
      })
    try {
      // On the calling thread it is over before anything else can begin.
      if (here) return await take()
      channel.pending++
      const turn = (channel.last ?? Promise.resolve()).then(take)
      channel.last = turn.then(
        () => void channel.pending--,
        () => void channel.pending--,
      )
      return await turn
    } catch (error) {
      throw during(what(), error)
    }
  }
}
