/** When an operation's turn is: of one container one after another, of different ones beside each other. */
import { randomBytes } from 'node:crypto'
import { CniError, codes } from '../cni/error.ts'
import type { Verb } from '../cni/types.ts'

/** Operations that run at a time, where nothing else is said. See docs/metrics.md for how it was chosen. */
export const DEFAULT_CONCURRENCY = 32
/** Operations that wait, where nothing else is said. */
export const DEFAULT_QUEUE = 1000
/** How many DELs may pass an operation that came before them. */
const OVERTAKING = 8

export interface SchedulerOptions {
  /** Operations that run at a time, at least 1. A quarter of them is kept for DEL and STATUS. Default 32. */
  readonly concurrency?: number | undefined
  /** Operations that may wait. Default 1000. */
  readonly queue?: number | undefined
}

/** What else there is to say of an operation. */
export interface Belonging {
  /**
   * `name` of its configuration; null where it has none. A GC is alone in its network; without a name it is alone with
   * nothing, for it will be refused.
   */
  readonly network?: string | null | undefined
  /** The turn that executes it, as {@link Scheduler.run} told that one's work. Ignored where that is over. */
  readonly within?: string | undefined
}

interface Task {
  readonly container: string | null
  readonly verb: Verb
  readonly network: string | null
  /** Arrival. */
  readonly number: number
  begin(): void
}

/** The verbs that work on an attachment. */
const touches = ({ verb }: Task): boolean => verb === 'ADD' || verb === 'DEL' || verb === 'CHECK'

const whole = (name: string, value: number, least: number): number => {
  if (!Number.isSafeInteger(value) || value < least)
    throw new RangeError(`${name}: ${value} is no whole number from ${least} on`)
  return value
}

const stopped = ({ reason }: AbortSignal): CniError =>
  reason instanceof CniError
    ? reason
    : new CniError({
        code: codes.internal,
        msg: `stopped before it was begun: ${reason instanceof Error ? reason.message : String(reason)}`,
        cause: reason,
      })

/** What waits before a task, in order of arrival: what that must not pass. */
class Before {
  readonly #containers = new Set<string>()
  readonly #touched = new Set<string>()
  readonly #collected = new Set<string>()

  note(task: Task): void {
    if (task.container !== null) this.#containers.add(task.container)
    if (task.network === null) return
    if (task.verb === 'GC') this.#collected.add(task.network)
    else if (touches(task)) this.#touched.add(task.network)
  }

  allows(task: Task): boolean {
    const { container, network, verb } = task
    if (container !== null && this.#containers.has(container)) return false
    if (network === null || !(verb === 'GC' || touches(task))) return true
    return !this.#collected.has(network) && !(verb === 'GC' && this.#touched.has(network))
  }
}

/** What is at work. */
class Running {
  readonly #containers = new Set<string>()
  /** ADD, DEL and CHECK by network. */
  readonly #touching = new Map<string, number>()
  readonly #collecting = new Set<string>()
  total = 0
  /** Those that may not have the last quarter. */
  ordinary = 0

  enter(task: Task): void {
    this.#count(task, 1)
    if (task.container !== null) this.#containers.add(task.container)
    if (task.network !== null && task.verb === 'GC') this.#collecting.add(task.network)
  }

  leave(task: Task): void {
    this.#count(task, -1)
    if (task.container !== null) this.#containers.delete(task.container)
    if (task.network !== null && task.verb === 'GC') this.#collecting.delete(task.network)
  }

  #count(task: Task, step: 1 | -1): void {
    this.total += step
    if (!isUrgent(task)) this.ordinary += step
    if (task.network === null || !touches(task)) return
    const left = (this.#touching.get(task.network) ?? 0) + step
    if (left > 0) this.#touching.set(task.network, left)
    else this.#touching.delete(task.network)
  }

  allows(task: Task): boolean {
    const { container, network, verb } = task
    if (container !== null && this.#containers.has(container)) return false
    if (network === null || !(verb === 'GC' || touches(task))) return true
    return !this.#collecting.has(network) && !(verb === 'GC' && this.#touching.has(network))
  }
}

const isUrgent = ({ verb }: Task): boolean => verb === 'DEL' || verb === 'STATUS'

/**
 * Lets operations run.
 *
 * - Those of one container run one after another, in order of arrival.
 * - Of what may run, DEL comes first: it frees what an ADD needs. At most 8 DELs pass an operation that came before them.
 * - ADDs that all wait for something slow (a DHCP server, a foreign plugin) must not keep DEL and STATUS out: these alone
 *   may have the last quarter of the places.
 * - GC of a network runs alone there, in order of arrival: the spec (section 2, "Lifecycle & Ordering") has runtimes see
 *   to it that no ADD or DEL is under way, but two runtimes on one node do not know of each other. Networks do not
 *   wait for each other, for a GC touches nothing outside its own.
 * - STATUS changes nothing, and runs beside everything.
 */
export class Scheduler {
  readonly concurrency: number
  readonly queue: number
  /** Places that are not for DEL and STATUS alone. */
  readonly #ordinary: number
  readonly #running = new Running()
  /** In order of arrival. */
  readonly #waiting = new Set<Task>()
  /** DEL and STATUS. */
  #waitingUrgent = 0
  #arrived = 0
  /** DELs that have passed the operation which would have been next. */
  #overtaken = 0
  readonly #turns = new Set<string>()
  readonly #turnPrefix = randomBytes(8).toString('hex')
  #idle: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined

