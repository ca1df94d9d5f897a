/** One connection of a launcher: greeting, request, answer, acknowledgement, and how each of them can fail. */
import { CniError, codes } from '../cni/error.ts'
import type { Descriptor } from '../native/binding.ts'
import { isErrno } from '../netlink/error.ts'
import type { Deadline, Deadlines } from './deadlines.ts'
import {
  ACKNOWLEDGE,
  type Answer,
  Assembly,
  CANCEL,
  type DaemonRequest,
  decodeGreeting,
  decodeRequest,
  encodeAnswer,
  encodeWelcome,
  GREETING,
  MAX_DESCRIPTORS,
  NOT_NOW,
  ProtocolError,
} from './protocol.ts'
import { Stream, type StreamOptions } from './stream.ts'
import type { Turnstile } from './turnstile.ts'

/** Who carries out a request. */
export interface Exchange {
  /** Aborted when the launcher gives up, with a CniError. */
  readonly signal: AbortSignal
  /**
   * Answers, and waits until all of it is printed.
   * @throws Error where it is not: the launcher is gone, or takes too long
   */
  deliver(answer: Omit<Answer, 'acknowledge'>): Promise<void>
}

export interface ConnectionOptions extends StreamOptions {
  /** Whether something new is taken now. */
  readonly open: () => boolean
  /**
   * Carries out a request. Descriptors that came along are closed afterwards.
   * @returns what is to be answered; null where that has been done
   * @throws Error where the launcher is to go on as if nobody were here
   */
  readonly serve: (
    request: DaemonRequest,
    descriptors: readonly Descriptor[],
    exchange: Exchange,
  ) => Promise<Omit<Answer, 'acknowledge'> | null>
  /** How many requests are begun at once. */
  readonly turnstile: Turnstile
  /** Told why the peer was not served: what it said meant nothing, or this end could not take it. */
  readonly refused: (error: Error) => void
  /** In which a request has to be complete. */
  readonly idle: Deadlines
  /** In which a launcher has to have printed a result. */
  readonly printing: Deadlines
}

type State = 'greeting' | 'request' | 'serving' | 'delivering' | 'over'

const gone = (): CniError =>
  new CniError({ code: codes.internal, msg: 'stopped before it was done: the caller is gone' })
const broken = ({ message }: Error): CniError =>
  new CniError({
    code: codes.tryAgainLater,
    msg: `stopped before it was done: the connection to the caller: ${message}`,
    details: 'what was done is undone: try again',
  })
const cancelled = (): CniError =>
  new CniError({ code: codes.internal, msg: 'stopped before it was done: by the caller' })

export class Connection {
  /** Resolves when nothing is left of it, what it had done included. */
  readonly closed: Promise<void>
  readonly #stream: Stream
  readonly #options: ConnectionOptions
  readonly #assembly = new Assembly()
  readonly #controller = new AbortController()
  readonly #idle: Deadline
  #descriptors: Descriptor[] = []
  #state: State = 'greeting'
  #finish: () => void = () => {}
  #acknowledged: (error: Error | null) => void = () => {}

  /**
   * Owns the socket from then on.
   * @param greeted whether its greeting has been answered already
   */
  constructor(socket: Descriptor, greeted: boolean, options: ConnectionOptions) {
    this.#options = options
    if (greeted) this.#state = 'request'
    this.closed = new Promise((resolve) => {
      this.#finish = resolve
    })
    const { idle } = options
    this.#idle = idle.begin(() => this.#refuse(new ProtocolError(`no request within ${idle.length} ms`)))
    this.#stream = new Stream(
      socket,
      { data: (bytes, descriptors) => this.#data(bytes, descriptors), end: (error) => this.#end(error) },
      options,
    )
  }

  start(): void {
    this.#stream.start()
  }

  /** Whether it waits for a request: nothing is lost when it is closed. */
  get idle(): boolean {
    return this.#state === 'greeting' || this.#state === 'request'
  }

