/** What a running daemon says of itself: the answer to a STATUS request. */
import type { Metrics, OperationCount, Refusal } from './metrics.ts'
import { openDescriptors, residentBytes } from './process-facts.ts'

/** Numbers that a daemon does not have (leases, where it keeps none) are null. */
export interface DaemonStatus {
  /** The package's. */
  readonly version: string
  /** The runtime's. */
  readonly node: string
  readonly pid: number
  /** Seconds. */
  readonly uptime: number
  /** Operations at work. */
  readonly running: number | null
  /** Operations that wait. */
  readonly queued: number | null
  /** Callers that are connected, whoever asks for the status included. */
  readonly connections: number | null
  /** DHCP leases that are kept. */
  readonly leases: number | null
  /** Operations that are over. */
  readonly operations: readonly OperationCount[]
  /** Connections that were not served. */
  readonly refused: Readonly<Record<Refusal, number>>
  /** Bytes. */
  readonly memory: { readonly resident: number; readonly heap: number }
  readonly descriptors: number
}

/** The answer, to be printed as JSON. */
export const statusOf = async (metrics: Metrics, version: string): Promise<DaemonStatus> => {
  const names = ['running', 'queued', 'connections', 'leases'] as const
  const [running = null, queued = null, connections = null, leases = null] = await Promise.all(
    names.map((name) => metrics.read(name)),
  )
  return {
    version,
    node: process.version,
    pid: process.pid,
    uptime: Math.round(metrics.uptime * 1000) / 1000,
    running,
    queued,
    connections,
    leases,
    operations: metrics.operations(),
    refused: metrics.refusals(),
    memory: { resident: residentBytes(), heap: process.memoryUsage().heapUsed },
    descriptors: openDescriptors(),
  }
}
