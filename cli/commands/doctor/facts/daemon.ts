import { type Stats, statSync } from 'node:fs'
import type { Seen } from '../finding.ts'
import { see } from '../see.ts'

/** What a daemon says of itself, as far as it is looked at. */
export interface DaemonAnswer {
  readonly version: string
  readonly pid: number
  /** Seconds. */
  readonly uptime: number
  /** Operations at work, and those that wait. */
  readonly running: number | null
  readonly queued: number | null
}

/** Asks the daemon of a socket. @throws Error where none answers */
export type AskDaemon = (socket: string) => Promise<DaemonAnswer>

export interface DaemonFacts {
  readonly socket: string
  /** `none`: nothing is there. */
  readonly file: 'none' | 'socket' | 'other'
  /** Bits of the mode, and the owner; null where there is none. */
  readonly access: { readonly mode: number; readonly uid: number } | null
  /** Null where there is nobody to ask. */
  readonly answer: Seen<DaemonAnswer> | null
}

const kindOf = (stats: Stats): 'socket' | 'other' => (stats.isSocket() ? 'socket' : 'other')

/** Looks at the daemon's socket, and asks who listens there. */
export const lookAtDaemon = async (socket: string, timeout: number, ask: AskDaemon): Promise<DaemonFacts> => {
  const stats = statSync(socket, { throwIfNoEntry: false })
  if (!stats) return { socket, file: 'none', access: null, answer: null }
  const file = kindOf(stats)
  const access = { mode: stats.mode & 0o777, uid: stats.uid }
  const answer = file === 'socket' ? await see(timeout, () => ask(socket)) : null
  return { socket, file, access, answer }
}
