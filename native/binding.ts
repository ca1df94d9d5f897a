/**
 * The typed door to the C++ addon, and the only file that knows a `.node` file exists.
 *
 * The addon knows sockets, namespaces and files. It knows `struct nlmsghdr` (lengths, types, sequence numbers)
 * and nothing of any netlink message. Its errors are {@link SystemError}s: a system call's name and its errno;
 * words are made by the layers above. A wrong argument is a TypeError, and a closed {@link Descriptor} is EBADF.
 *
 * It may be loaded by any number of worker threads, each of which owns what it opens.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { libcOf } from './libc.ts'

/** What every function of the addon throws or rejects with. */
export interface SystemError extends Error {
  /** Positive errno, e.g. 19 (ENODEV). */
  readonly errno: number
  /** Its name, e.g. `ENODEV`. */
  readonly code: string
  /** The system call (or step) that failed, e.g. `setns`. */
  readonly syscall: string
}

/**
 * A file descriptor owned by the addon: closed by `close()`, by garbage collection, or when its environment
 * (main thread or worker) ends, whichever comes first. Always close-on-exec.
 */
export interface Descriptor {
  /** The number, or -1 once closed. */
  readonly fd: number
  /** Safe to repeat. A watch on the descriptor ends with it. An exchange or a lock that is under way on another thread
   * holds the file open until it is over. */
  close(): void
}

/** One thing to open inside a namespace. */
export type OpenSpec =
  /** `socket(domain, type, protocol)`; SOCK_CLOEXEC and SOCK_NONBLOCK are added. */
  | { readonly domain: number; readonly type: number; readonly protocol: number }
  /** `open(path, flags)`; O_CLOEXEC is added. `/proc/sys/net/...` is resolved for the namespace. */
  | { readonly path: string; readonly flags: number }

/** A file below /proc/sys to read, and to write where there is a `value`. */
export interface SysctlSpec {
  readonly path: string
  readonly value?: string | undefined
}

/** Where a batch of netlink requests begins and ends, so that its replies can be told from anything else. */
export interface TransactOptions {
  /** Sequence number of the datagram's first message. */
  readonly firstSeq: number
  /** Sequence number of its last message. */
  readonly lastSeq: number
  /** How many closing messages (NLMSG_ERROR or NLMSG_DONE) must come before the exchange is over. */
  readonly expected: number
  /**
   * An NLMSG_ERROR with this sequence number and an errno ends the exchange at once: nf_tables answers a batch
   * that fails as a whole at its BEGIN message. -1: none.
   */
  readonly abortSeq: number
  /** Milliseconds for the whole exchange, fractions allowed; ETIMEDOUT after. A worker that is terminated
   * and a process that exits meanwhile end when the exchange does. */
  readonly timeout: number
}

/** A datagram or stream chunk as received. */
export interface Received {
  readonly data: Uint8Array
  /** The sender's raw `struct sockaddr`, empty for connected stream sockets. */
  readonly address: Uint8Array
  /** Descriptors that came with SCM_RIGHTS, in order. Close those you do not keep. */
  readonly descriptors: Descriptor[]
  /** `msg_flags`: MSG_TRUNC (0x20) where the datagram was longer, MSG_CTRUNC (8) where descriptors were lost. */
  readonly flags: number
}

/** A descriptor watched by the addon's one epoll thread. */
export interface Watch {
  /** Ends it; no callback comes after. Safe to repeat. The descriptor stays open. */
  close(): void
  /** Keeps the event loop alive (the default). */
  ref(): void
  /** Lets the event loop end though the watch goes on. */
  unref(): void
}

/** What {@link Binding.acceptAnswering} has begun. */
export interface Doorman {
  /** Ends it. Who has been accepted is handed over before this returns. Safe to repeat. */
  close(): void
}

/** The addon's functions. `netns` null means the namespace the process is in. */
export interface Binding {
  /** Opens each spec, in order, in `netns`; each result is a Descriptor or the SystemError of that one spec. Throws only
   * where the namespace itself can't be entered. The calling thread is back in its own namespace afterwards; where it
   * could not be brought back, the process is ended. */
  openInNetns(netns: Descriptor | null, specs: readonly OpenSpec[]): (Descriptor | SystemError)[]
  /** A netlink socket in `netns`, with extended and capped acknowledgements (NETLINK_EXT_ACK, NETLINK_CAP_ACK), strict
   * checks where the kernel has them (NETLINK_GET_STRICT_CHK, Linux 4.20), and, where CAP_NET_ADMIN allows it, buffers of
   * 16 and 32 MiB. Otherwise as {@link openInNetns}, but that it throws. */
  openNetlink(netns: Descriptor | null, protocol: number): Descriptor
  /** Device and inode of a namespace, with a colon between. */
  identifyNetns(netns: Descriptor | null): string
  /** Reads each file below /proc/sys, in order, in `netns`, and writes those that have another `value` than the one that
   * was asked for; each result is what the file had before, without its final newline, or the SystemError of that one.
   * Otherwise as {@link openInNetns}. */
  sysctls(netns: Descriptor | null, sysctls: readonly SysctlSpec[]): (string | SystemError)[]
  /** A new anonymous namespace. Its loopback is down. */
  createNetns(): Descriptor
  /** A new namespace bound to `path`, as `ip netns add` does it: the parent directory is made and becomes a shared
   * mount; EEXIST when the path exists. What was made is removed again when a later step fails. */
  createNamedNetns(path: string): Descriptor
  /** Unmounts and removes a path made by {@link createNamedNetns}, or a plain file that an interrupted one left. ENOENT
   * when it is not there. */
  deleteNamedNetns(path: string): void

