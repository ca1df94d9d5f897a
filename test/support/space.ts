/**
 * Namespaces for tests. Each is held by a small process that waits on a pipe from the test: when the test process
 * ends, however it ends, the pipe closes, the process exits and the kernel takes everything away.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { afterAll, onTestFinished } from 'vitest'
import { type Finished, must, type ProgramOptions, plainEnv, run } from './program.ts'

/** What all tests of the file opened outside of a test (in `beforeAll`), closed after its last one. */
const open = new Set<Space>()
afterAll(async () => {
  for (const space of [...open].reverse()) await space.close()
})

/** Closes `space` at the end of the running test, or of the file. */
const closeLater = (space: Space): void => {
  open.add(space)
  try {
    onTestFinished(() => space.close())
  } catch {
    // Not inside a test: afterAll does it.
  }
}

/** The process that holds namespaces: `process` ends them, `pid` is in them. */
interface Holder {
  readonly process: ChildProcess
  readonly pid: number
}

/** Starts `script` in new namespaces; it holds them by `cat` until its pipe closes. */
const hold = async (flags: readonly string[], script: string): Promise<Holder> => {
  // As the init of a process namespace, sh stays: it collects orphans.
  const wait = flags.includes('--fork') ? 'cat >/dev/null\nexit 0' : 'exec cat >/dev/null'
  const child = spawn('unshare', [...flags, 'sh', '-ec', `${script}\necho ready\n${wait}`], {
    env: plainEnv,
    stdio: 'pipe',
  })
  let said = ''
  child.stderr.on('data', (data) => {
    said += data
  })
  const [first] = await Promise.race([once(child.stdout, 'data'), once(child, 'close')])
  if (!Buffer.isBuffer(first) || child.pid === undefined)
    throw new Error(`a namespace could not be made: ${said}`)
  if (!flags.includes('--fork')) return { process: child, pid: child.pid }
  const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')
  return { process: child, pid: Number(children) }
}

/** A network namespace, and programs run in it. */
export class Space {
  readonly #holder: Holder
  readonly #enter: readonly string[]

  /** @internal */
  constructor(holder: Holder, enter: readonly string[]) {
    this.#holder = holder
    this.#enter = enter
    closeLater(this)
  }

  /** The process that holds it. */
  get pid(): number {
    return this.#holder.pid
  }

  /** The namespace's path, good in every mount namespace: `/proc/PID/ns/net`. */
  get path(): string {
    return `/proc/${this.pid}/ns/net`
  }

