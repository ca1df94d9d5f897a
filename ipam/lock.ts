/**
 * Locks of files and directories by flock(2), such as the one of a network's reservations, which the Go plugin takes as
 * well. Callers in this process stand in a queue and only its head asks the kernel, so that however many wait, one
 * thread does.
 */
import { constants } from 'node:fs'
import { CniError, codes } from '../cni/error.ts'
import { type Binding, binding, type Descriptor } from '../native/binding.ts'
import { hasCode, ioError } from './files.ts'

const LOCK_EX = 2

/** What is needed of the addon. */
export type Flock = Pick<Binding, 'open' | 'tryFlock' | 'flock' | 'countLinks'>

export interface LockOptions {
  /** Makes the file where it is missing; the directory must be there. */
  readonly create: boolean
  /** Stops waiting. */
  readonly signal?: AbortSignal | undefined
}

/** Locks by the path of their file. */
export class LockTable {
  readonly #queues = new Map<string, LockQueue>()
  readonly #timeout: number
  readonly #flock: () => Flock

  /** @param timeout milliseconds that a caller waits at most */
  constructor(timeout: number, flock: () => Flock = binding) {
    this.#timeout = timeout
    this.#flock = flock
  }

  /**
   * Does `work` while holding the lock.
   * @throws CniError code 11 when others held it for too long, 5 when it can't be taken; ENOENT without `create`, or
   * when the directory is not there, as it comes from the system
   */
  async hold<T>(path: string, options: LockOptions, work: () => T | Promise<T>): Promise<T> {
    let queue = this.#queues.get(path)
    if (!queue) {
      queue = new LockQueue(path, this.#flock())
      this.#queues.set(path, queue)
    }
    try {
      const lock = await queue.acquire(this.#timeout, options)
      try {
        return await work()
      } finally {
        queue.release(lock)
      }
    } finally {
      if (queue.idle) this.#queues.delete(path)
    }
  }
}

/** Ends a wait: the deadline has passed, or the caller has given up. */
class Patience {
  readonly over: Promise<never>
  readonly #timer: NodeJS.Timeout
  readonly #stop: () => void

  constructor(timeout: number, late: () => Error, signal: AbortSignal | undefined) {
    let end: (error: unknown) => void = () => {}
    this.over = new Promise<never>((_, reject) => {
      end = reject
    })
    // Nobody may be waiting at the moment when it ends.
    this.over.catch(() => {})
    this.#timer = setTimeout(() => end(late()), timeout)
    const abort = () => end(stopped(signal!))
    signal?.addEventListener('abort', abort)
    this.#stop = () => signal?.removeEventListener('abort', abort)
    if (signal?.aborted) abort()
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#stop()
  }
}

/** What an aborted operation throws. */
export const stopped = ({ reason }: AbortSignal): CniError =>
  reason instanceof CniError
    ? reason
    : new CniError({
        code: codes.internal,
        msg: `stopped before it was done: ${reason instanceof Error ? reason.message : String(reason)}`,
        cause: reason,
      })

/** A thread that waits in flock(2). It can't be called back, so whoever comes next takes it over. */
interface Wait {
  readonly descriptor: Descriptor
  readonly granted: Promise<void>
  /** False when the caller that started it has given up: the lock is let go at once when it comes. */
  wanted: boolean
}

class LockQueue {
  readonly #path: string
  readonly #flock: Flock
  /** Those behind the head, in the order in which they came. */
  readonly #waiting: (() => void)[] = []
  #busy = false
  #wait: Wait | undefined

  constructor(path: string, flock: Flock) {
    this.#path = path
    this.#flock = flock
  }

  /** True when nobody needs it any more. */
  get idle(): boolean {
    return !this.#busy && this.#wait === undefined
  }

  async acquire(timeout: number, options: LockOptions): Promise<Descriptor> {
    if (options.signal?.aborted) throw stopped(options.signal)
    // The usual case: nobody else is there, and no clock is started.
    if (!this.#busy && !this.#wait) {
      const descriptor = this.#try(options)
      if (descriptor) {
        this.#busy = true
        return descriptor
      }
    }
    const late = () =>
      new CniError({
        code: codes.tryAgainLater,
        msg: `${this.#path} is locked by another process for more than ${timeout} ms`,
        details: 'try again; if it does not end, look for the process with lslocks',
      })
    const patience = new Patience(timeout, late, options.signal)
    try {
      await this.#turn(patience)
      try {
        return await this.#ask(options, patience)
      } catch (error) {
        this.#next()
        throw error
      }
    } finally {
      patience.end()
    }
  }

  release(descriptor: Descriptor): void {
    descriptor.close()
    this.#next()
  }

  #next(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#busy = false
  }

  /** Waits until it is the caller's turn to ask the kernel. */
  async #turn(patience: Patience): Promise<void> {
    if (!this.#busy) {
      this.#busy = true
      return
    }
    let come: () => void = () => {}
    const turn = new Promise<void>((resolve) => {
      come = resolve
    })
    this.#waiting.push(come)
    try {
      await Promise.race([turn, patience.over])
    } catch (error) {
      const place = this.#waiting.indexOf(come)
      if (place >= 0) this.#waiting.splice(place, 1)
      // It was its turn in the same moment: the next one gets it.
      else this.#next()
      throw error
    }
  }

  /** The lock if it is free, or null. */
  #try({ create }: LockOptions): Descriptor | null {
    for (;;) {
      const descriptor = this.#open(create)
      try {
        if (!this.#flock.tryFlock(descriptor, LOCK_EX)) {
          descriptor.close()
          return null
        }
        if (this.#isInPlace(descriptor)) return descriptor
      } catch (error) {
        descriptor.close()
        throw ioError(error, this.#path)
      }
      descriptor.close()
    }
  }

  #open(create: boolean): Descriptor {
    try {
      return this.#flock.open(this.#path, constants.O_RDONLY | (create ? constants.O_CREAT : 0), 0o750)
    } catch (error) {
      throw hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR') ? error : ioError(error, this.#path)
    }
  }

  /** The lock, now or later. */
  async #ask(options: LockOptions, patience: Patience): Promise<Descriptor> {
    for (;;) {
      if (!this.#wait) {
        const free = this.#try(options)
        if (free) return free
        this.#wait = this.#start(options)
      }
      const wait = this.#wait
      wait.wanted = true
      try {
        await Promise.race([wait.granted, patience.over])
      } catch (error) {
        wait.wanted = false
        throw error
      }
      this.#wait = undefined
      if (this.#isInPlace(wait.descriptor)) return wait.descriptor
      wait.descriptor.close()
    }
  }

  #start({ create }: LockOptions): Wait {
    const descriptor = this.#open(create)
    const wait: Wait = {
      descriptor,
      wanted: true,
      granted: this.#flock.flock(descriptor, LOCK_EX).then(
        () => {
          if (!wait.wanted) this.#drop(wait)
        },
        (error: unknown) => {
          this.#drop(wait)
          throw ioError(error, this.#path)
        },
      ),
    }
    // Where its caller has given up there is nobody to tell; the next one starts anew and sees for itself.
    wait.granted.catch(() => {})
    return wait
  }

  /** False when somebody removed the file (`rm -r` of the directory) while it was waited for: its lock means nothing. */
  #isInPlace(descriptor: Descriptor): boolean {
    return this.#flock.countLinks(descriptor) > 0
  }

  #drop(wait: Wait): void {
    wait.descriptor.close()
    if (this.#wait === wait) this.#wait = undefined
  }
}
