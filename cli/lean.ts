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
 * The same where others wait for each answer. What is called for the first time is compiled at once: between two ADDs
 * the machine does other things, and an interpreter's tables are the first to leave its caches. An ADD takes a sixth
 * less of the processor, and the process 9 MiB more.
 */
export const stayQuick = (): void => {
  for (const flag of ['--semi-space-growth-factor=1', '--always-sparkplug']) setFlagsFromString(flag)
}

/**
 * What only the start needed of the executable need not stay in the process: its snapshot, and the data and code that
 * Node begins with, 40 MiB on Linux 6.18. They are in the page cache, and what is needed again is mapped again.
 */
export const startIsOver = (): void => {
  binding().releaseExecutable()
}
