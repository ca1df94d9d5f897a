/** What the kernel knows of this process. */
import { readdirSync, readFileSync } from 'node:fs'
import { isErrno } from '../netlink/error.ts'

/** As it was seen when there was still a descriptor to look with. */
let limit = Number.POSITIVE_INFINITY

/** RLIMIT_NOFILE, the soft limit, of proc_pid_limits(5). Infinite where it is unlimited or can't be seen. */
export const maxDescriptors = (): number => {
  try {
    const soft = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    limit = soft === undefined ? Number.POSITIVE_INFINITY : Number(soft)
  } catch (error) {
    if (!isErrno(error, 'EMFILE')) throw error
  }
  return limit
}

/** Descriptors that are open, without the one that it takes to look. */
export const openDescriptors = (): number => {
  try {
    return readdirSync('/proc/self/fd').length - 1
  } catch (error) {
    // Not one more is to be had.
    if (!isErrno(error, 'EMFILE')) throw error
    return maxDescriptors()
  }
}

/** Bytes that are resident. Unlike `process.memoryUsage()` it does not ask V8 about its heap. */
export const residentBytes = (): number => process.memoryUsage.rss()
