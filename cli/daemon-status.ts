/** How a running daemon is, for people. */
import type { DaemonStatus } from '../daemon/status.ts'

const mebibytes = (bytes: number): string => `${(bytes / 1048576).toFixed(1)} MiB`

const durationOf = (seconds: number): string => {
  const whole = Math.floor(seconds)
  const parts = [
    [Math.floor(whole / 86400), 'd'],
    [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'min'],
    [whole % 60, 's'],
  ] as const
  const first = parts.findIndex(([value]) => value > 0)
  if (first < 0) return '0 s'
  return parts
    .slice(first, first + 2)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(' ')
}

const columns = (rows: readonly (readonly string[])[]): string[] => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  )
}

/** Some lines: what it is, what it does, and what it has done by plugin, verb and code. */
export const printStatus = (status: DaemonStatus, socket: string): string => {
  const { version, node, pid, uptime, running, queued, connections, leases, operations, refused } = status
  const { memory, descriptors } = status
  const refusals = Object.entries(refused).filter(([, count]) => count > 0)
  const facts = [
    ['socket', socket],
    ['operations', `${running} running, ${queued} waiting, ${connections} connections`],
    ['leases', leases === null ? 'not kept here' : `${leases}`],
    ['memory', `${mebibytes(memory.resident)} resident, ${mebibytes(memory.heap)} heap`],
    ['descriptors', `${descriptors} open`],
    ...(refusals.length > 0
      ? [['refused', refusals.map(([reason, count]) => `${reason} ${count}`).join(', ')]]
      : []),
  ]
  const done = operations.map(({ plugin, verb, code, count }) => [plugin, verb, code, `${count}`])
  return [
    `linkwright ${version} (Node ${node}), pid ${pid}, up ${durationOf(uptime)}`,
    ...columns(facts),
    '',
    ...(done.length > 0 ? columns([['PLUGIN', 'VERB', 'CODE', 'COUNT'], ...done]) : ['no operations yet']),
    '',
  ].join('\n')
}
