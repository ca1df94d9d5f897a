/** Builds that are installed from, small enough to be made for each test, and folders to install into. */
import {
  chmodSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, onTestFinished } from 'vitest'
import type { Command } from '../../../cli/command.ts'
import { runCommand } from '../../../cli/command.ts'
import { install, uninstall } from '../../../cli/commands/install/index.ts'
import { type InstallOptions, install as installBy } from '../../../cli/commands/install/install.ts'
import { layoutOf } from '../../../cli/commands/install/layout.ts'
import { must } from '../../support/program.ts'

/** What the launcher is in this respect: it hands its name and arguments to the program beside or above its real path. */
const LAUNCHER = `
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
  char path[4096];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 20);
  if (length < 0 || argc > 8) return 99;
  path[length] = 0;
  char *name = strrchr(path, '/') + 1;
  char *type = strrchr(argv[0], '/');
  char *args[12] = {"linkwright-cni", type ? type + 1 : argv[0]};
  for (int i = 1; i < argc; i++) args[i + 1] = argv[i];
  strcpy(name, "linkwright-cni");
  execv(path, args);
  strcpy(name, "../linkwright-cni");
  execv(path, args);
  perror(path);
  return 98;
}
`

let compiled: Promise<string> | undefined
let place = ''
afterAll(() => place && rmSync(place, { recursive: true, force: true }))

const launcher = (): Promise<string> =>
  (compiled ??= (async () => {
    place = mkdtempSync(join(fastFolder(), 'linkwright-stand-in-'))
    const source = join(place, 'launcher.c')
    writeFileSync(source, LAUNCHER)
    await must('cc', ['-Os', '-static', '-o', join(place, 'launcher'), source])
    return join(place, 'launcher')
  })())

export interface BuildOptions {
  readonly version?: string
  readonly types?: readonly string[]
  /** What the standalone program does for a type, in the place of an answer to VERSION. */
  readonly instead?: Readonly<Record<string, string>>
  readonly units?: Readonly<Record<string, string>>
  readonly command?: boolean
  /** Bytes that the build has besides. */
  readonly ballast?: number
}

const answer = '{"cniVersion":"1.1.0","supportedVersions":["0.4.0","1.0.0","1.1.0"]}'

/** Makes a folder as a build leaves it. */
export const makeBuild = async (folder: string, options: BuildOptions = {}): Promise<void> => {
  const { version = '0.1.0', types = ['bridge', 'host-local', 'ptp'], instead = {}, units = {} } = options
  mkdirSync(join(folder, 'bin'), { recursive: true })
  copyFileSync(await launcher(), join(folder, 'linkwright-launcher'))
  chmodSync(join(folder, 'linkwright-launcher'), 0o755)
  const cases = Object.entries(instead).map(([type, what]) => `${type}) ${what} ;;`)
  const script = [
    '#!/bin/sh',
    'type=$1; shift',
    `test "$1" = --version && { echo "CNI $type plugin v${version}"; exit 0; }`,
    // Holds its version in use.
    'test "$CNI_COMMAND" = HOLD && { echo held; read line; exit 0; }',
    // Nobody's settings and no daemon may have a say.
    'test "$LINKWRIGHT_SOCKET" = - && test -z "$NODE_OPTIONS" || exit 97',
    'test "$CNI_COMMAND" = VERSION || exit 96',
    'case $type in',
    ...cases,
    `*) echo '${answer}' ;;`,
    'esac',
  ]
  writeFileSync(join(folder, 'linkwright-cni'), `${script.join('\n')}\n`, { mode: 0o755 })
  if (options.ballast) writeFileSync(join(folder, 'linkwright.node'), Buffer.alloc(options.ballast, 7))
  for (const type of types) symlinkSync('../linkwright-launcher', join(folder, 'bin', type))
  if (options.command) {
    mkdirSync(join(folder, 'cli'))
    const cli = '#!/bin/sh\necho "linkwright 0.1.0"\n'
    writeFileSync(join(folder, 'cli/linkwright.cjs'), cli, { mode: 0o755 })
  }
  if (options.units) mkdirSync(join(folder, 'systemd'))
  for (const [name, text] of Object.entries(units)) writeFileSync(join(folder, 'systemd', name), text)
}

