/** Connecting to whoever keeps the leases, and finding out what it speaks. */
import type { Socket } from 'node:net'
import { getSystemErrorMap } from 'node:util'
import { CniError, codes } from '../../../cni/error.ts'
import { connectTo, isSocketPath } from '../../connect.ts'
import { stopped } from '../../lock.ts'
import { KeeperUnreachable } from './errors.ts'
import { BUSY, connectLine, type Greeting, go, own, statusOf } from './greeting.ts'
import { ConnectionLost, Incoming, ProtocolError } from './incoming.ts'

/** A connection that is greeted. */
export interface Peer {
  readonly stream: Socket
  readonly incoming: Incoming
  readonly speaks: 'own' | 'go'
}

export interface DialOptions {
  /** Milliseconds for all of it. */
  readonly timeout: number
  readonly signal?: AbortSignal | undefined
}

/** Milliseconds between attempts while too many wait to be accepted. */
const AGAIN = 20

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds))

const unreachable = (path: string, error: unknown): KeeperUnreachable => {
  const { errno, code = 'EPROTO', message } = error as NodeJS.ErrnoException
  const words = (errno !== undefined && getSystemErrorMap().get(errno)?.[1]) || message
  return new KeeperUnreachable(path, code, `connect: ${words}`, error)
}

const connectPatiently = async (path: string, abort: AbortSignal): Promise<Socket> => {
  for (;;)
    try {
      return await connectTo(path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || abort.aborted) throw unreachable(path, error)
      await pause(AGAIN)
    }
}

/** Connects and says what shall be spoken. @returns with the status that came back */
const greet = async (path: string, greeting: Greeting, abort: AbortSignal) => {
  const stream = await connectPatiently(path, abort)
  const stop = () => stream.destroy()
  const incoming = new Incoming(stream)
  try {
    abort.addEventListener('abort', stop)
    if (abort.aborted) stop()
    stream.write(connectLine(greeting))
    const line = await incoming.head()
    if (line === undefined) throw new ConnectionLost()
    return { stream, incoming, status: statusOf(line) ?? line }
  } catch (error) {
    stream.destroy()
    if (error instanceof ConnectionLost)
      throw new KeeperUnreachable(
        path,
        'ECONNRESET',
        'the connection was closed before it was greeted',
        error,
      )
    if (error instanceof ProtocolError) throw new KeeperUnreachable(path, 'EPROTO', error.message, error)
    throw error
  } finally {
    abort.removeEventListener('abort', stop)
  }
}

const tryBoth = async (path: string, abort: AbortSignal): Promise<Peer> => {
  const first = await greet(path, own, abort)
  if (first.status === own.status) return { ...first, speaks: 'own' }
  first.stream.destroy()
  if (first.status === BUSY)
    throw new CniError({
      code: codes.tryAgainLater,
      msg: `error dialing DHCP daemon: ${path}: ${BUSY.slice(4).toLowerCase()}`,
    })
  const second = await greet(path, go, abort)
  if (second.status === go.status) return { ...second, speaks: 'go' }
  second.stream.destroy()
  const said = JSON.stringify(second.status.slice(0, 80))
  throw new KeeperUnreachable(path, 'EPROTO', `unexpected HTTP response: ${said}`)
}

/**
 * Connects, and asks for our own protocol first. Who does not know it is asked for Go's.
 * @throws KeeperUnreachable
 * @throws CniError code 11 where the keeper has too many connections; what the signal was aborted with
 */
export const dial = async (path: string, { timeout, signal }: DialOptions): Promise<Peer> => {
  if (!isSocketPath(path)) throw new KeeperUnreachable(path, 'ENAMETOOLONG', 'that is no path of a socket')
  if (signal?.aborted) throw stopped(signal)
  const controller = new AbortController()
  const stop = () => controller.abort()
  const timer = setTimeout(stop, timeout)
  signal?.addEventListener('abort', stop)
  try {
    return await tryBoth(path, controller.signal)
  } catch (error) {
    if (signal?.aborted) throw stopped(signal)
    if (controller.signal.aborted)
      throw new KeeperUnreachable(path, 'ETIMEDOUT', `no answer within ${timeout} ms`, error)
    throw error
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', stop)
  }
}
