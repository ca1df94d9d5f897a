/**
 * The daemon's socket: over the addon and not node:net, because descriptors come along, and because whoever connects is
 * asked who they are.
 */
import { CniError, codes } from '../cni/error.ts'
import type { Logger } from '../cni/plugin.ts'
import { ioError } from '../ipam/files.ts'
import { type SocketPath, takeSocketPath } from '../ipam/socket-path.ts'
import { type Binding, binding, type Descriptor } from '../native/binding.ts'
import { littleEndian } from '../netlink/codec/writer.ts'
import { isErrno } from '../netlink/error.ts'
import { Netns } from '../netlink/netns.ts'

const EPOLLIN = 1
const AF_UNIX = 1
const SOCK_STREAM = 1
/** Of `asm-generic/socket.h`. */
const SOL_SOCKET = 1
const SO_TYPE = 3
const SO_PEERCRED = 17
const SO_ACCEPTCONN = 30
const SO_DOMAIN = 39
/** Of `asm-generic/ioctls.h`: O_NONBLOCK by ioctl. */
const FIONBIO = 0x5421

const MODE = 0o600
/** Connections that the kernel holds until they are accepted: a launcher finds no queue full. */
const BACKLOG = 4096
/** Connections accepted before others have their turn. */
const MAX_AT_ONCE = 32
/** Milliseconds until it is tried again, where the system had nothing left for one more connection. */
const PAUSE = 100

/** What accept4(2) says where there are too many descriptors, here or everywhere, or too little memory. */
const exhausted = ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'] as const

/** What the addon does for a listener. */
export type ListenerBinding = Pick<
  Binding,
  'accept' | 'acceptAnswering' | 'adopt' | 'bind' | 'getsockopt' | 'ioctl' | 'listen' | 'watch'
>

export interface ListenOptions {
  /**
   * Where to listen: a path, whose directory is made (0700) and whose stale socket is replaced; or an inherited
   * descriptor of a socket that listens already (systemd socket activation).
   */
  readonly where: { readonly path: string } | { readonly fd: number }
  /** Gets each connection of root's: a socket, the callee's own; and whether its greeting has been answered. */
  readonly connected: (socket: Descriptor, greeted: boolean) => void
  /** What nearly all peers begin with, and its answer, which does not wait for JavaScript. Default: nothing. */
  readonly greeting?:
    | {
        readonly question: Uint8Array
        readonly answer: Uint8Array
        /** How many may have got it before JavaScript knows of them: 1 to 256. */
        readonly ahead: number
      }
    | undefined
  /** Told why a connection was not served. */
  readonly refused: (reason: 'peer' | 'resources') => void
  readonly log: Logger
  /** Whose peers are served, besides no others. Default 0, root. */
  readonly uid?: number | undefined
  readonly native?: ListenerBinding | undefined
}

/** `struct sockaddr_un` of unix(7). */
export const unixAddress = (path: string): Uint8Array =>
  Buffer.concat([new Uint8Array(Uint16Array.of(AF_UNIX).buffer), Buffer.from(path), Buffer.of(0)])

const word = (bytes: Uint8Array, at = 0): number =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getInt32(at, littleEndian)

/** Takes over a socket from the service manager. @throws CniError code 5 where it is not one to accept on */
const inherit = (fd: number, native: ListenerBinding): Descriptor => {
  const name = `descriptor ${fd}`
  let socket: Descriptor
  try {
    socket = native.adopt(fd)
  } catch (error) {
    throw ioError(error, name)
  }
  try {
    const is = (option: number, value: number): boolean =>
      word(native.getsockopt(socket, SOL_SOCKET, option, 4)) === value
    if (!is(SO_DOMAIN, AF_UNIX) || !is(SO_TYPE, SOCK_STREAM) || !is(SO_ACCEPTCONN, 1))
      throw new CniError({ code: codes.io, msg: `${name} is no unix stream socket that listens` })
    // systemd makes it block (NonBlocking= of systemd.service(5)): accept would stop everything.
    native.ioctl(socket, FIONBIO, new Uint8Array(Int32Array.of(1).buffer))
    return socket
  } catch (error) {
    socket.close()
    throw ioError(error, name)
  }
}

