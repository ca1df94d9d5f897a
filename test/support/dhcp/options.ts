/** What every DHCPv4 server here can be told; RFC 2132 unless it says otherwise. */
export interface Options4 {
  /** Default `lan0`, that of a segment. */
  readonly interface?: string | undefined
  /** Option 3, Router. */
  readonly routers?: readonly string[] | undefined
  /** Option 6, Domain Name Server. */
  readonly dns?: readonly string[] | undefined
  /** Option 15, Domain Name. */
  readonly domain?: string | undefined
  /** Option 26, Interface MTU. */
  readonly mtu?: number | undefined
  /** Option 33, Static Route: to hosts. */
  readonly staticRoutes?: readonly Route[] | undefined
  /** Option 119, Domain Search; RFC 3397. */
  readonly search?: readonly string[] | undefined
  /** Option 121, Classless Static Route; RFC 3442. */
  readonly classlessRoutes?: readonly Route[] | undefined
  readonly reservations?: readonly Reservation[] | undefined
  /** NAK to a client that asks for what the server knows nothing of. Default false. */
  readonly authoritative?: boolean | undefined
}

export interface Route {
  /** E.g. `192.168.0.0/16`; without a length in option 33. */
  readonly to: string
  readonly via: string
}

/** An address that is kept for one client, known by its hardware address or by its identifier. */
export interface Reservation {
  readonly mac?: string | undefined
  /** Hex pairs with colons, the type first. */
  readonly clientId?: string | undefined
  readonly address: string
  readonly hostname?: string | undefined
}

/** First and last address. */
export type Range = readonly [first: string, last: string]

/** A list of values as one flat list of `to` and `via`. */
export const alternating = (routes: readonly Route[]): string[] => routes.flatMap(({ to, via }) => [to, via])

/** Option 121 as hex digits: the width of the mask, the octets of the network that it covers, the router. */
export const classlessHex = (routes: readonly Route[]): string => {
  const octets = (address: string): number[] => address.split('.').map(Number)
  const bytes = routes.flatMap(({ to, via }) => {
    const [network, width] = to.split('/')
    return [Number(width), ...octets(network!).slice(0, Math.ceil(Number(width) / 8)), ...octets(via)]
  })
  return Buffer.from(bytes).toString('hex')
}
