/** An executed plugin (the bridge, unless told otherwise) under strace, which makes any of its system calls fail, or kills it there. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { binDirs, type PrintedError, type PrintedResult } from '../../support/plugin.ts'
import { type Finished, plainEnv } from '../../support/program.ts'
import { type Container, type PrivateHost, privateHost } from '../../support/space.ts'

/** Everything that an ADD can do, on a host where nothing has been done yet. */
export const conf = {
  cniVersion: '1.0.0',
  name: 'net',
  type: 'bridge',
  bridge: 'cni0',
  isGateway: true,
  ipMasq: true,
  macspoofchk: true,
  hairpinMode: true,
  ipam: {
    type: 'host-local',
    ranges: [[{ subnet: '10.22.0.0/16' }], [{ subnet: 'fd00:22::/64' }]],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  },
}

export interface Execution extends Finished {
  readonly result: PrintedResult | null
  readonly error: PrintedError | null
}

/** A system call of the plugin's main thread. */
export interface Call {
  readonly name: string
  /** Its number among those of its name, from 1. */
  readonly count: number
  /** As strace prints it. */
  readonly text: string
}

export interface RunOptions {
  /** Arguments of strace. Default: without it. */
  readonly strace?: readonly string[]
  readonly prevResult?: PrintedResult | null
  /** Keys that differ from {@link conf}. */
  readonly conf?: Readonly<Record<string, unknown>>
  /** Told the plugin's process id. */
  readonly started?: (pid: number) => void
}

const traceFile = '/run/trace'
const linkwright = fileURLToPath(new URL('../../../dist/cli/linkwright.cjs', import.meta.url))
/** Not by the launcher: its own system calls are none of these tests' matter. */
const standalone = fileURLToPath(new URL('../../../dist/cni/linkwright-cni', import.meta.url))

export interface PatientOptions {
  /** Keys that differ from {@link conf}, in all runs; `type` among them. */
  readonly conf?: Readonly<Record<string, unknown>>
  /** A list in the place of one plugin: `linkwright` runs it. */
  readonly list?: { readonly text: string; readonly capabilityArgs: unknown } | undefined
  /** Programs that the plugin runs are tampered with as it is, each with a count of its own. Default true. */
  readonly children?: boolean
}

