/**
 * The mode in which the daemon does the work: LINKWRIGHT_TEST_DAEMON=1. Each private host has a daemon of its own, and
 * our plugins are executed from a folder in which the standalone program does nothing but try the daemon again, which a
 * busy machine may have kept from answering in time: what passes, the daemon has done.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { fileURLToPath } from 'node:url'
import { plainEnv } from './program.ts'
import type { PrivateHost } from './space.ts'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** Whether this is the mode. */
export const isServed = process.env.LINKWRIGHT_TEST_DAEMON === '1'

const SOCKET = '/run/linkwright/linkwright.sock'

/** Tries for one call. */
const TRIES = 100

/** In the place of the standalone program. Without a verb it is not about the daemon. */
const again = `#!/bin/sh
[ -n "$CNI_COMMAND" ] || exec '${here('../../dist/cni/linkwright-cni')}' "$@"
export LINKWRIGHT_TEST_TRY=$(( \${LINKWRIGHT_TEST_TRY:-0} + 1 ))
[ "$LINKWRIGHT_TEST_TRY" -lt ${TRIES} ] || { echo "the daemon does not answer" >&2; exit 3; }
exec "\${0%/*}/bin/$1"
`

/** Launchers without what they fall back to, made of what is in dist/ now by the first who needs them. */
const launchersAlone = (): string => {
  const folder = here(`../../build/served/${process.pid}`)
  if (!existsSync(folder)) {
    const draft = `${folder}.new`
    mkdirSync(`${draft}/bin`, { recursive: true })
    copyFileSync(here('../../dist/cni/linkwright-launcher'), `${draft}/linkwright-launcher`)
    writeFileSync(`${draft}/linkwright-cni`, again, { mode: 0o755 })
    for (const type of readdirSync(here('../../dist/cni/bin')))
      symlinkSync('../linkwright-launcher', `${draft}/bin/${type}`)
    renameSync(draft, folder)
  }
  return `${folder}/bin`
}

const started = new WeakMap<PrivateHost, Promise<void>>()

const start = async (host: PrivateHost): Promise<void> => {
  const program = here('../../dist/cli/linkwright.cjs')
  const [file, args] = host.command(program, ['daemon', '--no-dhcp', '--socket', SOCKET])
  const child = spawn(file, args, { env: plainEnv, stdio: ['ignore', 'ignore', 'pipe'] })
  const over = once(child, 'close')
  host.alsoClose(async () => {
    child.kill('SIGKILL')
    await over
  })
  let said = ''
  const ready = new Promise<void>((resolve) => {
    child.stderr.on('data', (data) => {
      said += data
      // What it says when it takes requests; the rest is of no interest here.
      if (existsSync(host.file(SOCKET))) resolve()
    })
  })
  const ended = over.then(() => {
    throw new Error(`the daemon has ended:\n${said}`)
  })
  ended.catch(() => {})
  await Promise.race([ready, ended])
}

/** The folder that our plugins are executed from on a host, whose daemon runs then. */
export const servedBinDir = async (host: PrivateHost): Promise<string> => {
  let ready = started.get(host)
  if (!ready) {
    ready = start(host)
    started.set(host, ready)
  }
  await ready
  return launchersAlone()
}
