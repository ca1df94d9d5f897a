/** What the kernel knows of this process. */
import { readdirSync, readFileSync } from 'node:fs'

/** Descriptors that are open, without the one that it takes to look. */
export const openDescriptors = (): number => readdirSync('/proc/self/fd').length - 1

/** RLIMIT_NOFILE, the soft limit, of proc_pid_limits(5). Infinite where it is unlimited or can't be seen. */
export const maxDescriptors = (): number => {
  const soft = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft)
}

/** Bytes that are resident. Unlike `process.memoryUsage()` it does not ask V8 about its heap. */
export const residentBytes = (): number => process.memoryUsage.rss()
