/**
 * The standalone program: all plugins in one file, chosen by the first argument, as the launcher executes it
 * (`linkwright-cni bridge`), or by the name it is called by (a link to it, `bridge`).
 */
import { readSync, writeSync } from 'node:fs'
import { basename } from 'node:path'
import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises'
import { config } from 'zod/mini'
import { CniError, codes } from '../cni/error.ts'
import { printJson } from '../cni/json.ts'
import type { Plugins } from '../cni/plugin.ts'
import { errorJson, serve } from '../cni/serve.ts'
import { currentVersion } from '../cni/version.ts'
import { isErrno } from '../netlink/error.ts'
import { hostEnvironment } from './environment.ts'
import { stderrLogger } from './log.ts'
import { packageVersion } from './version.ts'

/** Bytes of standard input; configurations are a few kilobytes. */
const MAX_STDIN = 1 << 20

/** All of standard input, read without the stream machinery, whose loading would cost milliseconds. */
const readStdin = async (): Promise<string> => {
  const chunks: Buffer[] = []
  for (let size = 0; ; ) {
    const chunk = Buffer.allocUnsafe(1 << 16)
    let length: number
    try {
      length = readSync(0, chunk)
    } catch (error) {
      if (!isErrno(error, 'EAGAIN')) throw error
      // Somebody made our end of the pipe nonblocking.
      await pause(1)
      continue
    }
    if (length === 0) return Buffer.concat(chunks).toString()
    size += length
    if (size > MAX_STDIN) throw new Error(`a configuration has at most ${MAX_STDIN} bytes`)
    chunks.push(chunk.subarray(0, length))
  }
}

const writeStdout = async (text: string): Promise<void> => {
  for (let rest = Buffer.from(text); rest.length > 0; )
    try {
      rest = rest.subarray(writeSync(1, rest))
    } catch (error) {
      if (!isErrno(error, 'EAGAIN')) throw error
      await pause(1)
    }
}

/** Gets its arguments, and gives its exit status. */
export type Program = (args: readonly string[]) => Promise<number>

/** What is no plugin, by the words that ask for it: `dhcp daemon`. To be loaded when it is called. */
export type Programs = Readonly<Record<string, Program>>

const main = async (plugins: Plugins, programs: Programs): Promise<number> => {
  const [, script = '', ...args] = process.argv
  const own = basename(script).replace(/\.[cm]?[jt]s$/, '')
  const type = plugins.has(own) ? own : (args.shift() ?? '')
  const plugin = plugins.get(type)
  const asked = (process.env.CNI_COMMAND ?? '') !== ''
  if (!plugin) {
    const msg = type === '' ? 'no plugin named' : `unknown plugin ${JSON.stringify(type)}`
    const details = `call ${own} by the name of a plugin, or as ${own} TYPE; there are ${[...plugins.keys()].join(', ')}`
    if (asked)
      await writeStdout(
        printJson(errorJson(new CniError({ code: codes.internal, msg, details }), currentVersion)),
      )
    else writeSync(2, `${msg}: ${details}\n`)
    return asked ? 1 : 2
  }
  const about = `CNI ${type} plugin v${packageVersion()}`
  // Arguments never change what a runtime's call does.
  if (!asked && args[0] === '--version') {
    await writeStdout(`${about}\n`)
    return 0
  }
  // As the Go plugin has it; the second is for people.
  const program = `${type} ${args[0]}`
  if (!asked && Object.hasOwn(programs, program)) return await programs[program]!(args.slice(1))
  if (!asked && args[0] === '--help') {
    await writeStdout(
      `${about}\nCNI protocol versions supported: ${plugin.versions.join(', ')}\n\nA CNI plugin (https://www.cni.dev): container runtimes execute it with CNI_COMMAND and other variables\nset and a network configuration on standard input. To use it by hand: linkwright add --help\n`,
    )
    return 0
  }
  const controller = new AbortController()
  const { signal } = controller
  const stop = (why: string, cause?: unknown): void =>
    controller.abort(new CniError({ code: codes.internal, msg: `stopped by ${why}`, cause }))
  const stdin = async (): Promise<string> => {
    const text = await readStdin()
    // Until here a signal may end the process at once: nothing has been done.
    for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(name, () => stop(name))
    process.on('uncaughtException', (error) =>
      stop(`an error outside of the plugin: ${error.message}`, error),
    )
    return text
  }
  // Two turns, so that the loop has polled in between: signals that came while it was busy are seen now.
  const beforeSuccess = async (): Promise<void> => {
    await turn()
    await turn()
  }
  const { status, stderr } = await serve({
    plugin,
    environment: process.env,
    stdin,
    beforeSuccess,
    write: writeStdout,
    about,
    signal,
    host: {
      plugins,
      sync: true,
      log: stderrLogger(type),
      get environment() {
        return hostEnvironment()
      },
    },
  })
  if (stderr !== '') writeSync(2, stderr)
  return status
}

/** Answers the call that this process was started for, and exits. */
export const runExecutable = (plugins: Plugins, programs: Programs = {}): void => {
  // Compiling validators pays after many calls, and this program makes one.
  config({ jitless: true })
  main(plugins, programs).then(
    (status) => process.exit(status),
    (error: unknown) => {
      writeSync(2, `${(error as Error).stack}\n`)
      writeSync(1, printJson(errorJson(CniError.from(error), currentVersion)))
      process.exit(1)
    },
  )
}