/** What a command has said. */
export interface Said {
  readonly status: number
  readonly out: string
  readonly err: string
}

const commands: Readonly<Record<'install' | 'uninstall', Command>> = {
  install: install as Command,
  uninstall: uninstall as Command,
}

const call = async (command: Command, args: string[]): Promise<Said> => {
  let out = ''
  let err = ''
  const status = await runCommand(command, args, {
    out: (text) => {
      out += text
    },
    err: (text) => {
      err += text
    },
  })
  return { status, out, err }
}

/** Where flushing costs nothing, if programs may be executed there. */
const fastFolder = (): string =>
  /^\S+ \/dev\/shm tmpfs (?!\S*noexec)/m.test(readFileSync('/proc/self/mounts', 'utf8'))
    ? '/dev/shm'
    : tmpdir()

/** A machine to install on: some folders. */
export class Machine {
  readonly root: string
  readonly binDir: string
  readonly prefix: string
  readonly build: string

  constructor(root: string) {
    this.root = root
    this.binDir = join(root, 'opt/cni/bin')
    this.prefix = join(root, 'opt/linkwright')
    this.build = join(root, 'build')
  }

  get lib(): string {
    return join(this.prefix, 'lib/linkwright')
  }

  /** Says where everything is. */
  get where(): string[] {
    // Tests may run in a process namespace of their own, which is all that the machine under test is.
    return ['--bin-dir', this.binDir, '--prefix', this.prefix, '--whole-node']
  }

  call(name: 'install' | 'uninstall', ...args: string[]): Promise<Said> {
    return call(commands[name], args)
  }

  install(...args: string[]): Promise<Said> {
    return call(commands.install, [...this.where, '--from', this.build, ...args])
  }

  uninstall(...args: string[]): Promise<Said> {
    return call(commands.uninstall, [...this.where, ...args])
  }

  /** Without the command line: for what a command finds out by itself. */
  installBy(options: Partial<InstallOptions>) {
    const { binDir, prefix, build } = this
    return installBy({
      layout: layoutOf({ binDir, prefix, copy: false, wholeNode: true }),
      from: build,
      systemctl: null,
      // For configurations only, of which these have none; all plugins take their time to load.
      plugins: new Map(),
      signal: new AbortController().signal,
      dryRun: false,
      ...options,
    })
  }

  /** Puts what is no plugin of ours into the folder of the plugins. */
  putForeign(type: string, text = `foreign ${type}`, mode = 0o755): string {
    mkdirSync(this.binDir, { recursive: true })
    const path = join(this.binDir, type)
    rmSync(path, { force: true })
    writeFileSync(path, text, { mode })
    chmodSync(path, mode)
    return path
  }

  /** Everything below the root but the build: what each name is. For comparisons. */
  state(below = ''): Record<string, string> {
    const found: Record<string, string> = {}
    const walk = (name: string): void => {
      const path = join(this.root, name)
      for (const entry of readdirSync(path).sort()) {
        const inner = join(name, entry)
        const stat = lstatSync(join(this.root, inner))
        if (inner === 'build') continue
        if (stat.isSymbolicLink()) found[inner] = `-> ${readlinkSync(join(this.root, inner))}`
        else if (stat.isDirectory()) {
          found[inner] = 'folder'
          walk(inner)
        } else
          found[inner] =
            `${(stat.mode & 0o7777).toString(8)} ${stat.uid} ${readFileSync(join(this.root, inner)).toString('base64').slice(0, 4000)}`
      }
    }
    walk(below)
    return found
  }

  /** The name of the version that is used. */
  current(): string {
    return readlinkSync(join(this.lib, 'current'))
  }
}

/** A machine with a build. Gone at the end of the test. */
export const machine = async (options: BuildOptions = {}): Promise<Machine> => {
  const root = mkdtempSync(join(fastFolder(), 'linkwright-install-'))
  onTestFinished(() => rmSync(root, { recursive: true, force: true }))
  const made = new Machine(root)
  await makeBuild(made.build, options)
  return made
}

/** Another build in the place of the one that was there. */
export const rebuild = async ({ build }: Machine, options: BuildOptions): Promise<void> => {
  rmSync(build, { recursive: true })
  await makeBuild(build, options)
}
