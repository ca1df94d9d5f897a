import { constants, statfsSync } from 'node:fs'
import {
  binding,
  type Descriptor,
  type OpenSpec,
  type SysctlSpec,
  type SystemError,
} from '../native/binding.ts'
import { Connection, type ConnectionOptions } from './connection.ts'
import { during } from './error.ts'
import { type FileLock, type LockMode, type LockOptions, lockFile, tryLockFile } from './flock.ts'

const { O_NONBLOCK } = constants

/** Links, addresses, routes, rules, neighbours; linux/netlink.h. */
export const NETLINK_ROUTE = 0
/** nf_tables and its neighbours; linux/netlink.h. */
export const NETLINK_NETFILTER = 12

/** NSFS_MAGIC, linux/magic.h. */
const NSFS_MAGIC = 0x6e736673
/** NS_GET_NSTYPE of linux/nsfs.h, ioctl_ns(2). */
const NS_GET_NSTYPE = 0xb703
const CLONE_NEWNET = 0x40000000

/** What a descriptor is where it is no network namespace; else null. */
const otherThanNetns = (descriptor: Descriptor): string | null => {
  try {
    const type = binding().ioctl(descriptor, NS_GET_NSTYPE, 0)
    return type === CLONE_NEWNET ? null : `a namespace of another kind: 0x${type.toString(16)}`
  } catch {
    // What is no namespace does not know the question. One whose kind is not told (before Linux 4.11, or by a filter of
    // system calls) may be a container's, and is not taken for something that is left behind.
    const { type } = statfsSync(`/proc/self/fd/${descriptor.fd}`)
    return type === NSFS_MAGIC ? null : `file system magic 0x${type.toString(16)}`
  }
}

const isDescriptor = (opened: Descriptor | SystemError): opened is Descriptor => !(opened instanceof Error)

/** A file or a directory that is not a network namespace. */
export class NotANamespaceError extends Error {
  override readonly name = 'NotANamespaceError'
}

/** A sysctl to read or write: its name below `/proc/sys/`, with slashes. */
export interface SysctlWrite {
  /** E.g. `net/ipv6/conf/eth0/accept_dad`. */
  readonly name: string
  readonly value: string
}

/** Whatever is outside `net/` is the machine's, not a namespace's. */
const sysctlPath = (name: string): string => {
  if (!/^net(?:\/(?!\.{1,2}(?:\/|$))[^/\0]+)+$/.test(name))
    throw new RangeError(`${JSON.stringify(name)} is not the name of a sysctl below net/`)
  return `/proc/sys/${name}`
}

/**
 * A network namespace. The program stays where it is: the addon goes there to open a socket or a file, which stays in
 * the namespace for life, or to read and write settings, and is back before anything else runs.
 */
export class Netns {
  readonly #descriptor: Descriptor | null
  #identity: string | undefined

  private constructor(descriptor: Descriptor | null) {
    this.#descriptor = descriptor
  }

  /** The namespace of this process. Nothing to close. */
  static current(): Netns {
    return new Netns(null)
  }

  /**
   * Opens one by its path, e.g. `/run/netns/blue` or `/proc/4711/ns/net`.
   * @throws SystemError where the path can't be opened; NotANamespaceError where it is something else (a plain file
   * that a reboot left behind)
   */
  static open(path: string): Netns {
    // O_NONBLOCK: a FIFO in the place of a namespace must not stop us here for ever.
    return Netns.adopt(binding().open(path, O_NONBLOCK, 0), path)
  }

  /**
   * Takes over an open namespace descriptor, which is closed where it is none.
   * @param name what to call it in an error
   * @throws NotANamespaceError
   */
  static adopt(descriptor: Descriptor, name = `descriptor ${descriptor.fd}`): Netns {
    const what = otherThanNetns(descriptor)
    if (what === null) return new Netns(descriptor)
    descriptor.close()
    throw new NotANamespaceError(`${name} is not a network namespace (${what})`)
  }

  /** A new one without a name; it lives as long as it is open or something is in it. Its loopback is down. */
  static create(): Netns {
    return new Netns(binding().createNetns())
  }

  /** A new one bound to `path`. Equivalent: `ip netns add NAME` for `/run/netns/NAME`. */
  static createNamed(path: string): Netns {
    return new Netns(binding().createNamedNetns(path))
  }

  /** Removes the name of one. Equivalent: `ip netns del NAME`. What is in it, or holds it open, keeps it alive. */
  static deleteNamed(path: string): void {
    binding().deleteNamedNetns(path)
  }

