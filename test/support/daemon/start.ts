/** Daemons for tests: in the test's process, or in one of their own inside a private host. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { onTestFinished } from 'vitest'
import { type Daemon, type StartOptions, startDaemon } from '../../../daemon/daemon.ts'
import { type LoggedOperation, OperationLog } from '../../../daemon/operation-log.ts'
import { defineBridge } from '../../../plugins/bridge/index.ts'
import { plugins } from '../../../plugins/index.ts'
import { plainEnv } from '../program.ts'
import type { PrivateHost } from '../space.ts'
import { closeClients } from './client.ts'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** A folder that goes with the running test. */
export const folder = (): string => {
  const path = mkdtempSync(join(tmpdir(), 'linkwright-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

export interface InProcess {
  readonly daemon: Daemon
  /** Its socket. */
  readonly path: string
  /** Lines of its log of operations. */
  readonly operations: LoggedOperation[]
  /** What else it had to say. */
  readonly said: string[]
}

/** A daemon in the test's process, with a socket and locks in a folder of its own. Without DHCP unless the options say so. */
export const inProcess = async (options: Partial<StartOptions> = {}): Promise<InProcess> => {
  const run = join(folder(), 'run')
  const path = join(run, 'linkwright.sock')
  const bridge = defineBridge({ locks: join(run, 'bridge') })
  const operations: LoggedOperation[] = []
  const said: string[] = []
  const nothing = (): void => {}
  const say = (message: string, fields: Readonly<Record<string, unknown>> = {}): void =>
    void said.push(`${message} ${JSON.stringify(fields)}`)
  const daemon = await startDaemon({
    socket: { path },
    dhcp: null,
    plugins: new Map([...plugins, [bridge.type, bridge]]),
    software: '1.2.3',
    log: { debug: nothing, info: nothing, warn: say, error: say },
    operations: new OperationLog((line) => operations.push(JSON.parse(line) as LoggedOperation)),
    ...options,
  })
  onTestFinished(async () => {
    closeClients()
    await daemon.close(0)
  })
  return { daemon, path, operations, said }
}

/** What is open in a process besides plain files, by kind: a difference is a leak. */
export const descriptorsOf = (pid: number | 'self' = 'self'): string[] =>
  readdirSync(`/proc/${pid}/fd`)
    .map((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`)
      } catch {
        return ''
      }
    })
    .filter((target) => /^(?:socket|net|mnt):/.test(target))
    .sort()

/** Bundles `main.ts` into a folder. @returns the script */
export const buildDaemon = async (into: string): Promise<string> => {
  const outfile = join(into, 'daemon.cjs')
  await build({
    entryPoints: [here('main.ts')],
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    outfile,
    logLevel: 'error',
    define: {
      __LINKWRIGHT_ADDON__: JSON.stringify(here('../../../build/Release/linkwright.node')),
      'import.meta.url': JSON.stringify(import.meta.url),
    },
  })
  return outfile
}

/** A daemon in a process of its own, which lives in `host`. */
export interface OwnProcess {
  readonly process: ChildProcess
  readonly pid: number
  /** Its socket, as the test's process finds it. */
  readonly path: string
  /** Ends it by a signal, and waits for the end. @returns the exit status, or the signal */
  end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals>
}

/** The socket's path, as the host has it. */
export const SOCKET = '/run/linkwright/linkwright.sock'

export const ownProcess = async (host: PrivateHost, script: string): Promise<OwnProcess> => {
  const child = spawn(...host.command(process.execPath, [script, SOCKET]), { env: plainEnv, stdio: 'pipe' })
  let said = ''
  child.stderr.on('data', (data) => {
    said += data
  })
  const over = once(child, 'close')
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await over
  })
  const [first] = await Promise.race([once(child.stdout, 'data'), over])
  if (!Buffer.isBuffer(first)) throw new Error(`the daemon did not start: ${said}`)
  return {
    process: child,
    pid: child.pid!,
    path: host.file(SOCKET),
    async end(signal) {
      child.kill(signal)
      const [status, by] = (await over) as [number | null, NodeJS.Signals | null]
      return by ?? status!
    },
  }
}
