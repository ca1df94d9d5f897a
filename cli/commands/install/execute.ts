import { spawn } from 'node:child_process'

/** Bytes of output that are kept. */
const MAX_OUTPUT = 1 << 16

/** How a program ended. */
export interface Ended {
  /** Exit status; null where a signal ended it. */
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface ExecuteOptions {
  /** The name it is called by. */
  readonly argv0?: string | undefined
  readonly env: Readonly<Record<string, string>>
  readonly input?: string | undefined
  /** Milliseconds; SIGKILL after. */
  readonly timeout: number
  /** SIGKILL when it is aborted. */
  readonly signal?: AbortSignal | undefined
}

/** Programs that an installer runs see nothing else of its environment. */
export const PLAIN_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Runs a program to its end. @throws SystemError where it can't be started; Error where it overstays or says too much */
export const execute = (file: string, args: readonly string[], options: ExecuteOptions): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const { argv0, env, input = '', timeout, signal } = options
    const child = spawn(file, args, { env, stdio: 'pipe', ...(argv0 === undefined ? {} : { argv0 }) })
    let failure: Error | undefined
    const end = (why: Error): void => {
      failure ??= why
      child.kill('SIGKILL')
      // A program that it has started may hold the pipes open.
      child.stdout.destroy()
      child.stderr.destroy()
    }
    const timer = setTimeout(() => end(new Error(`not over after ${timeout} ms`)), timeout)
    const stop = () => end(signal!.reason as Error)
    signal?.addEventListener('abort', stop)
    if (signal?.aborted) stop()
    const outputs = [child.stdout, child.stderr].map((stream) => {
      const chunks: Buffer[] = []
      let size = 0
      stream.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > MAX_OUTPUT) end(new Error(`it says more than ${MAX_OUTPUT} bytes`))
        else chunks.push(chunk)
      })
      return chunks
    })
    // It may end without reading.
    child.stdin.on('error', () => {})
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', stop)
    }
    child.on('error', (error) => {
      done()
      reject(error)
    })
    child.on('close', (status, ended) => {
      done()
      const [stdout = '', stderr = ''] = outputs.map((chunks) => Buffer.concat(chunks).toString())
      if (failure) reject(failure)
      else resolve({ status, signal: ended, stdout, stderr })
    })
    child.stdin.end(input)
  })