  /** open(2), O_CLOEXEC added. */
  open(path: string, flags: number, mode: number): Descriptor
  /** Takes over a descriptor number that this process inherited (socket activation). The number must have no other
   * owner, or both will close it. */
  adopt(fd: number): Descriptor
  /** How many names its file has; 0: somebody has removed the last one. */
  countLinks(descriptor: Descriptor): number
  /** Closes a descriptor as its own `close()` does, but the file itself on a helper thread: closing a packet socket waits
   * until no processor can still be handing it something (`synchronize_net()`, some 10 ms). */
  closeApart(descriptor: Descriptor): void

  /** Sends one datagram of netlink requests and collects every reply to them, on a pool thread. The bytes are all
   * replies, concatenated as the kernel sent them (NLMSG_ALIGNed), stray messages dropped.
   *
   * ETIMEDOUT after `timeout`; ENOBUFS where the kernel had more to say than the receive buffer holds; EMSGSIZE where
   * the datagram does not fit the send buffer. One exchange at a time on a socket: the addon keeps no queue. */
  transact(socket: Descriptor, datagram: Uint8Array, options: TransactOptions): Promise<Uint8Array>
  /** The same on the calling thread. */
  transactSync(socket: Descriptor, datagram: Uint8Array, options: TransactOptions): Uint8Array

  /** Calls back with the ready EPOLL* bits each time `descriptor` is ready for `events`; rearmed after the
   * callback has returned. Level triggered. One watch a descriptor (EEXIST); EPERM for files that are always ready.
   * What the callback throws is an uncaught exception, and the watch goes on. */
  watch(descriptor: Descriptor, events: number, callback: (events: number) => void): Watch

  bind(socket: Descriptor, address: Uint8Array): void
  /** connect(2). Nonblocking: EINPROGRESS and EAGAIN are thrown like any other errno. */
  connect(socket: Descriptor, address: Uint8Array): void
  listen(socket: Descriptor, backlog: number): void
  /** A connected descriptor (nonblocking), or null when none waits. */
  accept(socket: Descriptor): Descriptor | null
  /** Accepts connections of a nonblocking unix socket on a thread of its own, and calls back with each. Where a peer of
   * the user `uid` says exactly `question` within 10 ms (1 to 64 bytes, no descriptors) it has got `answer` by then,
   * however busy JavaScript was, and `answered` is true; of others nothing was read. Accepts nothing
   * while `ahead` (1 to 256) or more wait for the callback. A null socket: accept4 failed, and is tried again after the
   * callback; `accept` tells why. Keeps the event loop alive. */
  acceptAnswering(
    listener: Descriptor,
    question: Uint8Array,
    answer: Uint8Array,
    uid: number,
    ahead: number,
    callback: (socket: Descriptor | null, answered: boolean) => void,
  ): Doorman
  /** shutdown(2): SHUT_RD 0, SHUT_WR 1, SHUT_RDWR 2. */
  shutdown(socket: Descriptor, how: number): void
  getsockname(socket: Descriptor): Uint8Array
  /** Bytes sent, or -1 when the socket is full (EAGAIN). `descriptors` go along as SCM_RIGHTS. `address` for
   * unconnected sockets. */
  send(
    socket: Descriptor,
    data: Uint8Array,
    address?: Uint8Array | null,
    descriptors?: readonly Descriptor[],
  ): number
  /** The next datagram or chunk of at most `size` bytes (1 to 1 MiB), null when nothing waits (EAGAIN). End of stream
   * is empty data. */
  receive(socket: Descriptor, size: number): Received | null
  setsockopt(socket: Descriptor, level: number, name: number, value: Uint8Array): void
  getsockopt(socket: Descriptor, level: number, name: number, size: number): Uint8Array
  /** SO_ATTACH_FILTER with a classic BPF program: 8 bytes an instruction (`struct sock_filter`). */
  attachFilter(socket: Descriptor, program: Uint8Array): void
  /** ioctl(2) with a buffer argument, which the kernel may change in place, or with a number for requests that take one
   * by value (0 to 2^32 - 1). Which of both it is, is the request's: the kernel can't tell. Returns ioctl's result. */
  ioctl(descriptor: Descriptor, request: number, argument: Uint8Array | number): number
  /** ioctl(2) with a buffer argument in a child process that takes on an SELinux label first (`setcon` where it may not:
   * EINVAL without SELinux or for a label that the policy does not know; EACCES by its rules). The buffer stays as it
   * is. The child is this process once more for a moment, without its other threads. */
  ioctlLabelled(descriptor: Descriptor, request: number, argument: Uint8Array, label: string): void

