/** Time as leases need it. Tests hold it still. */
import { uptime } from 'node:os'

export interface Timer {
  /** Safe to repeat, and after it has fired. */
  cancel(): void
}

export interface Timebase {
  /** Milliseconds since the machine started, sleep included. Nobody sets this clock, and a restart of the program does
   * not begin it anew. */
  now(): number
  /** Calls `work` once after `delay` milliseconds of {@link now}. */
  after(delay: number, work: () => void): Timer
  /** At least 0, less than 1. */
  random(): number
}

/** Milliseconds that a timer is trusted for: the machine may sleep, and Node's own take 24 days at most. */
const LONGEST = 600_000

/** CLOCK_BOOTTIME, in steps of 10 ms. */
export const bootTime: Timebase = {
  now: () => Math.round(uptime() * 1000),
  after(delay, work) {
    const end = bootTime.now() + delay
    let timer: NodeJS.Timeout
    const wait = (left: number): void => {
      timer = setTimeout(
        () => {
          const rest = end - bootTime.now()
          if (rest <= 0) work()
          else wait(rest)
        },
        Math.min(Math.max(left, 0), LONGEST),
      )
    }
    wait(delay)
    return { cancel: () => clearTimeout(timer) }
  },
  random: Math.random,
}
