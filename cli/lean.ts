import { setFlagsFromString } from 'node:v8'
import { binding } from '../native/binding.ts'

/**
 * Makes the engine collect what operations leave behind while they run. By itself V8 lets its space for new objects grow
 * from 3 MiB to 48, keeps that, and waits long before it looks at older ones: 1000 leases, which need 6 MiB, took 63.
 * The size of that space is fixed before any of our code runs; by how much it grows is not.
 */
export const stayLean = (): void => {
  for (const flag of ['--semi-space-growth-factor=1', '--optimize-for-size']) setFlagsFromString(flag)
}

/**
 * What is called for the first time is compiled at once, after some fifty calls by a better compiler, and soon after by
 * the best, which otherwise wait for hundreds and thousands: between two ADDs the machine does other things, and what is
 * spread over much memory is the first to leave its caches. The best compiler puts small functions into their callers,
 * which makes an ADD take a seventh less time. What compilers need is given back when a rush is over (daemon/thrift.ts).
 */
const quick = ['--semi-space-growth-factor=1', '--always-sparkplug']
/** Flags of V8 12, which Node 22 has; one that it does not know is an error on standard error. */
const quicker = [
  '--invocation-count-for-feedback-allocation=2',
  '--invocation-count-for-maglev=40',
  '--invocation-count-for-turbofan=150',
  '--minimum-invocations-after-ic-update=50',
]

/** As {@link stayLean}, where others wait for each answer. */
export const stayQuick = (): void => {
  const isNew = Number.parseInt(process.versions.v8, 10) >= 12
  for (const flag of isNew ? [...quick, ...quicker] : quick) setFlagsFromString(flag)
}

/**
 * What only the start needed of the executable need not stay in the process: its snapshot, and the data and code that
 * Node begins with, 40 MiB on Linux 6.18. They are in the page cache, and what is needed again is mapped again.
 */
export const startIsOver = (): void => {
  binding().releaseExecutable()
}