  /** Lets go of the pages of the process's executable that nobody has changed, as madvise(2) does with MADV_DONTNEED:
   * they are the page cache's, from where the kernel maps them again when they are needed. Returns how many bytes of
   * addresses that were. */
  releaseExecutable(): number
  /** Gives back to the system what is free in the C library's heap, of all threads, as malloc_trim(3) does: pages that are
   * needed again are mapped again, one by one. Returns whether it was anything; false with musl, which does so itself. */
  trimHeap(): boolean
  /** _exit(2): ends the process at once, with a status from 0 to 255. Unlike `process.exit` it waits for no thread, which
   * may be in the middle of a system call that never returns, and runs nothing that was registered for the end. */
  exit(status: number): never

  /** flock(2) without waiting: LOCK_SH 1, LOCK_EX 2, LOCK_UN 8. False when somebody else holds it. */
  tryFlock(descriptor: Descriptor, operation: number): boolean
  /** flock(2), waiting in a thread of its own (never in the pool). Closing the descriptor meanwhile is allowed: the
   * promise rejects with EBADF at once, and the lock is let go as soon as it is got. The promise keeps the event loop
   * alive until then; the thread never keeps the process from exiting. */
  flock(descriptor: Descriptor, operation: number): Promise<void>
}

declare const __LINKWRIGHT_ADDON__: string | undefined

/** Thrown where there is no addon to load. */
export interface LoadError extends Error {
  /** ERR_UNSUPPORTED_PLATFORM: not Linux. ERR_ADDON_UNAVAILABLE: none of the files fits; the message has each reason. */
  readonly code: 'ERR_UNSUPPORTED_PLATFORM' | 'ERR_ADDON_UNAVAILABLE'
}

const loadError = (code: LoadError['code'], message: string): LoadError =>
  Object.assign(new Error(message), { code })

/** Folders of the package that have the prebuilt ones, seen from a program's, from an installed one's, from dist/lib. */
const folders = ['.', '..', '../cni', '../../cni']

/** A build of one's own is what is wanted where there is one. */
function* places(): Generator<string> {
  if (typeof __LINKWRIGHT_ADDON__ === 'string') yield __LINKWRIGHT_ADDON__
  else {
    yield `${import.meta.url.endsWith('.ts') ? '..' : '../../..'}/build/Release/linkwright.node`
    yield './linkwright.node'
  }
  const libc = libcOf()
  for (const one of libc ? [libc] : ['glibc', 'musl'])
    for (const folder of folders) yield `${folder}/linkwright.linux-${process.arch}.${one}.node`
}

const load = (): Binding => {
  if (process.platform !== 'linux')
    throw loadError(
      'ERR_UNSUPPORTED_PLATFORM',
      `linkwright works on Linux only, and this is ${process.platform}: only what asks no kernel can be used here`,
    )
  const require = createRequire(import.meta.url)
  const here = dirname(fileURLToPath(import.meta.url))
  const reasons: string[] = []
  for (const place of places()) {
    const path = resolve(here, place)
    if (!existsSync(path)) {
      reasons.push(`${path}: not there`)
      continue
    }
    try {
      return require(path) as Binding
    } catch (error) {
      reasons.push(`${path}: ${(error as Error).message.split('\n')[0]}`)
    }
  }
  throw loadError(
    'ERR_ADDON_UNAVAILABLE',
    `linkwright's addon could not be loaded (${process.platform} ${process.arch}, ${libcOf() ?? 'libc unknown'}, Node ${process.version}):\n  ${reasons.join('\n  ')}\nBuild it in a checkout of the sources (npm run build) and put build/Release/linkwright.node in one of these places.`,
  )
}

let loader = load
let loaded: Binding | undefined
/** The addon, loaded at first use. @throws LoadError */
export const binding = (): Binding => (loaded ??= loader())

/** Gives a program a way of its own to load the addon: a single executable has no file beside it. Called before the
 * first use. */
export const loadBindingBy = (other: () => Binding): void => {
  loader = other
}