  #data(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    this.#descriptors.push(...descriptors)
    if (this.#state === 'over') {
      for (const descriptor of this.#descriptors.splice(0)) descriptor.close()
      return
    }
    try {
      if (descriptors.length > 0 && (this.#state !== 'request' || this.#descriptors.length > MAX_DESCRIPTORS))
        throw new ProtocolError('descriptors come along that nobody asked for')
      this.#assembly.push(bytes)
      if (this.#state === 'greeting') this.#greet()
      if (this.#state === 'request') this.#receive()
      if (this.#state === 'serving' || this.#state === 'delivering') this.#told()
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.#refuse(error)
    }
  }

  #greet(): void {
    const greeting = this.#assembly.take(GREETING)
    if (!greeting) return
    const version = decodeGreeting(greeting)
    const open = this.#options.open()
    const welcome = this.#stream.write(encodeWelcome(version, open ? 0 : NOT_NOW))
    if (version !== 0 && open) {
      this.#state = 'request'
      // Where it can't be told the connection is broken, which is noticed by reading, too.
      welcome.catch(() => this.#close())
    } else {
      this.#state = 'over'
      welcome.then(
        () => this.#close(),
        () => this.#close(),
      )
    }
  }

  #receive(): void {
    const body = this.#assembly.frame()
    if (!body) return
    this.#options.idle.cancel(this.#idle)
    this.#state = 'serving'
    void this.#serve(body)
  }

  /** @throws ProtocolError */
  #decode(body: Uint8Array): DaemonRequest {
    const request = decodeRequest(body)
    const expected = request.kind === 'status' ? 0 : Number(request.hasOwnNetns) + Number(request.hasCniNetns)
    if (this.#descriptors.length !== expected)
      throw new ProtocolError(`${this.#descriptors.length} descriptors came along instead of ${expected}`)
    return request
  }

  /** What a launcher says while its request is carried out. */
  #told(): void {
    for (let said = this.#assembly.take(1)?.[0]; said !== undefined; said = this.#assembly.take(1)?.[0]) {
      // Once a result is on its way it is for the launcher to acknowledge it or not.
      if (said === CANCEL) {
        if (this.#state === 'serving') this.#controller.abort(cancelled())
      } else if (said === ACKNOWLEDGE && this.#state === 'delivering') {
        this.#state = 'over'
        this.#acknowledged(null)
      } else throw new ProtocolError(`the byte ${said} means nothing here`)
    }
  }

  async #serve(body: Uint8Array): Promise<void> {
    const { signal } = this.#controller
    const descriptors = this.#descriptors
    try {
      const turn = this.#options.turnstile.pass()
      if (turn) await turn
      const request = this.#decode(body)
      this.#descriptors = []
      const exchange: Exchange = { signal, deliver: (answer) => this.#deliver(answer) }
      const answer = await this.#options.serve(request, descriptors, exchange)
      // A result that was not printed had its answer.
      if (answer && this.#state === 'serving')
        await this.#stream.write(encodeAnswer({ ...answer, acknowledge: false }))
    } catch (error) {
      if (error instanceof ProtocolError) this.#options.refused(error)
      // Nobody is there to be told, or it is told by what comes instead of an answer: the end.
    } finally {
      for (const descriptor of descriptors) descriptor.close()
      this.#close()
      this.#finish()
    }
  }

  async #deliver(answer: Omit<Answer, 'acknowledge'>): Promise<void> {
    const { signal } = this.#controller
    signal.throwIfAborted()
    const { printing } = this.#options
    const bytes = encodeAnswer({ ...answer, acknowledge: true })
    this.#state = 'delivering'
    const acknowledged = new Promise<void>((resolve, reject) => {
      this.#acknowledged = (error) => (error ? reject(error) : resolve())
    })
    const deadline = printing.begin(() =>
      this.#giveUp(new Error(`it was not printed within ${printing.length} ms`)),
    )
    try {
      // Both at once: who is gone while it is written is noticed by reading.
      await Promise.all([this.#stream.write(bytes), acknowledged])
      // A launcher that could not print it waits for the end, and has to find everything undone then.
      this.#stream.close()
    } finally {
      printing.cancel(deadline)
      // Whatever became of it, no other answer can follow.
      this.#state = 'over'
    }
  }

  /** A launcher that has sent its acknowledgement has told its caller: it counts, though nobody has read it yet. */
  #giveUp(reason: Error): void {
    if (this.#state === 'delivering') this.#stream.hearOut()
    this.#acknowledged(reason)
  }

  #end(error: Error | null): void {
    // Where it is this end that can't go on the caller is there, and is answered.
    const isGone = error === null || isErrno(error, 'ECONNRESET')
    if (this.#state === 'serving') this.#controller.abort(isGone ? gone() : broken(error))
    else if (this.#state === 'delivering')
      this.#acknowledged(error ?? new Error('the caller is gone, and has not said that it was printed'))
    else if (this.idle) {
      if (!isGone) this.#options.refused(error)
      this.#close()
    }
  }

  /** The peer speaks something else: nothing it says means anything any more. */
  #refuse(error: ProtocolError): void {
    this.#options.refused(error)
    this.#controller.abort(gone())
    this.#acknowledged(error)
    this.#close()
  }

  #close(): void {
    this.#options.idle.cancel(this.#idle)
    const { idle } = this
    const unused = this.#state === 'over'
    for (const descriptor of this.#descriptors.splice(0)) descriptor.close()
    this.#stream.close()
    if (idle) this.#state = 'over'
    // While something is carried out it is what ends the connection.
    if (idle || unused) this.#finish()
  }

  /** Stops what is carried out, which is undone and answered. */
  abort(reason: CniError): void {
    if (this.idle) this.#close()
    else this.#controller.abort(reason)
  }

  /** Ends it at once. What is carried out is aborted. */
  destroy(): void {
    this.#giveUp(gone())
    if (this.#state !== 'over') this.abort(gone())
    this.#stream.close()
  }
}
