import { isAbsolute } from 'node:path'
import { CniError } from '../../cni/error.ts'
import { MAX_SOCKET_PATH } from '../../ipam/connect.ts'
import { defineCommand, UsageError } from '../command.ts'

const DEFAULT_SOCKET = '/run/linkwright/linkwright.sock'
const MAX_CONCURRENCY = 1024
const MAX_QUEUE = 100_000

const absolute = (what: string, path: string): string => {
  if (!isAbsolute(path) || path.includes('\0'))
    throw new UsageError(`${what}: ${JSON.stringify(path)} is no absolute path`)
  return path
}

const socketPath = (what: string, path: string): string => {
  if (Buffer.byteLength(absolute(what, path)) > MAX_SOCKET_PATH)
    throw new UsageError(`${what}: a socket's path has at most ${MAX_SOCKET_PATH} bytes`)
  return path
}

const number = (what: string, text: string | undefined, least: number, most: number): number | undefined => {
  if (text === undefined) return undefined
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= least && value <= most))
    throw new UsageError(`${what}: ${JSON.stringify(text)} is no whole number from ${least} to ${most}`)
  return value
}

const metricsAddress = async (text: string | undefined) => {
  if (text === undefined) return undefined
  const { parseMetricsAddress } = await import('../../daemon/metrics-address.ts')
  const address = parseMetricsAddress(text)
  if (typeof address === 'string') throw new UsageError(`--metrics: ${address}`)
  return address
}

const ownSocket = (given: string | undefined): string => {
  if (given !== undefined) return socketPath('--socket', given)
  const { LINKWRIGHT_SOCKET } = process.env
  return LINKWRIGHT_SOCKET ? socketPath('LINKWRIGHT_SOCKET', LINKWRIGHT_SOCKET) : DEFAULT_SOCKET
}

/** Those that say how it runs, and mean nothing to --status. */
const running = [
  'dhcp-socket',
  'no-dhcp',
  'dhcp-broadcast',
  'host-prefix',
  'metrics',
  'concurrency',
  'queue',
  'pidfile',
] as const

export const daemon = defineCommand({
  name: 'daemon',
  summary: 'run the resident daemon that serves the plugins, or ask one how it is',
  positionals: '',
  description: `Serves every plugin to the launchers in the CNI directory, and keeps DHCP leases. Without it the same
launchers do the same work by themselves, at a higher cost. Runs until SIGTERM or SIGINT: what runs then may finish
within 7 seconds, the rest is undone. A second signal does not wait for that.

One line of JSON an operation goes to standard error, with the trace of TRACEPARENT. Under systemd it takes sockets
named linkwright and dhcp, says when it is ready, and feeds the watchdog.`,
  options: {
    socket: {
      type: 'string',
      value: 'PATH',
      help: `where launchers find it (default LINKWRIGHT_SOCKET, or ${DEFAULT_SOCKET})`,
    },
    'dhcp-socket': {
      type: 'string',
      value: 'PATH',
      help: 'where DHCP plugins find it, as daemonSocketPath (default /run/cni/dhcp.sock)',
    },
    'no-dhcp': { type: 'boolean', help: 'keep no leases: another process does, or none is needed' },
    'dhcp-broadcast': { type: 'boolean', help: 'ask DHCP servers to broadcast (default: for ipvlan only)' },
    'host-prefix': {
      type: 'string',
      value: 'PATH',
      help: "where the host's root is seen: put before the DHCP socket and the namespaces of leases",
    },
    metrics: {
      type: 'string',
      value: 'WHERE',
      help: 'serve metrics: unix:/PATH, 127.0.0.1:PORT or [::1]:PORT (default: not at all)',
    },
    concurrency: {
      type: 'string',
      value: 'N',
      help: 'operations at a time, a quarter kept for DEL and STATUS (default 32)',
    },
    queue: {
      type: 'string',
      value: 'N',
      help: 'operations that may wait; beyond it the answer is code 11 (default 1000)',
    },
    pidfile: { type: 'string', value: 'PATH', help: 'file that is to hold the process id' },
    status: { type: 'boolean', help: 'ask the daemon that runs how it is; exit 1 where none answers' },
    json: { type: 'boolean', help: 'with --status: print all of it as JSON' },
  },
  run: async (values, _, { out, err }) => {
    const socket = ownSocket(values.socket)
    if (values.status) {
      const useless = running.find((name) => values[name] !== undefined)
      if (useless !== undefined) throw new UsageError(`--${useless} means nothing with --status`)
      const { askStatus } = await import('../../daemon/client.ts')
      try {
        const status = await askStatus(socket)
        if (values.json) out(`${JSON.stringify(status, null, 2)}\n`)
        else out((await import('../daemon-status.ts')).printStatus(status, socket))
        return 0
      } catch (error) {
        if (!(error instanceof CniError)) throw error
        err(`linkwright daemon: ${error.msg}\n`)
        return 1
      }
    }
    if (values.json) throw new UsageError('--json means something with --status only')
    if (values['no-dhcp'])
      for (const name of ['dhcp-socket', 'dhcp-broadcast', 'host-prefix'] as const)
        if (values[name] !== undefined) throw new UsageError(`--${name} means nothing with --no-dhcp`)
    const { 'dhcp-socket': dhcpSocket, 'host-prefix': hostPrefix, pidfile } = values
    const options = {
      socket,
      dhcp: values['no-dhcp']
        ? null
        : {
            socketPath: dhcpSocket === undefined ? undefined : socketPath('--dhcp-socket', dhcpSocket),
            hostPrefix: hostPrefix === undefined ? undefined : absolute('--host-prefix', hostPrefix),
            broadcast: values['dhcp-broadcast'],
          },
      metrics: await metricsAddress(values.metrics),
      concurrency: number('--concurrency', values.concurrency, 1, MAX_CONCURRENCY),
      queue: number('--queue', values.queue, 0, MAX_QUEUE),
      pidFile: pidfile === undefined ? undefined : absolute('--pidfile', pidfile),
    }
    return await (await import('../daemon-run.ts')).runDaemon(options, err)
  },
})
