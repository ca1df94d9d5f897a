/** Asks a running daemon how it is. */
import { CniError, codes } from '../cni/error.ts'
import {
  Assembly,
  decodeAnswer,
  decodeWelcome,
  encodeGreeting,
  encodeRequest,
  GREETING,
  NOT_NOW,
  ProtocolError,
  VERSION,
} from './protocol.ts'
import type { DaemonStatus } from './status.ts'

/** Bytes of a status at most. */
const MAX_STATUS = 1 << 20

export interface AskOptions {
  /** Milliseconds for everything. Default 5000. */
  readonly timeout?: number | undefined
}

const failed = (path: string, why: string, cause?: unknown): CniError =>
  new CniError({ code: codes.tryAgainLater, msg: `no answer from the daemon at ${path}: ${why}`, cause })

/** What connect(2) means here. */
const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket',
  ECONNREFUSED: 'nobody listens on it',
  EACCES: 'only root may connect',
  EPERM: 'only root may connect',
  EAGAIN: 'too many wait for it',
  ENOTSOCK: 'it is no socket',
  EPROTOTYPE: 'it is a socket of another kind',
}

const isStatus = (value: unknown): value is DaemonStatus => {
  if (typeof value !== 'object' || value === null) return false
  const { version, pid, uptime, operations, refused, memory } = value as Partial<
    Record<keyof DaemonStatus, unknown>
  >
  return (
    typeof version === 'string' &&
    typeof pid === 'number' &&
    typeof uptime === 'number' &&
    Array.isArray(operations) &&
    typeof refused === 'object' &&
    refused !== null &&
    typeof memory === 'object' &&
    memory !== null
  )
}

/** What a daemon says, piece by piece. @throws ProtocolError; Error for a daemon that has nothing to say */
class Conversation {
  readonly #assembly = new Assembly()
  #welcomed = false

  /** @returns what is to be sent, or the status; null: not all of it is there yet */
  push(chunk: Uint8Array): { readonly send: Uint8Array } | { readonly status: DaemonStatus } | null {
    this.#assembly.push(chunk)
    if (!this.#welcomed) {
      const bytes = this.#assembly.take(GREETING)
      if (!bytes) return null
      const { version, flags } = decodeWelcome(bytes)
      if (version !== VERSION) throw new Error('it speaks another version of the protocol')
      if (flags & NOT_NOW) throw new Error('it is stopping, or has too many callers')
      this.#welcomed = true
      return { send: encodeRequest({ kind: 'status' }) }
    }
    const body = this.#assembly.frame(MAX_STATUS)
    if (!body) return null
    const { status, stdout } = decodeAnswer(body)
    const parsed: unknown = status === 0 ? JSON.parse(stdout) : undefined
    if (!isStatus(parsed)) throw new ProtocolError('that is no status')
    return { status: parsed }
  }
}

/**
 * The status of the daemon that listens on a socket.
 * @throws CniError code 11 where none answers, with why
 */
export const askStatus = async (path: string, { timeout = 5000 }: AskOptions = {}): Promise<DaemonStatus> => {
  const { connect } = await import('node:net')
  return new Promise<DaemonStatus>((resolve, reject) => {
    const conversation = new Conversation()
    const socket = connect(path)
    const timer = setTimeout(() => give(`nothing within ${timeout} ms`), timeout)
    const end = (): void => {
      clearTimeout(timer)
      socket.destroy()
    }
    const give = (why: string, cause?: unknown): void => {
      end()
      reject(failed(path, why, cause))
    }
    socket.on('error', (error: NodeJS.ErrnoException) =>
      give(reasons[error.code ?? ''] ?? error.message, error),
    )
    socket.on('close', () => give('it has closed the connection'))
    socket.once('connect', () => socket.write(encodeGreeting()))
    socket.on('data', (chunk: Buffer) => {
      try {
        const next = conversation.push(chunk)
        if (!next) return
        if ('send' in next) {
          socket.write(next.send)
          return
        }
        end()
        resolve(next.status)
      } catch (error) {
        give((error as Error).message, error)
      }
    })
  })
}
