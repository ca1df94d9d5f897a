/** firewalld over D-Bus: sources of zones, in its runtime configuration. (firewalld.dbus(5).) */
import { statSync } from 'node:fs'
import { CniError, codes, invalidConfig } from '../../cni/error.ts'
import { type CallOptions, DBus, DBusError, DBusTimeout, SYSTEM_BUS } from './dbus.ts'
import type { BasicValue } from './dbus-message.ts'

const NAME = 'org.fedoraproject.FirewallD1'
const PATH = '/org/fedoraproject/FirewallD1'

export interface FirewalldOptions {
  /** Ends waiting for answers. */
  readonly signal?: AbortSignal | undefined
  /** While it runs, `signal` is not looked at: an ADD that was given up is taken back through the same connection. */
  readonly undo?: { readonly running: boolean } | undefined
  /** The bus's socket. Default `/run/dbus/system_bus_socket`. */
  readonly socket?: string | undefined
  /** Milliseconds for an answer of the bus. Default 5 000. */
  readonly busDeadline?: number | undefined
  /** Milliseconds for an answer of firewalld, which is busy for seconds when it reloads. Default 20 000. */
  readonly deadline?: number | undefined
}

/** What is wrong, as firewalld puts it: `ZONE_ALREADY_SET: '10.1.2.3/32' already bound to 'trusted'`. */
const reasonOf = (error: unknown): string => {
  if (!(error instanceof DBusError)) return ''
  return /^([A-Z_]+)(?::|$)/.exec(error.message)?.[1] ?? ''
}

const gone = new Set([
  'org.freedesktop.DBus.Error.ServiceUnknown',
  'org.freedesktop.DBus.Error.NameHasNoOwner',
  'org.freedesktop.DBus.Error.NoReply',
])

/** A failure in words of firewalld's users. */
const failure = (what: string, zone: string, error: unknown): unknown => {
  if (error instanceof DBusTimeout)
    return new CniError({
      code: codes.tryAgainLater,
      msg: `firewalld: ${what}: ${error.message}`,
      details: 'look at `firewall-cmd --state` and `systemctl status firewalld`',
      cause: error,
    })
  if (!(error instanceof DBusError)) return error
  if (reasonOf(error) === 'INVALID_ZONE')
    return invalidConfig(
      `firewalld has no zone "${zone}"`,
      'see `firewall-cmd --get-zones`; a zone that is made with --permanent is there after a reload',
    )
  const details =
    reasonOf(error) === 'PANIC_MODE'
      ? 'firewalld is in panic mode: firewall-cmd --panic-off'
      : gone.has(error.errorName)
        ? 'firewalld has stopped meanwhile'
        : undefined
  return new CniError({
    code: codes.internal,
    msg: `firewalld: ${what}: ${error.message}`,
    details,
    cause: error,
  })
}

/** firewalld's runtime configuration. Sources are written as the Go plugin writes them: `10.1.2.3/32`, `fd00::3/128`. */
export class Firewalld {
  readonly #bus: DBus
  readonly #options: FirewalldOptions

  /** @internal */
  constructor(bus: DBus, options: FirewalldOptions) {
    this.#bus = bus
    this.#options = options
  }