/** Accepts, and says who came. */
export class Listener {
  readonly #socket: Descriptor
  readonly #path: SocketPath | undefined
  readonly #options: ListenOptions
  readonly #native: ListenerBinding
  #watch: { close(): void } | undefined
  #quick = true
  #pause: NodeJS.Timeout | undefined
  #closed = false

  /** @internal */
  constructor(socket: Descriptor, path: SocketPath | undefined, options: ListenOptions) {
    this.#socket = socket
    this.#path = path
    this.#options = options
    this.#native = options.native ?? binding()
    this.#listen()
  }

  #listen(): void {
    const { greeting, connected, uid = 0 } = this.#options
    if (!greeting || !this.#quick) {
      this.#watch = this.#native.watch(this.#socket, EPOLLIN, () => this.#accept())
      return
    }
    const { question, answer, ahead } = greeting
    const arrived = (socket: Descriptor | null, answered: boolean): void => {
      if (socket === null) this.#accept()
      else if (answered) connected(socket, true)
      else this.#welcome(socket)
    }
    this.#watch = this.#native.acceptAnswering(this.#socket, question, answer, uid, ahead, arrived)
  }

  /** Whether greetings are answered without asking JavaScript. */
  quick(on: boolean): void {
    if (this.#quick === on || !this.#options.greeting) return
    this.#quick = on
    if (!this.#watch || this.#closed) return
    this.#watch.close()
    this.#watch = undefined
    // It may need a thread and a descriptor, and there may be none.
    try {
      this.#listen()
    } catch (error) {
      this.#rest(error as Error)
    }
  }

  #accept(): void {
    for (let one = 0; one < MAX_AT_ONCE && !this.#closed; one++) {
      let socket: Descriptor | null
      try {
        socket = this.#native.accept(this.#socket)
      } catch (error) {
        this.#rest(error as Error)
        return
      }
      if (socket === null) return
      this.#welcome(socket)
    }
  }

  /** What waits goes on waiting, and is served when there is room again. */
  #rest(error: Error): void {
    const { log, refused } = this.#options
    if (isErrno(error, ...exhausted)) refused('resources')
    log.error('a connection could not be accepted', { error: error.message })
    this.#watch?.close()
    this.#watch = undefined
    this.#pause = setTimeout(() => {
      try {
        this.#listen()
      } catch (cause) {
        this.#rest(cause as Error)
      }
    }, PAUSE)
  }

  #welcome(socket: Descriptor): void {
    const { connected, refused, log, uid: wanted = 0 } = this.#options
    let uid: number
    try {
      // `struct ucred`: pid, uid, gid.
      uid = word(this.#native.getsockopt(socket, SOL_SOCKET, SO_PEERCRED, 12), 4)
    } catch (error) {
      socket.close()
      log.error('whoever connected could not be told', { error: (error as Error).message })
      return
    }
    if (uid === wanted) {
      connected(socket, false)
      return
    }
    socket.close()
    refused('peer')
    log.warn('a connection of another user was refused', { uid: uid >>> 0 })
  }

  /** Removes the path: nobody new finds it. Who has connected already is still accepted. @throws CniError code 5 or 11 */
  async retire(): Promise<void> {
    await this.#path?.remove()
  }

  /** Stops accepting. Safe to repeat. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#pause)
    this.#watch?.close()
    this.#socket.close()
  }
}

/**
 * Begins to listen.
 * @throws CniError code 5 where it can't, or somebody listens there already; 11 where others hold the directory's lock
 */
export const listen = async (options: ListenOptions): Promise<Listener> => {
  const { where, native = binding() } = options
  if ('fd' in where) return new Listener(inherit(where.fd, native), undefined, options)
  const socket = Netns.current().open({ domain: AF_UNIX, type: SOCK_STREAM, protocol: 0 })
  try {
    const path = await takeSocketPath(where.path, MODE, {
      listen(temporary) {
        native.bind(socket, unixAddress(temporary))
        native.listen(socket, BACKLOG)
      },
      abandon() {},
    })
    return new Listener(socket, path, options)
  } catch (error) {
    socket.close()
    throw error
  }
}