/** What a call is about, less what differs from run to run: its file, or the number of its descriptor. */
const objectOf = (text: string): string => {
  const [, path] = /^\(AT_FDCWD, "([^"]*)"/.exec(text) ?? /^\("([^"]*)"/.exec(text) ?? []
  const [, descriptor = ''] = /^\((\d+)/.exec(text) ?? []
  return path?.replace(/[0-9a-f]{6,}|\d+/g, 'N') ?? descriptor
}

/**
 * The calls of these names of the main thread in what strace has written. What wakes the threads of Node (eventfd) is
 * left out: Node does not live without.
 * @param from the name of the call that is the first of interest. Default: all are
 */
export const callsIn = (lines: readonly string[], names: readonly string[], from?: string): Call[] => {
  // Without its children there are no process ids.
  const main = /^\d+/.exec(lines[0]!)?.[0]
  const counts = new Map<string, number>()
  const calls: Call[] = []
  let started = from === undefined
  for (const line of lines) {
    const [, pid, name, text] = /^(?:(\d+) +)?(\w+)(\(.*)$/.exec(line) ?? []
    if (name === from) started = true
    if (pid !== main || name === undefined || text === undefined) continue
    // The kernel's own way to wait for its network lock: how often is chance.
    if (text.includes('ERESTARTNOINTR')) continue
    const count = (counts.get(name) ?? 0) + 1
    counts.set(name, count)
    const wakes = text.includes('"\\1\\0\\0\\0\\0\\0\\0\\0"')
    if (started && !wakes && names.includes(name)) calls.push({ name, count, text: text.slice(0, 100) })
  }
  return calls
}

export class Patient {
  readonly host: PrivateHost
  readonly container: Container
  readonly #conf: Readonly<Record<string, unknown>>
  readonly #list: PatientOptions['list']
  readonly #follow: readonly string[]

  constructor(
    host: PrivateHost,
    container: Container,
    { conf: own = {}, list, children = true }: PatientOptions = {},
  ) {
    this.host = host
    this.container = container
    this.#conf = { ...conf, ...own }
    this.#list = list
    this.#follow = children ? ['-f'] : []
  }

  #program(command: string): [file: string, args: string[]] {
    if (!this.#list) return [standalone, [this.#conf.type as string]]
    const capabilityArgs = JSON.stringify(this.#list.capabilityArgs)
    const options = ['--container-id', 'cid-1', '--capability-args', capabilityArgs, '--json']
    return [process.execPath, [linkwright, command.toLowerCase(), '-', this.container.sandbox, ...options]]
  }

  async run(
    command: string,
    { strace = [], prevResult, conf: more, started }: RunOptions = {},
  ): Promise<Execution> {
    const [program, own] = this.#program(command)
    const [file, args] =
      strace.length === 0
        ? [program, own]
        : ['strace', [...this.#follow, '-q', '-q', '-o', traceFile, ...strace, program, ...own]]
    const finished = await this.host.run(file, args, {
      // An emulated processor takes its time to trace a process of many threads.
      timeout: 120_000,
      input:
        this.#list?.text ?? JSON.stringify({ ...this.#conf, ...more, ...(prevResult ? { prevResult } : {}) }),
      started,
      env: {
        ...plainEnv,
        CNI_COMMAND: command,
        CNI_CONTAINERID: 'cid-1',
        CNI_NETNS: this.container.sandbox,
        CNI_IFNAME: 'eth0',
        CNI_PATH: binDirs.ours,
      },
    })
    const printed = finished.stdout === '' ? null : JSON.parse(finished.stdout)
    return {
      ...finished,
      result: finished.status === 0 ? printed : null,
      error: finished.status === 0 ? null : printed,
    }
  }

  /**
   * The calls of these names of one run, in order, from the first socket on: before it, Node starts.
   * @param names system calls, as strace knows them
   */
  async trace(names: readonly string[], command = 'ADD'): Promise<Call[]> {
    const { status, stdout } = await this.run(command, {
      strace: ['-e', `trace=${[...names, 'socket'].join(',')}`],
    })
    if (status !== 0) throw new Error(stdout)
    return callsIn(readFileSync(this.host.file(traceFile), 'utf8').split('\n'), names, 'socket')
  }

  /** A run with one of its calls tampered with: `error=ENOMEM` or `signal=SIGKILL`. */
  tampered({ name, count }: Call, how: string, command = 'ADD'): Promise<Execution> {
    return this.run(command, { strace: ['-e', `trace=${name}`, '-e', `inject=${name}:${how}:when=${count}`] })
  }

  /**
   * Whether the last {@link tampered} run came by the call, and not by another one in its place: how often the kernel is
   * asked again, and how often Node's threads wake each other, is chance.
   */
  met({ name, text }: Call): boolean {
    const lines = readFileSync(this.host.file(traceFile), 'utf8').split('\n')
    const injected = lines.find((line) => line.includes('(INJECTED)'))
    const [, found = ''] = new RegExp(`\\b${name}(\\(.*)$`).exec(injected ?? '') ?? []
    return injected !== undefined && objectOf(found) === objectOf(text)
  }

  /**
   * What there is on host and in container, and which files are kept. What all attachments share and leave behind does
   * not count: empty tables and chains of nf_tables, host-local's lock and counter, `ip_forward`.
   */
  async state(): Promise<string[]> {
    const network = 'ip -o link show; ip -o addr show; ip -4 route show table all; ip -6 route show table all'
    const files =
      "find /var/lib/cni /run -type f ! -path '/run/netns/*' ! -path /run/trace -printf '%p %s\\n' || :"
    const [host, rules, container] = await Promise.all([
      this.host.must('sh', ['-c', `${network}; ${files} 2>/dev/null`]),
      this.host.must('nft', ['list', 'ruleset']),
      this.container.must('sh', ['-c', network]),
    ])
    const own = rules.split('\n').filter((line) => /saddr|cni-br-iface|CNI-[0-9a-f]/.test(line))
    return [...host.split('\n'), ...own, ...container.split('\n')].filter(
      (line) => line !== '' && !/\/(last_reserved_ip\.\d|lock) \d+$/.test(line),
    )
  }

  /** The same without the bridge, which outlives its attachments, as its address does. */
  async stateBesideBridge(): Promise<string[]> {
    return (await this.state()).filter((line) => !/\bcni0\b/.test(line))
  }

  /** The host as it was before the first ADD. */
  async reset(): Promise<void> {
    const script = [
      'ip link del cni0 2>/dev/null || :',
      'nft flush ruleset',
      'rm -rf /var/lib/cni /run/linkwright/bridge',
      'echo 0 >/proc/sys/net/ipv4/ip_forward',
      'echo 0 >/proc/sys/net/ipv6/conf/all/forwarding',
    ].join('\n')
    await this.host.must('sh', ['-ec', script])
  }
}

export const patient = async (options?: PatientOptions): Promise<Patient> => {
  const host = await privateHost()
  // As the daemon has it; it is not the first ADD that makes it.
  await host.must('mkdir', ['-m', '700', '/run/linkwright'])
  return new Patient(host, await host.container(), options)
}