  #call(member: string, args: readonly string[]): Promise<BasicValue[]> {
    return this.#bus.call(
      { destination: NAME, path: PATH, interface: `${NAME}.zone`, member, args },
      callOptions(this.#options, this.#options.deadline ?? 20_000),
    )
  }

  /**
   * Makes `source` one of the zone: `firewall-cmd --zone=ZONE --add-source=SOURCE`.
   * @returns false where it was one already
   * @throws CniError code 7 where there is no such zone; 11 where firewalld does not answer; 999 where the source is in
   * another zone, or firewalld refuses
   */
  async addSource(zone: string, source: string): Promise<boolean> {
    try {
      await this.#call('addSource', [zone, source])
      return true
    } catch (error) {
      const reason = reasonOf(error)
      if (reason === 'ZONE_ALREADY_SET' || reason === 'ALREADY_ENABLED') return false
      if (reason !== 'ZONE_CONFLICT') throw failure(`add source ${source} to zone "${zone}"`, zone, error)
      const other = await this.zoneOfSource(source)
      if (other === null) throw failure(`add source ${source} to zone "${zone}"`, zone, error)
      throw new CniError({
        code: codes.internal,
        msg: `firewalld: ${source} is a source of zone "${other}" already, not of "${zone}"`,
        details: `a source is in one zone: firewall-cmd --zone=${other} --remove-source=${source}`,
        cause: error,
      })
    }
  }

  /**
   * Takes `source` out of the zone: `firewall-cmd --zone=ZONE --remove-source=SOURCE`.
   * @returns false where it was none of it, or there is no such zone
   * @throws CniError code 11 where firewalld does not answer; 999 where it refuses
   */
  async removeSource(zone: string, source: string): Promise<boolean> {
    try {
      await this.#call('removeSource', [zone, source])
      return true
    } catch (error) {
      // A conflict: it is in another zone, where somebody else has put it.
      if (['UNKNOWN_SOURCE', 'NOT_ENABLED', 'ZONE_CONFLICT', 'INVALID_ZONE'].includes(reasonOf(error)))
        return false
      throw failure(`remove source ${source} from zone "${zone}"`, zone, error)
    }
  }

  /**
   * Whether `source` is one of the zone: `firewall-cmd --zone=ZONE --query-source=SOURCE`.
   * @throws CniError as {@link addSource}
   */
  async querySource(zone: string, source: string): Promise<boolean> {
    try {
      const [answer] = await this.#call('querySource', [zone, source])
      if (typeof answer !== 'boolean') throw new Error(`firewalld answers querySource with ${typeof answer}`)
      return answer
    } catch (error) {
      throw failure(`query source ${source} of zone "${zone}"`, zone, error)
    }
  }

  /** The zone that `source` is in: `firewall-cmd --get-zone-of-source=SOURCE`; null where it is in none. */
  async zoneOfSource(source: string): Promise<string | null> {
    try {
      const [zone] = await this.#call('getZoneOfSource', [source])
      return typeof zone === 'string' && zone !== '' ? zone : null
    } catch (error) {
      throw failure(`zone of source ${source}`, '', error)
    }
  }

  /** Ends the connection. Safe to repeat. */
  close(): void {
    this.#bus.close()
  }
}

const callOptions = ({ signal, undo }: FirewalldOptions, deadline: number): CallOptions =>
  undo?.running ? { deadline } : { deadline, signal }

const errnoOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''

/**
 * firewalld as it runs; null where there is no system bus, or nobody on it is firewalld. It is never started. The caller
 * closes it.
 * @throws CniError code 11 where the bus does not answer; Error where it cannot be understood, or refuses this process
 */
export const firewalldOf = async (options: FirewalldOptions = {}): Promise<Firewalld | null> => {
  const { socket = SYSTEM_BUS, busDeadline = 5_000 } = options
  // On most nodes there is no bus: looking is quicker than being refused.
  if (!statSync(socket, { throwIfNoEntry: false })) return null
  const calling = callOptions(options, busDeadline)
  let bus: DBus | undefined
  try {
    bus = await DBus.connect(socket, calling)
    const [owned] = await bus.callBus('NameHasOwner', [NAME], calling)
    if (owned === true) return new Firewalld(bus, options)
    bus.close()
    return null
  } catch (error) {
    bus?.close()
    // No bus, or the socket of one that has ended.
    if (!bus && ['ENOENT', 'ENOTDIR', 'ECONNREFUSED'].includes(errnoOf(error))) return null
    if (!(error instanceof DBusTimeout)) throw error
    throw new CniError({
      code: codes.tryAgainLater,
      msg: `the system bus does not answer (${socket}): ${error.message}`,
      details: 'is dbus-daemon or dbus-broker stopped? With backend iptables or nftables none is needed',
      cause: error,
    })
  }
}
