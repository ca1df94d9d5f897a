/** The launcher in a folder of its own, beside a stand-in for the standalone program that writes down how it was run. */
import { spawn, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { Finished, ProgramOptions } from '../../support/program.ts'
import { eventually } from '../../support/wait.ts'
import { FakeDaemon } from './fake-daemon.ts'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** The launcher as it is shipped, and as it is built for those who look at every byte it touches. */
export const builds: readonly [name: string, flags: readonly string[], file: string][] = [
  ['shipped', [], here('../../../build/launcher/linkwright-launcher')],
  ['sanitized', ['--sanitize'], here('../../../build/launcher-asan/linkwright-launcher')],
]

/** Makes sure that a build is there. */
export const built = (flags: readonly string[]): void => {
  const script = here('../../../scripts/build-launcher.mjs')
  const { status, stderr } = spawnSync(process.execPath, [script, ...flags], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
}

/** Does as the files beside it say: exits with `status`, or goes on for ever where there is `hang`. */
const standIn = `#!/bin/sh
folder=\${0%/*}
to=$folder/record.$CNI_COMMAND
for argument in "$@"; do printf '%s\\n' "$argument"; done >"$to.arguments"
open=$(find /proc/$$/fd -mindepth 1 -printf '%f %l\\n' 2>/dev/null)
echo "$open" >"$to.descriptors"
grep -E '^Sig(Blk|Ign)' /proc/self/status >"$to.signals"
cat /proc/$$/environ >"$to.environment"
cat >"$to.stdin"
echo "standalone $CNI_COMMAND"
echo "standalone says" >&2
[ ! -e "$folder/hang" ] || exec tail -f /dev/null
[ ! -e "$folder/status" ] || exit "$(cat "$folder/status")"
`

/** Number of the system call in which the launcher waits. */
const ppoll = process.arch === 'x64' ? '271' : '73'

/** How the stand-in was run. */
export interface Record {
  readonly arguments: readonly string[]
  readonly environment: readonly string[]
  readonly stdin: string
  /** `0 pipe:[1]` and so on, less the shell's own: its script, and the pipe by which it learns of them. */
  readonly descriptors: readonly string[]
  /** Signals it has inherited as blocked or ignored: masks as the kernel prints them. */
  readonly signals: string
}

export interface Call extends ProgramOptions {
  /** Default `bridge`. What argv[0] is. */
  readonly name?: string
  readonly args?: readonly string[]
  /** A program and arguments that execute the launcher. */
  readonly prefix?: readonly string[]
  /**
   * When standard input ends, and so from when on the launcher waits for a greeting. Default: when its daemon has
   * greeted, where there is one; the 50 ms that it has for that are short for a machine with other work.
   */
  readonly until?: Promise<void>
}

export class Launched {
  readonly folder = mkdtempSync(join(tmpdir(), 'linkwright-launcher-'))
  readonly launcher = join(this.folder, 'linkwright-launcher')
  readonly socket = join(this.folder, 'daemon.sock')

  /** Of the launcher, as soon as it runs. */
  #pid = 0
  #daemon: FakeDaemon | undefined

  constructor(file: string) {
    onTestFinished(() => rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 }))
    copyFileSync(file, this.launcher)
    symlinkSync('linkwright-launcher', join(this.folder, 'bridge'))
    this.write('linkwright-cni', standIn, 0o755)
  }

  write(name: string, text: string, mode = 0o644): void {
    writeFileSync(join(this.folder, name), text, { mode })
  }

  daemon(backlog?: number): FakeDaemon {
    this.#daemon = new FakeDaemon(this.socket, backlog)
    return this.#daemon
  }

  /** What is in every call's environment, and what is added to it. */
  env(more: Readonly<{ [name: string]: string }> = {}): { [name: string]: string } {
    return {
      PATH: '/usr/local/bin:/usr/bin:/bin',
      LINKWRIGHT_SOCKET: this.socket,
      CNI_COMMAND: 'ADD',
      CNI_CONTAINERID: 'cid-1',
      CNI_IFNAME: 'eth0',
      CNI_PATH: '/nowhere',
      ...more,
    }
  }

  /** Runs the launcher as a runtime runs a plugin. */
  run({ name, args = [], prefix = [], until, input, env, timeout = 20_000 }: Call = {}): Promise<Finished> {
    const own = name === undefined ? join(this.folder, 'bridge') : this.launcher
    const renamed = name === undefined ? [] : ['bash', '-c', 'exec -a "$0" "$@"', name]
    const [file, ...all] = [...renamed, ...prefix, own, ...args] as [string, ...string[]]
    const start = performance.now()
    const child = spawn(file, all, { env: env ?? this.env(), stdio: 'pipe' })
    this.#pid = child.pid ?? 0
    const out: Buffer[] = []
    const err: Buffer[] = []
    child.stdout.on('data', (data) => out.push(data))
    child.stderr.on('data', (data) => err.push(data))
    // It may end without reading its input.
    child.stdin.on('error', () => {})
    const greeted = until ?? this.#daemon?.answered ?? Promise.resolve()
    greeted.then(() => child.stdin.end(input ?? '{"cniVersion":"1.0.0"}'))
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), timeout)
      child.on('error', reject)
      child.on('close', (status, signal) => {
        clearTimeout(timer)
        const [stdout, stderr] = [out, err].map((pieces) => Buffer.concat(pieces).toString()) as [
          string,
          string,
        ]
        resolve({ status, signal, stdout, stderr, ms: performance.now() - start })
      })
    })
  }

  /** Until the launcher has sent a request that its socket has room for, and waits for the answer. */
  async waits(): Promise<void> {
    await eventually('the launcher waits', () => {
      const [, blocked = '0'] =
        /^SigBlk:\s*(\w+)/m.exec(readFileSync(`/proc/${this.#pid}/status`, 'utf8')) ?? []
      const isHeld = (BigInt(`0x${blocked}`) & (1n << 14n)) !== 0n
      const [number] = readFileSync(`/proc/${this.#pid}/syscall`, 'utf8').split(' ')
      return isHeld && number === ppoll
    })
  }

  /** Until the stand-in undoes an ADD, and hangs. */
  async undoes(): Promise<void> {
    await eventually('the DEL runs', () => existsSync(join(this.folder, 'record.DEL.stdin')))
  }

  /** Process groups of the launcher that runs, and of its child. */
  groups(): { readonly own: number; readonly child: number } {
    const groupOf = (pid: number): number =>
      Number(
        readFileSync(`/proc/${pid}/stat`, 'utf8')
          .replace(/^.*\) /s, '')
          .split(' ')[2],
      )
    const child = Number(readFileSync(`/proc/${this.#pid}/task/${this.#pid}/children`, 'utf8'))
    return { own: groupOf(this.#pid), child: groupOf(child) }
  }

  /** Sends a signal to the launcher that runs. */
  kill(signal: NodeJS.Signals): void {
    process.kill(this.#pid, signal)
  }

  /** Null where it was not run for this verb. */
  record(verb = 'ADD'): Record | null {
    const file = (what: string): string => join(this.folder, `record.${verb}.${what}`)
    if (!existsSync(file('stdin'))) return null
    const lines = (what: string, end = '\n'): string[] =>
      readFileSync(file(what), 'utf8')
        .split(end)
        .filter((line) => line !== '')
    return {
      arguments: lines('arguments'),
      environment: lines('environment', '\0'),
      stdin: readFileSync(file('stdin'), 'utf8'),
      descriptors: lines('descriptors').filter(
        (line) => !/\/linkwright-cni$|^([3-9]|\d\d+) pipe:/.test(line),
      ),
      signals: readFileSync(file('signals'), 'utf8'),
    }
  }
}

/** Before a program: its standard output has no reader. Prints its status, or a signal as a negative number. */
export const unread: readonly string[] = [
  ...['python3', '-c'],
  `import os, subprocess, sys
r, w = os.pipe()
os.close(r)
print(subprocess.run(sys.argv[1:], stdout=w).returncode)`,
]

/** The CNI error that was printed. */
export const errorOf = ({ stdout }: Finished): { code: number; msg: string; details?: string } =>
  JSON.parse(stdout)
