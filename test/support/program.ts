import { spawn } from 'node:child_process'

/** What became of a program. */
export interface Finished {
  /** Exit status; null when a signal ended it. */
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  /** Milliseconds from start to end. */
  readonly ms: number
}

export interface ProgramOptions {
  /** Written to its standard input, which is then closed. */
  readonly input?: string | Uint8Array | undefined
  /** Replaces the environment altogether. Default: {@link plainEnv}. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Milliseconds; SIGKILL and an error after. Default 30 000. */
  readonly timeout?: number | undefined
  readonly cwd?: string | undefined
  /** Told the process id as soon as there is one, and how to send it a signal: to nobody else when it has ended. */
  readonly started?: ((pid: number, kill: (signal: NodeJS.Signals) => void) => void) | undefined
}

/** What a runtime gives a plugin, and nothing of the developer's own settings. */
export const plainEnv: Readonly<Record<string, string>> = {
  // The running Node first, so that a shebang finds the Node that the tests run under.
  PATH: `${process.execPath.replace(/\/[^/]+$/, '')}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
  LC_ALL: 'C',
}

/** Runs a program to its end, whatever its status. Rejects when it can't be started or overstays. */
export const run = (file: string, args: readonly string[], options: ProgramOptions = {}): Promise<Finished> =>
  new Promise((resolve, reject) => {
    const start = performance.now()
    const timeout = options.timeout ?? 30_000
    const child = spawn(file, args, { env: options.env ?? plainEnv, cwd: options.cwd, stdio: 'pipe' })
    const out: Buffer[] = []
    const err: Buffer[] = []
    let late = false
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, timeout)
    child.stdout.on('data', (data) => out.push(data))
    child.stderr.on('data', (data) => err.push(data))
    // A program may end without reading its input: EPIPE is no failure.
    child.stdin.on('error', () => {})
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      const stdout = Buffer.concat(out).toString()
      const stderr = Buffer.concat(err).toString()
      if (late) {
        const words = [file, ...args].join(' ')
        reject(new Error(`${words}: not over after ${timeout} ms\n${stdout}${stderr}`))
      } else resolve({ status, signal, stdout, stderr, ms: performance.now() - start })
    })
    if (child.pid !== undefined) options.started?.(child.pid, (signal) => child.kill(signal))
    child.stdin.end(options.input)
  })

/** Runs a program that has to succeed. @returns its standard output */
export const must = async (
  file: string,
  args: readonly string[],
  options?: ProgramOptions,
): Promise<string> => {
  const { status, signal, stdout, stderr } = await run(file, args, options)
  if (status !== 0) {
    const words = [file, ...args].join(' ')
    throw new Error(`${words}: ${signal ?? `exit ${status}`}\n${stderr}${stdout}`)
  }
  return stdout
}
