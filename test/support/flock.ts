import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { onTestFinished } from 'vitest'
import type { Space } from './space.ts'

/** Of nobody: no user, no group, no capability, and no way to one. */
export const withoutRights = [
  'setpriv',
  ...['--reuid', '65534', '--regid', '65534', '--clear-groups'],
  ...['--no-new-privs', '--bounding-set=-all', '--'],
]

export interface HoldOptions {
  /** Default: exclusive. */
  readonly mode?: 'shared' | 'exclusive' | undefined
  /** A program that runs `flock` with its arguments, and its own. Default: none. */
  readonly by?: readonly string[] | undefined
}

/** Another process holds a flock(2) in the namespace until the test ends. */
export const holdLock = async (
  space: Space,
  path: string,
  { mode = 'exclusive', by = [] }: HoldOptions = {},
): Promise<void> => {
  const [program, ...before] = [...by, 'flock']
  const [file, args] = space.command(program!, [
    ...before,
    ...[`--${mode}`, path, 'sh', '-c', 'echo held; exec cat'],
  ])
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'close')
  onTestFinished(async () => {
    child.stdin.end()
    await ended
  })
  const held = await Promise.race([once(child.stdout, 'data'), ended.then(() => null)])
  if (!held) throw new Error(`${path} could not be locked`)
}

/** Whether the process waits for a flock(2). */
export const waitsForLock = (pid: number): boolean =>
  readFileSync('/proc/locks', 'utf8')
    .split('\n')
    .some((line) => new RegExp(`-> FLOCK .* ${pid} `).test(line))
