/** The real dnsmasq as DHCPv4 and DHCPv6 server and as advertising router. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Space } from '../space.ts'
import { eventually } from '../wait.ts'
import { alternating, type Options4, type Range } from './options.ts'
import { Server } from './server.ts'

/** `routers`: its own address by default; an empty list sends none. */
export interface DnsmasqOptions extends Options4 {
  /** First and last address. Default 10.77.0.100 to 10.77.0.199; null: no DHCPv4. */
  readonly range?: Range | null | undefined
  /** Default 255.255.255.0. */
  readonly netmask?: string | undefined
  /** Seconds; 120 is dnsmasq's minimum, and what it takes for less. Default 120. */
  readonly leaseTime?: number | 'infinite' | undefined
  /** Answer a DISCOVER that asks for it with an ACK (RFC 4039). Default false. */
  readonly rapidCommit?: boolean | undefined
  /** Ping an address before it is offered, which takes 3 seconds. Default false. */
  readonly ping?: boolean | undefined
  /** Router advertisements. Default false. */
  readonly ra?: boolean | undefined
  /** Seconds between unsolicited ones, and how long its default route lasts (0: no default router). */
  readonly raInterval?: number | undefined
  readonly raLifetime?: number | undefined
  /** First and last address of stateful DHCPv6; with `ra`, the M and O flags are set. Default null: none. */
  readonly range6?: Range | null | undefined
  /** A prefix to advertise without stateful DHCPv6, e.g. `fd77::`, and dnsmasq's word for how. */
  readonly prefix6?:
    | { readonly prefix: string; readonly mode: 'ra-only' | 'slaac' | 'ra-stateless' }
    | undefined
  /** DHCPv6 option 23 and the RA's RDNSS. */
  readonly dns6?: readonly string[] | undefined
  /** DHCPv6 option 24 and the RA's DNSSL. */
  readonly search6?: readonly string[] | undefined
  /** Whatever else dnsmasq(8) has, e.g. `--dhcp-option-force=43,01:02`. */
  readonly extra?: readonly string[] | undefined
}

/** A line of the lease file. */
export interface DnsmasqLease {
  /** Seconds since 1970; 0: never. */
  readonly expires: number
  readonly mac: string
  readonly address: string
  readonly hostname: string | null
  /** Hex pairs with colons, its type first. */
  readonly clientId: string | null
}

export interface DnsmasqLease6 {
  readonly expires: number
  readonly iaid: number
  readonly address: string
  readonly hostname: string | null
  /** Hex pairs with colons. */
  readonly duid: string
}

/** Milliseconds for a lease file to be written anew. */
const REWRITING = 20

const none = (text: string): string | null => (text === '*' ? null : text)

const option = (name: string | number, values: readonly (string | number)[] | undefined): string[] =>
  values === undefined ? [] : [`--dhcp-option=${[name, ...values].join(',')}`]

const dhcp4 = (options: DnsmasqOptions): string[] => {
  const { range = ['10.77.0.100', '10.77.0.199'], netmask = '255.255.255.0', leaseTime = 120 } = options
  if (range === null) return []
  return [
    `--dhcp-range=${[...range, netmask, leaseTime].join(',')}`,
    ...option(3, options.routers),
    ...option(6, options.dns),
    ...option(15, options.domain === undefined ? undefined : [options.domain]),
    ...option(26, options.mtu === undefined ? undefined : [options.mtu]),
    ...option(33, options.staticRoutes && alternating(options.staticRoutes)),
    ...option(119, options.search),
    ...option(121, options.classlessRoutes && alternating(options.classlessRoutes)),
    ...(options.reservations ?? []).map(({ mac, clientId, address, hostname }) => {
      const who = [...(mac ? [mac] : []), ...(clientId ? [`id:${clientId}`] : [])]
      return `--dhcp-host=${[...who, address, ...(hostname ? [hostname] : [])].join(',')}`
    }),
    ...(options.authoritative ? ['--dhcp-authoritative'] : []),
    ...(options.rapidCommit ? ['--dhcp-rapid-commit'] : []),
    ...(options.ping ? [] : ['--no-ping']),
  ]
}

