/** When an operation's turn is: of one container one after another, of different ones beside each other. */
import { randomBytes } from 'node:crypto'
import { CniError, codes } from '../cni/error.ts'
import type { Verb } from '../cni/types.ts'
import { type Arrival, Arrivals } from './arrivals.ts'
import { type Group, Lines, type Waiter } from './lines.ts'

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

interface Task extends Waiter, Arrival {
  readonly verb: Verb
  readonly groups: Group<Task>[]
  state: 'waiting' | 'running' | 'over'
  begin(): void
}

/** Whose turn it is. */
interface Turn {
  readonly containerId: string | null
  readonly network: string | null
}

const isPart = ({ containerId, network }: Turn, turn: Turn | undefined): boolean =>
  turn !== undefined && (containerId === null ? network === turn.network : containerId === turn.containerId)

/** The verbs that work on an attachment. */
const touches = (verb: Verb): boolean => verb === 'ADD' || verb === 'DEL' || verb === 'CHECK'

/** Those that may have the last quarter of the places. */
const isUrgent = ({ verb }: Task): boolean => verb === 'DEL' || verb === 'STATUS'

const earlier = (a: Task | undefined, b: Task | undefined): Task | undefined =>
  a && b ? (a.number < b.number ? a : b) : (a ?? b)

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

/**
 * Lets operations run.
 *
 * - Those of one container run one after another, in order of arrival.
 * - Of what may run, DEL comes first: it frees what an ADD needs. At most 8 DELs pass an operation that came before them.
 * - ADDs that all wait for something slow (a DHCP server, a foreign plugin) must not keep DEL and STATUS out: these alone
 *   may have the last quarter of the places.
 * - GC of a network runs alone there, in order of arrival: the spec (section 2, "Lifecycle & Ordering") has runtimes see
 *   to it that no ADD or DEL is under way, but two runtimes on one node do not know of each other. Networks do not
 *   wait for each other: outside its own a GC touches only what no attachment has any more (the spoof check of a port
 *   that has gone), and looks at that last.
 * - STATUS changes nothing, and runs beside everything.
 */
export class Scheduler {
  readonly concurrency: number
  readonly queue: number
  /** Places that are not for DEL and STATUS alone. */
  readonly #ordinary: number
  #running = 0
  /** Of those, the ones that may not have the last quarter. */
  #runningOrdinary = 0
  #waiting = 0
  /** DEL and STATUS. */
  #waitingUrgent = 0
  readonly #containers = new Lines<Task>((task) => this.#cleared(task))
  readonly #networks = new Lines<Task>((task) => this.#cleared(task))
  /** Those that wait for nothing but a place: DEL, STATUS, and the others. */
  readonly #dels = new Arrivals<Task>()
  readonly #statuses = new Arrivals<Task>()
  readonly #others = new Arrivals<Task>()
  #arrived = 0
  /** DELs that have passed the operation which would have been next. */
  #overtaken = 0
  readonly #turns = new Map<string, Turn>()
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
    return this.#running
  }

  /** Operations that wait. */
  get queued(): number {
    return this.#waiting
  }

  /**
   * Runs `work` when its turn is.
   *
   * A foreign plugin that the work executes may call one of ours again, for the same container or, where there is none,
   * the same network: `within` says so, and it runs at once, as a part of the turn it came from. Waiting, it would wait
   * for its own end. For another container it has no such right, and waits like everybody.
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
    if (within !== undefined && isPart({ containerId, network }, this.#turns.get(within)))
      return signal.aborted ? Promise.reject(stopped(signal)) : work(within)
    return new Promise<T>((resolve, reject) => {
      if (signal.aborted) return reject(stopped(signal))
      const number = ++this.#arrived
      let waits = false
      const abandon = (): void => {
        this.#leave(task)
        reject(stopped(signal))
        // It may have been what others had to wait for.
        this.#pump()
      }
      const task: Task = {
        verb,
        number,
        groups: [],
        blocked: 0,
        place: -1,
        state: 'waiting',
        begin: () => {
          if (waits) signal.removeEventListener('abort', abandon)
          const turn = `${this.#turnPrefix}-${number}`
          this.#turns.set(turn, { containerId, network })
          void (async () => work(turn))()
            .then(resolve, reject)
            .finally(() => {
              this.#turns.delete(turn)
              this.#leave(task)
              this.#pump()
            })
        },
      }
      this.#enter(task, containerId, network)
      this.#pump()
      if (task.state !== 'waiting') return
      if (this.#waiting > this.queue) {
        this.#leave(task)
        reject(this.#full())
        return
      }
      waits = true
      signal.addEventListener('abort', abandon, { once: true })
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

  #enter(task: Task, container: string | null, network: string | null): void {
    const { verb, groups } = task
    this.#waiting++
    if (isUrgent(task)) this.#waitingUrgent++
    if (container !== null) groups.push(this.#containers.enter(container, task, false))
    if (network !== null && (verb === 'GC' || touches(verb)))
      groups.push(this.#networks.enter(network, task, verb !== 'GC'))
    if (task.blocked === 0) this.#cleared(task)
  }

  /** Nothing but a place keeps it from beginning. */
  #cleared(task: Task): void {
    this.#readyOf(task).add(task)
  }

  #readyOf({ verb }: Task): Arrivals<Task> {
    return verb === 'DEL' ? this.#dels : verb === 'STATUS' ? this.#statuses : this.#others
  }

  /** It is over, or has given up. */
  #leave(task: Task): void {
    if (task.state === 'running') this.#count(task, -1)
    else this.#stopWaiting(task)
    task.state = 'over'
    const { groups } = task
    for (const group of groups) group.lines.leave(group, task)
  }

  #stopWaiting(task: Task): void {
    this.#waiting--
    if (isUrgent(task)) this.#waitingUrgent--
    this.#readyOf(task).delete(task)
  }

  #count(task: Task, step: 1 | -1): void {
    this.#running += step
    if (!isUrgent(task)) this.#runningOrdinary += step
  }

  /** Begins everything that may begin now. */
  #pump(): void {
    for (let task = this.#next(); task; task = this.#next()) {
      this.#stopWaiting(task)
      task.state = 'running'
      this.#count(task, 1)
      task.begin()
    }
    if (this.#idle && this.running === 0 && this.queued === 0) {
      this.#idle.resolve()
      this.#idle = undefined
    }
  }

  /** What is to begin next: the first DEL that may, unless it is another one's turn. */
  #next(): Task | undefined {
    if (this.#running >= this.concurrency) return undefined
    const isFull = this.#runningOrdinary >= this.#ordinary
    if (isFull && this.#waitingUrgent === 0) return undefined
    const del = this.#dels.first
    const other = earlier(this.#statuses.first, isFull ? undefined : this.#others.first)
    if (!del || !other) return this.#chosen(del ?? other, 0)
    if (del.number < other.number) return del
    return this.#overtaken < OVERTAKING ? this.#chosen(del, this.#overtaken + 1) : this.#chosen(other, 0)
  }

  #chosen(task: Task | undefined, overtaken: number): Task | undefined {
    this.#overtaken = overtaken
    return task
  }
}
