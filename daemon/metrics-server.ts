/** Serves metrics over HTTP: GET /metrics and nothing else. Loaded only when asked for. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { CniError, codes } from '../cni/error.ts'
import type { Logger } from '../cni/plugin.ts'
import { listenOnPath } from '../ipam/dhcp/rpc/unix-socket.ts'
import { type MetricsAddress, printMetricsAddress } from './metrics-address.ts'
import type { MetricsText } from './metrics-registry.ts'

/** For root and its group, as a scraper's. What is counted is no secret. */
const MODE = 0o660
/** Milliseconds for a request to be complete, and for a peer to take something of the answer. */
const PATIENCE = 5000
/** Bytes of a request's head. */
const MAX_HEAD = 8192
const MAX_CONNECTIONS = 16
/** Requests on one connection. */
const MAX_REQUESTS = 1000

export interface MetricsServer {
  /** Where it listens: as it was asked for, with the port that was found free. */
  readonly address: string
  /** Ends it and its connections. Safe to repeat. Never rejects. */
  close(): Promise<void>
}

const answer = (
  response: ServerResponse,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void => {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    ...headers,
  })
  response.end(body)
}

const respond = async (
  { method, url, headers }: IncomingMessage,
  response: ServerResponse,
  { text, contentType }: MetricsText,
): Promise<void> => {
  const hasBody = headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined
  // Nobody reads it.
  if (hasBody) response.setHeader('connection', 'close')
  if (url?.split('?', 1)[0] !== '/metrics') return answer(response, 404, 'there is only /metrics\n')
  if (method !== 'GET') return answer(response, 405, 'there is only GET\n', { allow: 'GET' })
  if (hasBody) return answer(response, 413, 'a request has no body here\n')
  answer(response, 200, await text(), { 'content-type': contentType, 'cache-control': 'no-store' })
}

const fail = (error: unknown, where: string): CniError =>
  error instanceof CniError
    ? error
    : new CniError({
        code: codes.io,
        msg: `metrics: listen ${where}: ${(error as Error).message}`,
        cause: error,
      })

/**
 * Serves `metrics` at an address. A socket's path is taken as the daemon's own: its directory is made (0700), a stale
 * socket replaced, a live one left alone.
 * @throws CniError code 5 where it can't listen there
 */
export const serveMetrics = async (
  metrics: MetricsText,
  where: MetricsAddress,
  log?: Logger,
): Promise<MetricsServer> => {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEAD,
      headersTimeout: PATIENCE,
      requestTimeout: PATIENCE,
      keepAliveTimeout: PATIENCE,
      connectionsCheckingInterval: PATIENCE,
    },
    (request, response) => {
      request.on('error', () => {})
      respond(request, response, metrics).catch((error: Error) => {
        log?.error('metrics could not be collected', { error: error.message })
        if (!response.headersSent) answer(response, 500, 'metrics could not be collected\n')
        else response.destroy()
      })
    },
  )
  server.maxConnections = MAX_CONNECTIONS
  server.maxRequestsPerSocket = MAX_REQUESTS
  server.setTimeout(PATIENCE, (socket) => socket.destroy())
  const asked = printMetricsAddress(where)
  let remove = async (): Promise<void> => {}
  try {
    if ('path' in where) {
      const taken = await listenOnPath(server, where.path, MODE)
      remove = () => taken.remove()
    } else
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen({ host: where.host, port: where.port, exclusive: true }, () => {
          server.off('error', reject)
          resolve()
        })
      })
  } catch (error) {
    throw fail(error, asked)
  }
  server.on('error', (error) =>
    log?.warn('metrics: a connection could not be accepted', { error: error.message }),
  )
  const stop = async (): Promise<void> => {
    await remove().catch((error: Error) =>
      log?.warn('metrics: the socket could not be removed', { error: error.message }),
    )
    await new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
    metrics.close()
  }
  let stopping: Promise<void> | undefined
  const address =
    'path' in where
      ? asked
      : printMetricsAddress({ host: where.host, port: (server.address() as AddressInfo).port })
  return {
    address,
    close() {
      stopping ??= stop()
      return stopping
    },
  }
}
