/** `dhcp daemon`: the lease keeper alone, with the flags of the Go plugin's daemon. */
import { rmSync, writeSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { jsonLogger, writeStderr } from '../daemon/log-writer.ts'
import { DEFAULT_SOCKET } from '../ipam/dhcp/conf.ts'
import { type Daemon, startDaemon } from '../ipam/dhcp/daemon.ts'
import { FlagError, helpOfFlags, parseFlags } from './go-flags.ts'
import { startIsOver, stayLean } from './lean.ts'
import { writePidFile } from './pid-file.ts'
import { packageVersion } from './version.ts'

const flags = {
  pidfile: { kind: 'text', help: 'absolute path of a file that is to hold the process id' },
  hostprefix: {
    kind: 'text',
    help: "where the host's root is seen: put before the socket's path and those of namespaces",
  },
  socketpath: { kind: 'text', help: `where to listen (default ${DEFAULT_SOCKET})` },
  broadcast: { kind: 'boolean', help: 'ask servers to broadcast their answers (default: for ipvlan only)' },
  timeout: {
    kind: 'duration',
    help: 'wait for the first answer before a message is sent again (default 4s)',
  },
  resendmax: { kind: 'duration', help: 'longest time between repetitions (default 64s)' },
  resendtimeout: {
    kind: 'duration',
    help: 'until an ADD without a timeout of its own gives up (default 30s)',
  },
} as const

const usage = `Usage: dhcp daemon [flags]\n\nKeeps the DHCP leases of this node's containers.\n\n${helpOfFlags(flags)}`

/** First descriptor of socket activation: SD_LISTEN_FDS_START, sd_listen_fds(3). */
const FIRST_FD = 3

/** The descriptor that systemd has handed over; undefined where it has not. @throws FlagError for several */
const inherited = (): number | undefined => {
  const { LISTEN_PID, LISTEN_FDS } = process.env
  if (LISTEN_PID !== String(process.pid) || !LISTEN_FDS) return undefined
  if (LISTEN_FDS !== '1')
    throw new FlagError(`socket activation with ${LISTEN_FDS} sockets: there has to be one`)
  return FIRST_FD
}

/** Runs until it is told to stop. @returns the exit status: 0, 1 for a failure, 2 for wrong flags */
export const runDhcpDaemon = async (args: readonly string[]): Promise<number> => {
  const fail = (message: string, status: number): number => {
    writeSync(2, `dhcp daemon: ${message}\n`)
    return status
  }
  if (args.some((arg) => /^--?h(elp)?$/.test(arg))) {
    writeSync(1, usage)
    return 0
  }
  stayLean()
  const log = jsonLogger(writeStderr)
  let daemon: Daemon
  let pidFile = ''
  try {
    const { pidfile, hostprefix, socketpath, broadcast, timeout, resendmax, resendtimeout } = parseFlags(
      flags,
      args,
    )
    if (pidfile && !isAbsolute(pidfile))
      throw new FlagError(`-pidfile: ${JSON.stringify(pidfile)} is no absolute path`)
    for (const [name, value] of Object.entries({ timeout, resendmax, resendtimeout }))
      if (value === 0) throw new FlagError(`-${name}: must be longer than nothing`)
    daemon = await startDaemon({
      socketPath: socketpath || DEFAULT_SOCKET,
      fd: inherited(),
      log,
      software: packageVersion(),
      hostPrefix: hostprefix,
      broadcast,
      firstTimeout: timeout,
      maxTimeout: resendmax,
      deadline: resendtimeout,
    })
    if (pidfile) {
      pidFile = pidfile
      try {
        writePidFile(pidfile)
      } catch (error) {
        await daemon.close()
        throw error
      }
    }
  } catch (error) {
    if (error instanceof FlagError) return fail(`${error.message}\n\n${usage}`, 2)
    return fail((error as Error).message, 1)
  }
  const { leases } = await daemon.keeper.status()
  log.info('DHCP: ready', { pid: process.pid, leases })
  startIsOver()
  const signal = await new Promise<string>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => resolve(name))
  })
  log.info(`DHCP: stopped by ${signal}; the leases stay`)
  await daemon.close()
  if (pidFile) rmSync(pidFile, { force: true })
  return 0
}
