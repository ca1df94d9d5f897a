/** One child process from its start to its end, with bounds on how long it takes and how much it says. */
import type { ChildProcess } from 'node:child_process'

export interface ChildOptions {
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>
  /** The name it is called by. Default: its file. */
  readonly argv0?: string | undefined
  /** Default: empty. */
  readonly input?: string | undefined
  /** Milliseconds. */
  readonly timeout: number
  /** Bytes of standard output, and as many of standard error. */
  readonly maxOutput: number
  /** Milliseconds between asking it to end (SIGTERM) and ending it; 0: it is not asked. */
  readonly grace: number
  /** Ends it. */
  readonly signal?: AbortSignal | undefined
}

/** How a child ended. */
export interface ChildEnd {
  /** Exit status; null where a signal ended it. */
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
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

/** An error as Node's own have it. */
export const systemError = (code: string, message: string): Error =>
  Object.assign(new Error(message), { code })

/**
 * Runs a program to its end, without a shell, in a process group of its own.
 * @throws SystemError where it can't be started; ETIMEDOUT where it takes too long, EMSGSIZE where it says too much;
 * Error with the signal's reason as its cause where it was stopped
 */
export const runChild = async (
  file: string,
  args: readonly string[],
  { env, argv0, input = '', timeout, maxOutput, grace, signal }: ChildOptions,
): Promise<ChildEnd> => {
  // Loaded when needed: most calls of an executable run nothing.
  const { spawn } = await import('node:child_process')
  return await new Promise((resolve, reject) => {
    const named = argv0 === undefined ? {} : { argv0 }
    const child = spawn(file, args, { env: { ...env }, stdio: 'pipe', detached: true, ...named })
    let ended: Error | undefined
    let patience: NodeJS.Timeout | undefined
    const kill = (): void => {
      killGroup(child, 'SIGKILL')
      // Whatever left the group and holds the pipes must not hold us.
      child.stdout.destroy()
      child.stderr.destroy()
    }
    const end = (error: Error): void => {
      if (ended) return
      ended = error
      if (grace > 0) {
        killGroup(child, 'SIGTERM')
        patience = setTimeout(kill, grace)
      } else kill()
    }
    const late = () => end(systemError('ETIMEDOUT', `${file} was not over after ${timeout} ms`))
    const timer = setTimeout(late, timeout)
    const abort = (): void => end(new Error(`${file} was stopped`, { cause: signal?.reason }))
    const collect = (stream: NodeJS.ReadableStream): (() => string) => {
      const chunks: Buffer[] = []
      let size = 0
      stream.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > maxOutput) end(systemError('EMSGSIZE', `${file} wrote more than ${maxOutput} bytes`))
        else chunks.push(chunk)
      })
      return () => Buffer.concat(chunks).toString()
    }
    const stdout = collect(child.stdout)
    const stderr = collect(child.stderr)
    const settle = (): void => {
      clearTimeout(timer)
      clearTimeout(patience)
      signal?.removeEventListener('abort', abort)
    }
    child.on('error', (error) => {
      settle()
      reject(error)
    })
    child.on('close', (status, name) => {
      settle()
      if (ended) reject(ended)
      else resolve({ status, signal: name, stdout: stdout(), stderr: stderr() })
    })
    signal?.addEventListener('abort', abort, { once: true })
    if (signal?.aborted) abort()
    // A program may end without reading its input: EPIPE is no failure.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}
