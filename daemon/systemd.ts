/** What a service manager gives a service, and is told by it: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3). */
import type { Environment } from '../cni/environment.ts'
import type { Logger } from '../cni/plugin.ts'
import { type Binding, binding, type Descriptor } from '../native/binding.ts'
import { Netns } from '../netlink/netns.ts'

const AF_UNIX = 1
const SOCK_DGRAM = 2
/** Bytes of `sun_path` (unix(7)). */
const SUN_PATH = 108

/** SD_LISTEN_FDS_START. */
const FIRST_FD = 3
/** Sockets that are looked at. There are two that mean something. */
const MAX_SOCKETS = 16

/** Sockets that may be handed over. */
export type SocketRole = 'linkwright' | 'dhcp'

/** FileDescriptorName= of systemd.socket(5), and what it is where nobody has said it: the name of the unit. */
const roles: Readonly<Record<string, SocketRole>> = {
  linkwright: 'linkwright',
  'linkwright.socket': 'linkwright',
  dhcp: 'dhcp',
  'linkwright-dhcp.socket': 'dhcp',
}

/** What was handed over can't be used. */
export class ActivationError extends Error {
  override readonly name = 'ActivationError'
}

/** Whether a variable speaks of this process, and not of one that has passed its environment on. */
const isMine = (value: string | undefined, pid: number): boolean => value === `${pid}`

/**
 * The sockets that the service manager has opened for this process, by what they are for. A single one without a name
 * that means something is the daemon's own.
 * @param pid of this process
 * @throws ActivationError for names that mean nothing, or the same twice
 */