  /** @throws RangeError */
  constructor({ concurrency = DEFAULT_CONCURRENCY, queue = DEFAULT_QUEUE }: SchedulerOptions = {}) {
    this.concurrency = whole('concurrency', concurrency, 1)
    this.queue = whole('queue', queue, 0)
    this.#ordinary = Math.max(1, concurrency - Math.floor(concurrency / 4))
  }

  /** Operations at work. */
  get running(): number {
    return this.#running.total
  }

  /** Operations that wait. */
  get queued(): number {
    return this.#waiting.size
  }

  /**
   * Runs `work` when its turn is.
   *
   * A foreign plugin that the work executes may call one of ours again, for the same container: `within` says so, and
   * it runs at once, as a part of the turn it came from. Waiting, it would wait for its own end.
   * @param containerId null for GC and STATUS
   * @param work told the name of its turn, which nobody can guess
   * @throws CniError code 11 at once when too many wait; the signal's reason when it is aborted while it waits; what
   * `work` throws
   */
  run<T>(
    containerId: string | null,
    verb: Verb,
    signal: AbortSignal,
    work: (turn: string) => Promise<T>,
    { network = null, within }: Belonging = {},
  ): Promise<T> {
    if (within !== undefined && this.#turns.has(within))
      return signal.aborted ? Promise.reject(stopped(signal)) : work(within)
    return new Promise<T>((resolve, reject) => {
      if (signal.aborted) return reject(stopped(signal))
      const number = ++this.#arrived
      const abandon = (): void => {
        this.#remove(task)
        reject(stopped(signal))
        // It may have been what others had to wait for.
        this.#pump()
      }
      const task: Task = {
        container: containerId,
        verb,
        network,
        number,
        begin: () => {
          signal.removeEventListener('abort', abandon)
          const turn = `${this.#turnPrefix}-${number}`
          this.#turns.add(turn)
          void (async () => work(turn))()
            .then(resolve, reject)
            .finally(() => {
              this.#turns.delete(turn)
              this.#running.leave(task)
              this.#pump()
            })
        },
      }
      signal.addEventListener('abort', abandon, { once: true })
      this.#waiting.add(task)
      if (isUrgent(task)) this.#waitingUrgent++
      this.#pump()
      if (!this.#waiting.has(task) || this.#waiting.size <= this.queue) return
      signal.removeEventListener('abort', abandon)
      this.#remove(task)
      reject(this.#full())
    })
  }

  /** Resolves when nothing runs and nothing waits. */
  async idle(): Promise<void> {
    if (this.running === 0 && this.queued === 0) return
    if (!this.#idle) {
      let resolve = (): void => {}
      const promise = new Promise<void>((done) => {
        resolve = done
      })
      this.#idle = { promise, resolve }
    }
    await this.#idle.promise
  }

  #full(): CniError {
    return new CniError({
      code: codes.tryAgainLater,
      msg: `too many operations: ${this.running} run and ${this.queued} wait`,
      details: `the daemon runs ${this.concurrency} at a time and lets ${this.queue} wait (--concurrency, --queue): try again later`,
    })
  }

  #remove(task: Task): void {
    if (this.#waiting.delete(task) && isUrgent(task)) this.#waitingUrgent--
  }

  /** Begins everything that may begin now. */
  #pump(): void {
    for (let task = this.#next(); task; task = this.#next()) {
      this.#remove(task)
      this.#running.enter(task)
      task.begin()
    }
    if (this.#idle && this.running === 0 && this.queued === 0) {
      this.#idle.resolve()
      this.#idle = undefined
    }
  }

  /** What is to begin next: the first DEL that may, unless it is another one's turn. */
  #next(): Task | undefined {
    if (this.#running.total >= this.concurrency) return undefined
    if (this.#running.ordinary >= this.#ordinary && this.#waitingUrgent === 0) return undefined
    const before = new Before()
    let del: Task | undefined
    let other: Task | undefined
    for (const task of this.#waiting) {
      if (del && other) break
      if (other && this.#waitingUrgent === 0) break
      if (this.#mayBegin(task, before)) {
        if (task.verb === 'DEL') del ??= task
        else other ??= task
      }
      before.note(task)
    }
    if (!del || !other) return this.#chosen(del ?? other, 0)
    if (del.number < other.number) return del
    return this.#overtaken < OVERTAKING ? this.#chosen(del, this.#overtaken + 1) : this.#chosen(other, 0)
  }

  #chosen(task: Task | undefined, overtaken: number): Task | undefined {
    this.#overtaken = overtaken
    return task
  }

  #mayBegin(task: Task, before: Before): boolean {
    if (!isUrgent(task) && this.#running.ordinary >= this.#ordinary) return false
    return this.#running.allows(task) && before.allows(task)
  }
}
