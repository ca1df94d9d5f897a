/** The real Kea as DHCPv6 server: leases of seconds, rapid commit. */
import type { Space } from '../space.ts'
import { absent, Kea, type LeaseState, list, optionData, type Row, stateOf } from './kea.ts'
import type { Range } from './options.ts'

export interface Kea6Options {
  /** Default `lan0`, that of a segment. */
  readonly interface?: string | undefined
  /** Default fd77::/64. */
  readonly subnet?: string | undefined
  /** Default one, fd77::100 to fd77::1ff. */
  readonly pools?: readonly Range[] | undefined
  /** Seconds. Default 5, and as much for `preferredLifetime`. */
  readonly validLifetime?: number | undefined
  readonly preferredLifetime?: number | undefined
  /** Seconds: T1 and T2. Default: Kea's, 0.5 and 0.8 of the preferred lifetime. */
  readonly renew?: number | undefined
  readonly rebind?: number | undefined
  /** Default false. */
  readonly rapidCommit?: boolean | undefined
  /** Option 23; RFC 3646. */
  readonly dns?: readonly string[] | undefined
  /** Option 24; RFC 3646. */
  readonly search?: readonly string[] | undefined
  /** Addresses kept for clients, by DUID (hex pairs with colons). */
  readonly reservations?: readonly { readonly duid: string; readonly address: string }[] | undefined
  /** Option 7, 0 to 255; RFC 8415 21.8. Default: not sent. */
  readonly preference?: number | undefined
  /** Sends the options also to a client that does not ask for them. Default false. */
  readonly alwaysSend?: boolean | undefined
  /** More members of `Dhcp6`, and of its subnet: whatever else Kea has. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined
  readonly subnetExtra?: Readonly<Record<string, unknown>> | undefined
}

export interface Kea6Lease {
  readonly address: string
  /** Hex pairs with colons. */
  readonly duid: string
  readonly iaid: number
  /** Seconds. */
  readonly validLifetime: number
  readonly preferredLifetime: number
  /** Seconds since 1970. */
  readonly expires: number
  readonly hostname: string | null
  readonly state: LeaseState
}

const config = (options: Kea6Options): object => {
  const { interface: name = 'lan0', validLifetime = 5, subnet = 'fd77::/64' } = options
  const { pools = [['fd77::100', 'fd77::1ff']], preferredLifetime = validLifetime } = options
  return {
    'interfaces-config': { interfaces: [name] },
    // Made from the hardware address each time: nothing is written to the machine's own /var/lib/kea.
    'server-id': { type: 'LL', persist: false },
    'valid-lifetime': validLifetime,
    'preferred-lifetime': preferredLifetime,
    ...(options.renew === undefined ? {} : { 'renew-timer': options.renew }),
    ...(options.rebind === undefined ? {} : { 'rebind-timer': options.rebind }),
    ...options.extra,
    subnet6: [
      {
        id: 1,
        subnet,
        interface: name,
        'rapid-commit': options.rapidCommit ?? false,
        pools: pools.map(([first, last]) => ({ pool: `${first} - ${last}` })),
        'option-data': optionData(
          [
            ['dns-servers', list(options.dns)],
            ['domain-search', list(options.search)],
            ['preference', options.preference === undefined ? undefined : `${options.preference}`],
          ],
          options.alwaysSend ?? false,
        ),
        reservations: (options.reservations ?? []).map(({ duid, address }) => ({
          duid,
          'ip-addresses': [address],
        })),
        ...options.subnetExtra,
      },
    ],
  }
}

const lease = (row: Row): Kea6Lease => ({
  address: row.address!,
  duid: row.duid!,
  iaid: Number(row.iaid),
  validLifetime: Number(row.valid_lifetime),
  preferredLifetime: Number(row.pref_lifetime),
  expires: Number(row.expire),
  hostname: absent(row.hostname),
  state: stateOf(row),
})

export class Kea6 extends Kea<Kea6Options, Kea6Lease> {
  /** @internal */
  constructor(space: Space, options: Kea6Options) {
    super(space, { file: 'kea-dhcp6', name: 'Dhcp6', config, lease }, options)
  }
}

/** Starts Kea in `space`; it serves when this resolves, and is killed at the end of the test. */
export const kea6 = async (space: Space, options: Kea6Options = {}): Promise<Kea6> => {
  const server = new Kea6(space, options)
  await server.start()
  return server
}
