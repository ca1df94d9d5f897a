import { accessSync, constants, statSync } from 'node:fs'
import { constants as os } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { Netns } from '../netlink/netns.ts'
import { runChild, systemError } from './child.ts'
import type { Exec, Executed } from './exec.ts'

/** Where programs are looked for besides PATH: kubelet's environment often lacks the sbin directories. */
const usualDirectories = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

const DEFAULT_TIMEOUT = 30_000
/** Bytes of standard output and of standard error that a program may write. */
const MAX_OUTPUT = 16 << 20
/** Milliseconds between asking a program to end and ending it. */
const GRACE = 2_000

/** The file that a name means, as `execvp` finds it. @throws Error with code ENOENT or EACCES */
const findProgram = (name: string, path: string): string => {
  if (name.includes('/')) {
    // nsenter would only tell by its exit status.
    accessSync(name, constants.X_OK)
    return name
  }
  for (const directory of [...path.split(':'), ...usualDirectories]) {
    if (!directory.startsWith('/')) continue
    const file = `${directory}/${name}`
    try {
      if (!statSync(file).isFile()) continue
      accessSync(file, constants.X_OK)
      return file
    } catch {
      // Not here, or not for us: the next directory.
    }
  }
  throw systemError('ENOENT', `${name}: no such program in PATH`)
}

/** Whether the program's file was open for writing: told by our own exec, or by the one in nsenter. */
const isBusy = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ETXTBSY'
const wasBusy = ({ status, stderr }: Executed): boolean =>
  status === 126 && stderr.startsWith('nsenter: ') && stderr.includes('Text file busy')

const patiently = async (
  attempt: () => Promise<Executed>,
  entered: boolean,
  busyTimeout: number,
): Promise<Executed> => {
  const limit = performance.now() + busyTimeout
  for (let wait = 10; ; wait = Math.min(wait * 2, 250)) {
    const late = performance.now() > limit
    try {
      const executed = await attempt()
      if (!entered || !wasBusy(executed) || late) return executed
    } catch (error) {
      if (!isBusy(error) || late) throw error
    }
    await pause(wait)
  }
}

/** What {@link createExec} needs to know. */
export interface ExecOptions {
  /** Programs run in here. Where it is not the process's own, nsenter(1) takes them there. */
  readonly hostNetns: Netns
  /** What programs get unless they are given another; its PATH is searched in any case. */
  readonly environment?: Readonly<Record<string, string>> | undefined
  /** Ends running programs. */
  readonly signal?: AbortSignal | undefined
  /** Called before each program; what it throws stops it from being run. True: `signal` does not concern it. */
  readonly guard?: (() => boolean) | undefined
  /** A program that is being written can't be executed yet (ETXTBSY): milliseconds until that is an error. */
  readonly busyTimeout?: number | undefined
}

/** Runs programs in the host's namespace, without a shell. Each is in a process group of its own. */
export const createExec =
  ({ hostNetns, environment = {}, signal, guard, busyTimeout = 6_000 }: ExecOptions): Exec =>
  async (file, args, { input = '', timeout = DEFAULT_TIMEOUT, env } = {}) => {
    const exempt = guard?.() ?? false
    const path = (env ?? environment).PATH ?? ''
    const program = findProgram(file, path)
    const { descriptor } = hostNetns
    const entered = descriptor !== null && !hostNetns.equals(Netns.current())
    const options = {
      // Messages are matched on, so they must be the untranslated ones.
      env: env ?? { ...environment, LC_ALL: 'C' },
      input,
      timeout,
      maxOutput: MAX_OUTPUT,
      grace: GRACE,
      signal: exempt ? undefined : signal,
    }
    const attempt = async (): Promise<Executed> => {
      const { status, signal: name, stdout, stderr } = await runChild(command, all, options)
      return { status: status ?? 128 + (name ? os.signals[name] : 0), stdout, stderr }
    }
    const [command, all] = entered
      ? [
          findProgram('nsenter', path),
          [`--net=/proc/${process.pid}/fd/${descriptor.fd}`, '--', program, ...args],
        ]
      : [program, args]
    return await patiently(attempt, entered, busyTimeout)
  }
