/** Where metrics are served, as an operator writes it. */

import { isIP } from 'node:net'
import { isAbsolute } from 'node:path'
import { MAX_SOCKET_PATH } from '../ipam/connect.ts'

/** A unix socket, or an address and port of TCP. */
export type MetricsAddress =
  | { readonly path: string }
  | {
      readonly host: string
      /** 0: any that is free. */
      readonly port: number
    }

/**
 * `unix:/run/linkwright/metrics.sock`, `127.0.0.1:9123` or `[::1]:9123`. No names of hosts: what listens must not depend
 * on who answers for a name.
 * @returns what is wrong with it in words, where something is
 */
export const parseMetricsAddress = (text: string): MetricsAddress | string => {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length)
    if (!isAbsolute(path) || path.includes('\0')) return `${JSON.stringify(path)} is no absolute path`
    if (path.endsWith('/')) return `${path} is a directory`
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH)
      return `a socket's path has at most ${MAX_SOCKET_PATH} bytes`
    return { path }
  }
  const [, six, four, digits] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? []
  const host = six ?? four
  if (host === undefined || digits === undefined)
    return `${JSON.stringify(text)} is none of unix:PATH, IPV4:PORT and [IPV6]:PORT`
  if (isIP(host) !== (six === undefined ? 4 : 6))
    return `${JSON.stringify(host)} is no IPv${six === undefined ? 4 : 6} address`
  const port = Number(digits)
  return port > 65535 ? `${port} is no port` : { host, port }
}

/** As it was written. */
export const printMetricsAddress = (address: MetricsAddress): string => {
  if ('path' in address) return `unix:${address.path}`
  const { host, port } = address
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