  /** What `file` and `args` become to run in here, for those who start it themselves. */
  command(file: string, args: readonly string[]): [string, string[]] {
    return ['nsenter', [...this.#enter, '--', file, ...args]]
  }

  /** Runs a program in here, whatever its status. */
  run(file: string, args: readonly string[], options?: ProgramOptions): Promise<Finished> {
    return run(...this.command(file, args), options)
  }

  /** Runs a program in here that has to succeed. @returns its standard output */
  must(file: string, args: readonly string[], options?: ProgramOptions): Promise<string> {
    return must(...this.command(file, args), options)
  }

  /** Runs `ip` to change something: `await space.ip('link', 'add', 'br0', 'type', 'bridge')`. */
  async ip(...args: string[]): Promise<void> {
    await this.must('ip', args)
  }

  /** What `ip -j` says: `await space.ipJson<Link>('-d', 'link', 'show')`. Empty where it prints nothing. */
  async ipJson<T = Record<string, unknown>>(...args: string[]): Promise<T[]> {
    const text = await this.must('ip', ['-j', ...args])
    // iproute2 6.1 prints empty objects in the place of what a filter left out.
    const all = text.trim() === '' ? [] : (JSON.parse(text) as T[])
    return all.filter((one) => Object.keys(one as object).length > 0)
  }

  /** What `bridge -j` says. */
  async bridgeJson<T = Record<string, unknown>>(...args: string[]): Promise<T[]> {
    const text = await this.must('bridge', ['-j', ...args])
    return text.trim() === '' ? [] : (JSON.parse(text) as T[])
  }

  /** What `nft -j` says, without its `metainfo`: `await space.nftJson('list', 'ruleset')`. */
  async nftJson<T = Record<string, Record<string, unknown>>>(...args: string[]): Promise<T[]> {
    const { nftables } = JSON.parse(await this.must('nft', ['-j', ...args])) as { nftables: T[] }
    return nftables.filter((one) => !('metainfo' in (one as object)))
  }

  /** Reads a sysctl by its name below `/proc/sys/`, e.g. `net/ipv4/ip_forward`. */
  async sysctl(name: string): Promise<string> {
    return (await this.must('cat', [`/proc/sys/${name}`])).trim()
  }

  /** Whether `address` answers one ping within `seconds`. */
  async ping(address: string, seconds = 2): Promise<boolean> {
    const { status } = await this.run('ping', ['-n', '-c1', '-i0.2', `-w${seconds}`, address])
    return status === 0
  }

  /** Ends it: its interfaces go, its path goes. Safe to repeat. */
  async close(): Promise<void> {
    open.delete(this)
    const { process } = this.#holder
    if (process.exitCode !== null || process.signalCode !== null) return
    const gone = once(process, 'close')
    process.kill('SIGKILL')
    await gone
  }
}

/** A container's namespace, seen from a {@link PrivateHost}. */
export class Container extends Space {
  /**
   * Where the host's programs find it, e.g. `/run/netns/blue`: what a runtime passes as CNI_NETNS. The same string for
   * every host, so that results can be compared. Not reachable from the test's own mount namespace: use `path` there.
   */
  readonly sandbox: string
  readonly #host: Space

  /** @internal */
  constructor(holder: Holder, host: Space, sandbox: string) {
    super(holder, [`--net=/proc/${holder.pid}/ns/net`])
    this.#host = host
    this.sandbox = sandbox
  }

  /** Removes `sandbox`, then ends it. */
  override async close(): Promise<void> {
    // Fails harmlessly where a test did it before, or the host is gone.
    await this.#host.run('sh', ['-c', 'umount -l "$1" && rm -f "$1"', 'sh', this.sandbox])
    await super.close()
  }
}

/** A whole node in miniature: network and mount namespace of its own, with empty `/run` and `/var/lib`. */
export class PrivateHost extends Space {
  readonly #containers: Container[] = []
  readonly #more: (() => Promise<void>)[] = []

  /** @internal */
  constructor(holder: Holder, processes: boolean) {
    const of = `/proc/${holder.pid}/ns`
    super(holder, [`--net=${of}/net`, `--mount=${of}/mnt`, ...(processes ? [`--pid=${of}/pid`] : [])])
  }

  /** The path by which the test's own process reaches a file of this host, e.g. `/var/lib/cni/networks/x/lock`. */
  file(path: string): string {
    return `/proc/${this.pid}/root${path}`
  }

  /** A namespace that plays a container of this host, loopback down as a runtime leaves it. */
  async container(name = 'blue'): Promise<Container> {
    const holder = await hold(['--net'], '')
    const container = new Container(holder, this, `/run/netns/${name}`)
    const script = 'mkdir -p /run/netns && touch "$1" && mount --bind "$2" "$1"'
    await this.must('sh', ['-ec', script, 'sh', container.sandbox, container.path])
    this.#containers.push(container)
    return container
  }

  /** Ends something that lives in it, when it is closed. */
  alsoClose(work: () => Promise<void>): void {
    this.#more.push(work)
  }

  override async close(): Promise<void> {
    for (const work of this.#more.splice(0)) await work()
    for (const container of this.#containers.splice(0)) await container.close()
    await super.close()
  }
}

export interface PrivateHostOptions {
  /**
   * A process namespace of its own too: whatever was started in it, daemons and their children, ends with it. Its
   * process ids are then not the test's. Default false.
   */
  readonly processes?: boolean | undefined
}

/**
 * A namespace that plays the host, loopback up. Its own mount namespace has empty file systems on `/run` and
 * `/var/lib`, so that plugins leave nothing on the machine: no leases, caches, locks or names. Closed at the end of the
 * test that made it; made in `beforeAll`, at the end of the file.
 */
export const privateHost = async (options: PrivateHostOptions = {}): Promise<PrivateHost> => {
  const { processes = false } = options
  const flags = ['--net', '--mount', '--propagation', 'private']
  if (processes) flags.push('--pid', '--fork', '--kill-child', '--mount-proc')
  const script = [
    'mount -t tmpfs -o mode=755 tmpfs /run',
    'mount -t tmpfs -o mode=755 tmpfs /var/lib',
    // /sys shows the network namespace it was mounted in; the control groups below it are the machine's.
    'mkdir /run/cgroup',
    'mount --rbind /sys/fs/cgroup /run/cgroup',
    'mount -t sysfs sysfs /sys',
    'mount --move /run/cgroup /sys/fs/cgroup',
    'ip link set lo up',
  ].join('\n')
  return new PrivateHost(await hold(flags, script), processes)
}

/** A bare network namespace, its loopback down. */
export const space = async (): Promise<Space> => {
  const holder = await hold(['--net'], '')
  return new Space(holder, [`--net=/proc/${holder.pid}/ns/net`])
}
