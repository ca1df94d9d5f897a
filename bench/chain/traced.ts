/** How many processes and system calls an ADD takes: counted by strace, not timed. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What strace has counted. */
export interface Counts {
  /** Programs that were executed, the plugins themselves among them. */
  readonly programs: number
  readonly calls: number
}

/** Threads announce themselves by lines of their own; a call that another one interrupts has two. */
const countIn = (file: string): Counts => {
  const lines = readFileSync(file, 'latin1').split('\n')
  const begun = lines.filter((line) => /^\d+ +\w+\(/.test(line))
  return {
    programs: begun.filter(
      (line) => /^\d+ +execve\(.* = 0$/.test(line) || /^\d+ +execve\(.*unfinished/.test(line),
    ).length,
    calls: begun.length,
  }
}

/**
 * Follows a process and its children while something happens.
 * @param pid whose work it is
 */
export const traced = async (scratch: string, pid: number, work: () => Promise<unknown>): Promise<Counts> => {
  const file = join(scratch, 'trace')
  const strace = spawn('strace', ['-f', '-o', file, '-p', String(pid)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const gone = once(strace, 'close')
  let said = ''
  await new Promise<void>((resolve, reject) => {
    // Read to the end: a program whose words nobody wants ends by a signal.
    strace.stderr!.on('data', (chunk) => {
      said += String(chunk)
      if (said.includes('attached')) resolve()
    })
    gone.then(() => reject(new Error(`strace: ${said.trim()}`)), reject)
  })
  await work()
  strace.kill('SIGINT')
  await gone
  return countIn(file)
}