  /** Safe to repeat. */
  close(): void {
    this.#descriptor?.close()
  }
  [Symbol.dispose](): void {
    this.close()
  }

  /** The open descriptor, for IFLA_NET_NS_FD and the like; null for the process's own. */
  get descriptor(): Descriptor | null {
    return this.#descriptor
  }

  /** Device and inode of the namespace: equal for two handles of the same one. */
  get identity(): string {
    this.#identity ??= binding().identifyNetns(this.#descriptor)
    return this.#identity
  }

  /** Whether two handles mean one namespace. */
  equals(other: Netns): boolean {
    return this.identity === other.identity
  }

  /** Opens sockets or files in the namespace; an error stands in its place. */
  openAll(specs: readonly OpenSpec[]): (Descriptor | SystemError)[] {
    return binding().openInNetns(this.#descriptor, specs)
  }

  /** Opens one socket or file in the namespace. @throws SystemError */
  open(spec: OpenSpec): Descriptor {
    const [opened] = this.openAll([spec])
    if (!opened) throw new Error('the addon opened nothing')
    if (!isDescriptor(opened)) throw opened
    return opened
  }

  /** A netlink connection in the namespace: NETLINK_ROUTE unless `protocol` says otherwise. @throws SystemError */
  connect(options: ConnectionOptions & { readonly protocol?: number | undefined } = {}): Connection {
    return new Connection(binding().openNetlink(this.#descriptor, options.protocol ?? NETLINK_ROUTE), options)
  }

  /**
   * Reads a sysctl as the namespace has it, without its final newline. `name` is as in {@link SysctlWrite}.
   * Equivalent: `ip netns exec NS sysctl -n NAME`.
   * @throws SystemError (ENOENT: no such interface or setting); RangeError for a name that is none
   */
  readSysctl(name: string): string {
    return this.#read(sysctlPath(name))
  }

  /**
   * Reads a file of `/proc/net` as the namespace has it, 4096 bytes at most, without a final newline. Equivalent:
   * `ip netns exec NS cat /proc/net/NAME`.
   * @throws SystemError (ENOENT: the kernel has no such file now); RangeError for a name that is none
   */
  readProcNet(name: string): string {
    if (!/^[\w-]+$/.test(name)) throw new RangeError(`${JSON.stringify(name)} is not a file of /proc/net`)
    return this.#read(`/proc/thread-self/net/${name}`)
  }

  #read(path: string): string {
    const [value] = this.#sysctls(`read ${path}`, [{ path }])
    if (typeof value !== 'string') throw value ?? new Error('the addon read nothing')
    return value
  }

  /**
   * Writes those of the sysctls that have another value, in order. Some of them take the kernel's network lock even
   * where nothing changes. Equivalent: `ip netns exec NS sysctl -w NAME=VALUE`.
   * @returns one entry each: the value that was there before, or the SystemError it met
   * @throws RangeError for a name that is none, before anything is written; SocketError where the namespace can't be
   * entered
   */
  writeSysctls(writes: readonly SysctlWrite[]): (string | SystemError)[] {
    const specs = writes.map(({ name, value }) => ({ path: sysctlPath(name), value }))
    return this.#sysctls(`set ${writes.map(({ name }) => name).join(', ')}`, specs)
  }

  #sysctls(what: string, specs: readonly SysctlSpec[]): (string | SystemError)[] {
    try {
      return binding().sysctls(this.#descriptor, specs)
    } catch (error) {
      throw during(what, error)
    }
  }

  /** The namespace opened once more: flock(2) locks belong to an open file, and everybody needs one of their own. */
  #reopen(): Descriptor {
    const path = this.#descriptor ? `/proc/self/fd/${this.#descriptor.fd}` : '/proc/thread-self/ns/net'
    return binding().open(path, 0, 0)
  }

  /**
   * An advisory lock on the namespace, for programs that agree on what it means. Leaves no file behind; ends with the
   * process at the latest. Null where somebody holds it otherwise. Equivalent: `flock -n /run/netns/NAME`.
   *
   * Whoever is in the namespace may open it (`/proc/self/ns/net`), and so hold this lock for as long as they like, without
   * any rights: nothing that they are not to hold up may depend on it.
   * @throws SystemError
   */
  tryLock(mode: LockMode): FileLock | null {
    return tryLockFile(this.#reopen(), mode)
  }

  /**
   * The same, waiting for at most `timeout` milliseconds.
   * @throws SystemError (ETIMEDOUT); the signal's reason
   */
  async lock(mode: LockMode, options: LockOptions): Promise<FileLock> {
    options.signal?.throwIfAborted()
    return lockFile(this.#reopen(), mode, options)
  }
}