export const inheritedSockets = (
  { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' }: Environment,
  pid: number,
): ReadonlyMap<SocketRole, number> => {
  const sockets = new Map<SocketRole, number>()
  if (!isMine(LISTEN_PID, pid) || LISTEN_FDS === undefined || LISTEN_FDS === '0') return sockets
  const count = /^\d{1,4}$/.test(LISTEN_FDS) ? Number(LISTEN_FDS) : Number.NaN
  if (!(count <= MAX_SOCKETS)) throw new ActivationError(`LISTEN_FDS=${LISTEN_FDS} is no number of sockets`)
  const names = LISTEN_FDNAMES === '' ? [] : LISTEN_FDNAMES.split(':')
  for (let i = 0; i < count; i++) {
    const name = names[i] ?? 'unknown'
    const role = Object.hasOwn(roles, name) ? roles[name] : count === 1 ? 'linkwright' : undefined
    if (!role)
      throw new ActivationError(
        `socket activation with a socket named ${JSON.stringify(name)}: one is named linkwright or dhcp (FileDescriptorName=)`,
      )
    if (sockets.has(role)) throw new ActivationError(`socket activation with two sockets for ${role}`)
    sockets.set(role, FIRST_FD + i)
  }
  return sockets
}

/** Milliseconds in which the service manager has to hear from a service; null where it does not wait for it. */
export const watchdogTime = ({ WATCHDOG_USEC, WATCHDOG_PID }: Environment, pid: number): number | null => {
  if (WATCHDOG_USEC === undefined || !/^[1-9]\d{0,15}$/.test(WATCHDOG_USEC)) return null
  if (WATCHDOG_PID !== undefined && !isMine(WATCHDOG_PID, pid)) return null
  return Number(WATCHDOG_USEC) / 1000
}

/** `struct sockaddr_un`: a path with its NUL, or a name of the abstract namespace, written with an @. */
export const notifyAddress = (name: string): Uint8Array | null => {
  const isAbstract = name.startsWith('@')
  if (!(isAbstract || name.startsWith('/')) || name.length < 2 || name.includes('\0')) return null
  const path = Buffer.from(isAbstract ? `\0${name.slice(1)}` : `${name}\0`)
  if (path.length > SUN_PATH) return null
  return Buffer.concat([new Uint8Array(Uint16Array.of(AF_UNIX).buffer), path])
}

/** Assignments of sd_notify(3). */
export interface Notification {
  readonly READY?: 1
  readonly STOPPING?: 1
  readonly WATCHDOG?: 1
  /** One line. */
  readonly STATUS?: string
  readonly MAINPID?: number
}

/** Milliseconds until a queue that is full is tried again, and how often that is done. */
const AGAIN = 20
const MAX_TRIES = 100
/** Longest delay of a timer, in milliseconds. */
const MAX_DELAY = 2 ** 31 - 1

export type NotifierBinding = Pick<Binding, 'send'>

export interface NotifierOptions {
  readonly environment: Environment
  /** Of this process. */
  readonly pid: number
  readonly log?: Logger | undefined
  readonly native?: NotifierBinding | undefined
}

/** Tells the service manager how it goes. Where there is none every call does nothing. */
export class Notifier {
  readonly #address: Uint8Array | null
  readonly #socket: Descriptor | null
  readonly #native: NotifierBinding
  readonly #log: Logger | undefined
  readonly #mainPid: number | undefined
  readonly #watchdog: number | null
  #beat: NodeJS.Timeout | undefined
  #failed = false

  /** @throws SystemError where no socket can be opened */
  constructor({ environment, pid, log, native = binding() }: NotifierOptions) {
    const { NOTIFY_SOCKET = '', SYSTEMD_EXEC_PID } = environment
    this.#log = log
    this.#native = native
    this.#address = NOTIFY_SOCKET === '' ? null : notifyAddress(NOTIFY_SOCKET)
    if (NOTIFY_SOCKET !== '' && !this.#address)
      log?.warn('NOTIFY_SOCKET is no unix socket: the service manager is told nothing')
    // Who was started by a wrapper is not whom the service manager takes for the main process.
    this.#mainPid = SYSTEMD_EXEC_PID !== undefined && !isMine(SYSTEMD_EXEC_PID, pid) ? pid : undefined
    this.#watchdog = watchdogTime(environment, pid)
    this.#socket = this.#address
      ? Netns.current().open({ domain: AF_UNIX, type: SOCK_DGRAM, protocol: 0 })
      : null
  }

  /** Whether anybody is told. */
  get enabled(): boolean {
    return this.#address !== null
  }

  /** Everything is set up. Begins to tell twice in each time of the watchdog that the event loop turns. */
  async ready(status: string): Promise<void> {
    await this.#notify({
      READY: 1,
      STATUS: status,
      ...(this.#mainPid === undefined ? {} : { MAINPID: this.#mainPid }),
    })
    if (this.#watchdog === null || !this.enabled || this.#beat) return
    const half = Math.min(Math.max(1, Math.floor(this.#watchdog / 2)), MAX_DELAY)
    this.#beat = setInterval(() => void this.#notify({ WATCHDOG: 1 }), half)
    this.#beat.unref()
  }

  /** One line for `systemctl status`. */
  async status(status: string): Promise<void> {
    await this.#notify({ STATUS: status })
  }

  /** The end has begun. The watchdog is still fed. */
  async stopping(status: string): Promise<void> {
    await this.#notify({ STOPPING: 1, STATUS: status })
  }

  /** Says nothing more. Safe to repeat. */
  close(): void {
    clearInterval(this.#beat)
    this.#socket?.close()
  }

  /** Never rejects: a service does its work whether somebody listens or not. */
  async #notify(notification: Notification): Promise<void> {
    if (!this.#address || !this.#socket) return
    const lines = Object.entries(notification).map(
      ([name, value]) => `${name}=${String(value).replace(/[\r\n]+/g, ' ')}\n`,
    )
    const datagram = Buffer.from(lines.join(''))
    try {
      for (let tries = 0; this.#socket.fd >= 0; tries++) {
        if (this.#native.send(this.#socket, datagram, this.#address) >= 0) {
          this.#failed = false
          return
        }
        // There is no news of a receiver's queue having room. What is only a sign of life is not worth waiting for.
        if (notification.WATCHDOG || tries === MAX_TRIES) throw new Error('its queue is full')
        await new Promise((resolve) => setTimeout(resolve, AGAIN))
      }
    } catch (error) {
      if (!this.#failed)
        this.#log?.warn('the service manager could not be told', { error: (error as Error).message })
      this.#failed = true
    }
  }
}
