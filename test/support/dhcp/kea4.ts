/** The real Kea as DHCPv4 server: leases of seconds. */
import type { Space } from '../space.ts'
import { absent, Kea, type LeaseState, list, optionData, type Row, stateOf } from './kea.ts'
import { alternating, classlessHex, type Options4, type Range } from './options.ts'

export interface Kea4Options extends Options4 {
  /** Default 10.77.0.0/24. */
  readonly subnet?: string | undefined
  /** Default one, 10.77.0.100 to 10.77.0.199. */
  readonly pools?: readonly Range[] | undefined
  /** Seconds: option 51. Default 5. */
  readonly leaseTime?: number | undefined
  /** Seconds: options 58 and 59. Default: not sent. */
  readonly renew?: number | undefined
  readonly rebind?: number | undefined
  /** Sends the options also to a client that does not ask for them. Default false. */
  readonly alwaysSend?: boolean | undefined
  /** More members of `Dhcp4`, and of its subnet: whatever else Kea has. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined
  readonly subnetExtra?: Readonly<Record<string, unknown>> | undefined
}

export interface Kea4Lease {
  readonly address: string
  readonly mac: string
  /** Hex pairs with colons, its type first. */
  readonly clientId: string | null
  /** Seconds. */
  readonly validLifetime: number
  /** Seconds since 1970. */
  readonly expires: number
  readonly hostname: string | null
  readonly state: LeaseState
}

const config = (options: Kea4Options): object => {
  const { subnet = '10.77.0.0/24', pools = [['10.77.0.100', '10.77.0.199']], leaseTime = 5 } = options
  return {
    // By raw sockets, the default: a client that has no address yet can be answered by its hardware address.
    'interfaces-config': { interfaces: [options.interface ?? 'lan0'] },
    authoritative: options.authoritative ?? false,
    'valid-lifetime': leaseTime,
    ...(options.renew === undefined ? {} : { 'renew-timer': options.renew }),
    ...(options.rebind === undefined ? {} : { 'rebind-timer': options.rebind }),
    ...options.extra,
    subnet4: [
      {
        id: 1,
        subnet,
        pools: pools.map(([first, last]) => ({ pool: `${first} - ${last}` })),
        'option-data': optionData(
          [
            ['routers', list(options.routers)],
            ['domain-name-servers', list(options.dns)],
            ['domain-name', options.domain],
            ['interface-mtu', options.mtu === undefined ? undefined : `${options.mtu}`],
            ['static-routes', list(options.staticRoutes && alternating(options.staticRoutes))],
            ['domain-search', list(options.search)],
            [121, options.classlessRoutes && classlessHex(options.classlessRoutes)],
          ],
          options.alwaysSend ?? false,
        ),
        reservations: (options.reservations ?? []).map(({ mac, clientId, address, hostname }) => ({
          ...(mac ? { 'hw-address': mac } : {}),
          ...(clientId ? { 'client-id': clientId } : {}),
          'ip-address': address,
          ...(hostname ? { hostname } : {}),
        })),
        ...options.subnetExtra,
      },
    ],
  }
}

const lease = (row: Row): Kea4Lease => ({
  address: row.address!,
  mac: row.hwaddr!,
  clientId: absent(row.client_id),
  validLifetime: Number(row.valid_lifetime),
  expires: Number(row.expire),
  hostname: absent(row.hostname),
  state: stateOf(row),
})

export class Kea4 extends Kea<Kea4Options, Kea4Lease> {
  /** @internal */
  constructor(space: Space, options: Kea4Options) {
    super(space, { file: 'kea-dhcp4', name: 'Dhcp4', config, lease }, options)
  }
}

/** Starts Kea in `space`; it serves when this resolves, and is killed at the end of the test. */
export const kea4 = async (space: Space, options: Kea4Options = {}): Promise<Kea4> => {
  const server = new Kea4(space, options)
  await server.start()
  return server
}
