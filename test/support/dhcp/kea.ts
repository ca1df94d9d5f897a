/** What Kea's two servers have in common. */
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Space } from '../space.ts'
import { eventually } from '../wait.ts'
import { Server } from './server.ts'

/** A row of a lease file. Kea only ever appends: the last one of an address is what is true. */
export type Row = Readonly<Record<string, string>>

export type LeaseState = 'default' | 'declined' | 'expired-reclaimed'
const states: readonly LeaseState[] = ['default', 'declined', 'expired-reclaimed']
export const stateOf = ({ state }: Row): LeaseState => states[Number(state)] ?? 'default'

export const absent = (text: string | undefined): string | null => (text ? text : null)

/** One of Kea's options: its name and value in Kea's notation, or its code and value in hex. */
export type KeaOption = readonly [name: string | number, value: string | undefined]

/** An `option-data` entry each, without those that have no value. */
export const optionData = (options: readonly KeaOption[], alwaysSend: boolean): object[] =>
  options
    .filter(([, data]) => data !== undefined)
    .map(([name, data]) => ({
      ...(typeof name === 'string' ? { name, data } : { code: name, data, 'csv-format': false }),
      'always-send': alwaysSend,
    }))

/** An option of several values; undefined for none, which sends none. */
export const list = (values: readonly string[] | undefined): string | undefined =>
  values && values.length > 0 ? values.join(', ') : undefined

/** Which of the two. */
export interface KeaKind<O, L> {
  readonly file: 'kea-dhcp4' | 'kea-dhcp6'
  readonly name: 'Dhcp4' | 'Dhcp6'
  /** The server's own part of its configuration. */
  readonly config: (options: O) => object
  readonly lease: (row: Row) => L
}

/** What leases of both have. */
interface Lease {
  readonly address: string
  readonly state: LeaseState
  readonly validLifetime: number
}

/** A Kea server with its configuration, leases and control socket in a temporary folder. */
export abstract class Kea<O extends object, L extends Lease> extends Server {
  readonly #kind: KeaKind<O, L>
  #options: O

  /** @internal */
  constructor(space: Space, kind: KeaKind<O, L>, options: O) {
    super(space, 'kea')
    this.#kind = kind
    this.#options = options
  }

  /** Starts it again after `stop()` or `kill()`, with what it leased before. */
  async start(): Promise<void> {
    const { file, name, config } = this.#kind
    const path = join(this.folder, 'kea.json')
    const common = {
      'lease-database': { type: 'memfile', persist: true, name: this.#leases, 'lfc-interval': 0 },
      'control-socket': { 'socket-type': 'unix', 'socket-name': this.#socket },
      loggers: [
        // Level 50 names each packet, and says why one is refused.
        ['packets', 'DEBUG', 50],
        ['bad-packets', 'DEBUG', 50],
        ['leases', 'DEBUG', 50],
        [null, 'INFO', 0],
      ].map(([part, severity, debuglevel]) => ({
        name: part ? `${file}.${part}` : file,
        output_options: [{ output: 'stdout', pattern: '%p %m\n' }],
        severity,
        debuglevel,
      })),
    }
    writeFileSync(path, JSON.stringify({ [name]: { ...common, ...config(this.#options) } }))
    // What a killed one left would stop this one, should the number belong to another process by now.
    rmSync(join(this.folder, `kea.${file}.pid`), { force: true })
    const program = join(this.folder, file)
    // Debian's AppArmor profile goes by the path, and lets a program at that path read nothing in here.
    copyFileSync(`/usr/sbin/${file}`, program)
    const from = this.log.length
    await this.launch({
      file: program,
      args: ['-c', path],
      env: { KEA_LOCKFILE_DIR: this.folder, KEA_PIDFILE_DIR: this.folder },
      ready: new RegExp(`${name.toUpperCase()}_STARTED`),
    })
    // It starts without a socket too, and then hears nobody.
    const deaf = this.log.lines.slice(from).find((line) => line.includes('DHCPSRV_OPEN_SOCKET_FAIL'))
    if (deaf) throw new Error(deaf)
  }

  /** Ends it and starts it again with what it leased before, and with `changes` to its options. */
  async restart(changes: Partial<O> = {}): Promise<void> {
    await this.stop()
    this.#options = { ...this.#options, ...changes }
    await this.start()
  }

  /** Sends a command to its control socket: `await server.command('dhcp-disable')` makes it deaf. @returns its answer */
  async command(command: string, parameters: object = {}): Promise<{ result: number; text?: string }> {
    const socket = connect(this.#socket)
    socket.end(JSON.stringify({ command, arguments: parameters }))
    return JSON.parse(await text(socket)) as { result: number; text?: string }
  }

  get #leases(): string {
    return join(this.folder, 'leases.csv')
  }

  get #socket(): string {
    return join(this.folder, 'socket')
  }

  /** Every state that a lease was ever in, the oldest first: one each time it was given, renewed or given up. */
  history(address?: string): L[] {
    const [header = '', ...lines] = readFileSync(this.#leases, 'utf8').split('\n')
    const names = header.split(',')
    return lines
      .map((line) => line.split(','))
      .filter((fields) => fields.length === names.length)
      .map((fields) => this.#kind.lease(Object.fromEntries(names.map((name, i) => [name, fields[i]!]))))
      .filter((one) => address === undefined || one.address === address)
  }

  /** The leases that it has, one an address; those that have expired or were declined too. */
  leases(): L[] {
    const last = new Map(this.history().map((one) => [one.address, one]))
    // It deletes a lease by a row with a lifetime of 0.
    return [...last.values()].filter(({ validLifetime }) => validLifetime !== 0)
  }

  /** Waits for a lease that `matches`. `deadline` in milliseconds. */
  lease(matches: (lease: L) => boolean = () => true, deadline?: number): Promise<L> {
    return eventually('Kea has the lease', () => this.leases().find(matches), deadline)
  }

  /** Waits until `address` was released: an expired lease is still one. */
  async released(address: string, deadline?: number): Promise<void> {
    const held = () => this.leases().some((one) => one.address === address && one.state === 'default')
    await eventually(`Kea has let go of ${address}`, () => !held(), deadline)
  }
}
