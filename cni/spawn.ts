import type { ChildProcess } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { constants as os } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { Netns } from '../netlink/netns.ts'
import type { Exec, Executed } from './exec.ts'

/** Where programs are looked for besides PATH: kubelet's environment often lacks the sbin directories. */
const usualDirectories = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

const DEFAULT_TIMEOUT = 30_000
/** Bytes of standard output and of standard error that a program may write. */
const MAX_OUTPUT = 16 << 20
/** Milliseconds between asking a program to end and ending it. */
const GRACE = 2_000

const systemError = (code: string, message: string): Error => Object.assign(new Error(message), { code })

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

interface RunOptions {
  readonly env: Readonly<Record<string, string>>
  readonly input: string
  readonly timeout: number
  readonly signal: AbortSignal | undefined
}

/** Ends the program and everything it started: each runs in a process group of its own. */
const killGroup = (child: ChildProcess, signal: NodeJS.Signals): void => {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch {
    // All of it has ended already.
  }
}

const runOnce = async (
  file: string,
  args: readonly string[],
  { env, input, timeout, signal }: RunOptions,
): Promise<Executed> => {
  const { spawn } = await import('node:child_process')
  return await new Promise((resolve, reject) => {
    const child = spawn(file, args, { env: { ...env }, stdio: 'pipe', detached: true })
    let ended: Error | undefined
    let grace: NodeJS.Timeout | undefined
    const end = (error: Error): void => {
      if (ended) return
      ended = error
      killGroup(child, 'SIGTERM')
      grace = setTimeout(() => {
        killGroup(child, 'SIGKILL')
        // Whatever left the group and holds the pipes must not hold us.
        child.stdout.destroy()
        child.stderr.destroy()
      }, GRACE)
    }
    const timer = setTimeout(
      () => end(systemError('ETIMEDOUT', `${file} was not over after ${timeout} ms`)),
      timeout,
    )
    const abort = (): void => end(new Error(`${file} was stopped`, { cause: signal?.reason }))
    const collect = (stream: NodeJS.ReadableStream): (() => string) => {
      const chunks: Buffer[] = []
      let size = 0
      stream.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > MAX_OUTPUT) end(systemError('EMSGSIZE', `${file} wrote more than ${MAX_OUTPUT} bytes`))
        else chunks.push(chunk)
      })
      return () => Buffer.concat(chunks).toString()
    }
    const stdout = collect(child.stdout)
    const stderr = collect(child.stderr)
    const settle = (): void => {
      clearTimeout(timer)
      clearTimeout(grace)
      signal?.removeEventListener('abort', abort)
    }
    child.on('error', (error) => {
      settle()
      reject(error)
    })
    child.on('close', (code, signalName) => {
      settle()
      if (ended) reject(ended)
      else
        resolve({
          status: code ?? 128 + (signalName ? os.signals[signalName] : 0),
          stdout: stdout(),
          stderr: stderr(),
        })
    })
    signal?.addEventListener('abort', abort, { once: true })
    if (signal?.aborted) abort()
    // A program may end without reading its input: EPIPE is no failure.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
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
      signal: exempt ? undefined : signal,
    }
    const [command, all] = entered
      ? [
          findProgram('nsenter', path),
          [`--net=/proc/${process.pid}/fd/${descriptor.fd}`, '--', program, ...args],
        ]
      : [program, args]
    return await patiently(() => runOnce(command, all, options), entered, busyTimeout)
  }
