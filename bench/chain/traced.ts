/** How many processes and system calls an ADD takes: counted by strace, not timed. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What strace has counted. */
export interface Counts {
  /** Those that have executed a program, the plugins' own among them; a launcher stays the same. */
  readonly processes: number
  readonly calls: number
}

/** Threads announce themselves by lines of their own; a call that another one interrupts has two. */
const countIn = (file: string): Counts => {
  const lines = readFileSync(file, 'latin1').split('\n')
  const begun = lines.filter((line) => /^\d+ +\w+\(/.test(line))
  const executing = begun.filter((line) => /^\d+ +execve\(.*( = 0|<unfinished \.\.\.>)$/.test(line))
  return {
    processes: new Set(executing.map((line) => line.split(' ', 1)[0])).size,
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
