/** Which processes run a version of ours. */
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs'
import { join } from 'node:path'

/** PROC_PID_INIT_INO of linux/proc_ns.h: the namespace of all processes of the machine. */
const ALL_PROCESSES = 'pid:[4026531836]'

/** Bytes of a process's arguments that are looked at: a script's path is the second or third. */
const MAX_ARGUMENTS = 1 << 16

const quietly = (read: () => string): string => {
  try {
    return read()
  } catch {
    // It has ended, it has no executable (a kernel thread), or it is not ours to look at.
    return ''
  }
}

const beginning = (file: string): string => {
  const descriptor = openSync(file, 'r')
  try {
    const buffer = Buffer.alloc(MAX_ARGUMENTS)
    return buffer.toString('utf8', 0, readSync(descriptor, buffer))
  } finally {
    closeSync(descriptor)
  }
}

/**
 * Whether a process works with files below `folder`: as its executable, as a script among its arguments, or mapped, as
 * the addon is.
 */
const uses = (process: string, folder: string): boolean => {
  const below = `${folder}/`
  return (
    quietly(() => readlinkSync(join(process, 'exe'))).startsWith(below) ||
    quietly(() => beginning(join(process, 'cmdline')))
      .split('\0')
      .some((argument) => argument.startsWith(below)) ||
    quietly(() => readFileSync(join(process, 'maps'), 'utf8')).includes(` ${below}`)
  )
}

/** Processes that use files below `folder`, by their ids. @param proc for tests: another /proc */
export const processesIn = (folder: string, proc = '/proc'): number[] =>
  readdirSync(proc)
    .filter((name) => /^\d+$/.test(name) && uses(join(proc, name), folder))
    .map(Number)

/** Whether all processes of the machine can be seen: a container sees its own. */
export const seesAllProcesses = (proc = '/proc'): boolean =>
  quietly(() => readlinkSync(join(proc, 'self/ns/pid'))) === ALL_PROCESSES