const dhcp6 = (options: DnsmasqOptions): string[] => {
  const { interface: name = 'lan0', leaseTime = 120, range6, prefix6, raInterval, raLifetime } = options
  return [
    ...(range6 ? [`--dhcp-range=${[...range6, 64, leaseTime].join(',')}`] : []),
    ...(prefix6 ? [`--dhcp-range=${prefix6.prefix},${prefix6.mode},64,${leaseTime}`] : []),
    ...(options.ra ? ['--enable-ra'] : []),
    ...(raInterval === undefined && raLifetime === undefined
      ? []
      : [`--ra-param=${name},${raInterval ?? 600}${raLifetime === undefined ? '' : `,${raLifetime}`}`]),
    ...option(
      'option6:dns-server',
      options.dns6?.map((address) => `[${address}]`),
    ),
    ...option('option6:domain-search', options.search6),
  ]
}

/** A dnsmasq that serves DHCP only. */
export class Dnsmasq extends Server {
  #options: DnsmasqOptions

  /** @internal */
  constructor(space: Space, options: DnsmasqOptions) {
    super(space, 'dnsmasq')
    this.#options = options
  }

  /** Starts it again after `stop()` or `kill()`, with what it leased before. */
  async start(): Promise<void> {
    const { interface: name = 'lan0', extra = [] } = this.#options
    await this.launch({
      file: 'dnsmasq',
      args: [
        ...['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--port=0'],
        // It gives up root for an account that can't write to the test's folder, unless told.
        ...['--user=root', '--group=', '--pid-file=', `--dhcp-leasefile=${this.#file}`],
        ...['--log-facility=-', '--log-dhcp', `--interface=${name}`],
        ...dhcp4(this.#options),
        ...dhcp6(this.#options),
        ...extra,
      ],
      ready: /dnsmasq\[\d+\]: started/,
    })
  }

  /** Ends it and starts it again with what it leased before, and with `changes` to its options. */
  async restart(changes: DnsmasqOptions = {}): Promise<void> {
    await this.stop()
    this.#options = { ...this.#options, ...changes }
    await this.start()
  }

  get #file(): string {
    return join(this.folder, 'leases')
  }

  /** dnsmasq empties the file before it writes it anew: an empty one, or half a line, may be a moment of that. */
  #text(): string {
    for (const end = performance.now() + REWRITING; ; )
      try {
        const text = readFileSync(this.#file, 'utf8')
        if (text.endsWith('\n') || performance.now() > end) return text
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
        return ''
      }
  }

  #lines(): string[][] {
    return this.#text()
      .split('\n')
      .map((line) => line.split(' '))
      .filter((fields) => fields.length >= 5)
  }

  /** The DHCPv4 leases in its file. */
  leases(): DnsmasqLease[] {
    return this.#lines()
      .filter((fields) => !fields[2]!.includes(':'))
      .map(([expires, mac, address, hostname, clientId]) => ({
        expires: Number(expires),
        mac: mac!,
        address: address!,
        hostname: none(hostname!),
        clientId: none(clientId!),
      }))
  }

  /** The DHCPv6 leases in its file. */
  leases6(): DnsmasqLease6[] {
    return this.#lines()
      .filter((fields) => fields[2]!.includes(':'))
      .map(([expires, iaid, address, hostname, duid]) => ({
        expires: Number(expires),
        iaid: Number(iaid),
        address: address!,
        hostname: none(hostname!),
        duid: duid!,
      }))
  }

  /** Waits for a DHCPv4 lease: it is written a moment after the ACK. `deadline` in milliseconds. */
  lease(matches: (lease: DnsmasqLease) => boolean = () => true, deadline?: number): Promise<DnsmasqLease> {
    return eventually('dnsmasq has the lease', () => this.leases().find(matches), deadline)
  }

  /** Waits for a DHCPv6 lease. */
  lease6(matches: (lease: DnsmasqLease6) => boolean = () => true, deadline?: number): Promise<DnsmasqLease6> {
    return eventually('dnsmasq has the lease', () => this.leases6().find(matches), deadline)
  }

  /** Waits until it has no lease at `address`. */
  async released(address: string, deadline?: number): Promise<void> {
    const held = () => [...this.leases(), ...this.leases6()].some((lease) => lease.address === address)
    await eventually(`dnsmasq has let go of ${address}`, () => !held(), deadline)
  }
}

/** Starts dnsmasq in `space`; it serves when this resolves, and is killed at the end of the test. */
export const dnsmasq = async (space: Space, options: DnsmasqOptions = {}): Promise<Dnsmasq> => {
  const server = new Dnsmasq(space, options)
  await server.start()
  return server
}
