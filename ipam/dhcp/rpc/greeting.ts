/** How a connection begins: HTTP's CONNECT, by its path one protocol or the other, in Go's words. */

export interface Greeting {
  /** What CONNECT names. */
  readonly path: string
  /** Status of who speaks it. */
  readonly status: string
}

/** Go's net/rpc (`rpc.DefaultRPCPath`). */
export const go: Greeting = { path: '/_goRPC_', status: '200 Connected to Go RPC' }

/** Our own; the number counts incompatible changes. */
export const own: Greeting = { path: '/_linkwright_dhcp_', status: '200 Connected to Linkwright DHCP 1' }

/** Where there are too many connections. */
export const BUSY = '503 Too many connections'

/** What the client sends; it waits for the answer before it sends more. */
export const connectLine = ({ path }: Greeting): string => `CONNECT ${path} HTTP/1.0\n\n`

export const statusLine = (status: string): string => `HTTP/1.0 ${status}\n\n`

/** `200 Connected …` of a status line; undefined where it is none. */
export const statusOf = (line: string): string | undefined => /^HTTP\/1\.[01] (\d{3}( .*)?)$/.exec(line)?.[1]
