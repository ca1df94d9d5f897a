/** `dhcp leases`: what a lease keeper has, and what has happened to its leases. */
import { writeSync } from 'node:fs'
import { DEFAULT_SOCKET } from '../ipam/dhcp/conf.ts'
import type { KeeperStatus, KeptLease } from '../ipam/dhcp/lease-keeper.ts'
import { RemoteKeeper } from '../ipam/dhcp/rpc/remote.ts'
import { FlagError, helpOfFlags, parseFlags } from './go-flags.ts'

const flags = {
  socketpath: { kind: 'text', help: `where the keeper listens (default ${DEFAULT_SOCKET})` },
  json: { kind: 'boolean', help: 'print one JSON object' },
} as const

const usage = `Usage: dhcp leases [flags]\n\nLists the leases that the keeper of this node has.\n\n${helpOfFlags(flags)}`

/** Seconds from now, or never. */
const left = (moment: number | undefined, now: number): string =>
  moment === undefined ? '-' : `${Math.round((moment - now) / 1000)}s`

const table = (leases: readonly KeptLease[], { pid, version, counters }: KeeperStatus): string => {
  const now = Date.now()
  const rows = [
    ['NETWORK', 'CONTAINER', 'INTERFACE', 'ADDRESS', 'STATE', 'SERVER', 'RENEW', 'EXPIRES'],
    ...leases.map((one) => [
      one.network,
      one.containerId.length > 16 ? `${one.containerId.slice(0, 15)}…` : one.containerId,
      one.ifName,
      one.address ?? '-',
      one.state,
      one.server ?? '-',
      left(one.renewAt, now),
      left(one.expiresAt, now),
    ]),
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  )
  const counted = Object.entries(counters).map(([name, count]) => `${name} ${count}`)
  return [
    ...lines,
    '',
    `keeper ${version}, pid ${pid}${counted.length > 0 ? `: ${counted.join(', ')}` : ''}`,
    '',
  ].join('\n')
}

/** @returns the exit status: 0, 1 where no keeper answers, 2 for wrong flags */
export const runDhcpLeases = async (args: readonly string[]): Promise<number> => {
  if (args.some((arg) => /^--?h(elp)?$/.test(arg))) {
    writeSync(1, usage)
    return 0
  }
  try {
    const { socketpath, json } = parseFlags(flags, args)
    const keeper = new RemoteKeeper(socketpath || DEFAULT_SOCKET)
    const status = await keeper.status()
    const leases = await keeper.list()
    writeSync(1, json ? `${JSON.stringify({ ...status, leases })}\n` : table(leases, status))
    return 0
  } catch (error) {
    writeSync(2, `dhcp leases: ${(error as Error).message}\n`)
    if (!(error instanceof FlagError)) return 1
    writeSync(2, `\n${usage}`)
    return 2
  }
}
