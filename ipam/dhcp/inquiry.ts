/** Asking a link whether somebody has an address: a question, twice, and some time for an answer. */
import type { PacketSocket } from './socket.ts'
import type { Timebase } from './timebase.ts'

/**
 * RFC 5227 and RFC 4862 wait for seconds, because their links may be slow to come up. This one is up, and a pod is
 * waiting.
 */
const QUESTIONS = 2
/** Milliseconds. */
const BETWEEN = 100

export interface Inquiry {
  readonly time: Timebase
  readonly signal: AbortSignal
  /** Opens the socket; what it gets is put to `answer`, which tells that the address is taken. @throws SocketError */
  open(answer: () => void): PacketSocket
  /** @throws SocketError */
  ask(socket: PacketSocket): void
}

/** @throws SocketError; the signal's reason */
export const inquire = async ({ time, signal, open, ask }: Inquiry): Promise<boolean> => {
  signal.throwIfAborted()
  return await new Promise<boolean>((resolve, reject) => {
    let timer: { cancel(): void } | undefined
    const end = (settle: () => void): void => {
      timer?.cancel()
      signal.removeEventListener('abort', abort)
      socket.close()
      settle()
    }
    const abort = (): void => end(() => reject(signal.reason))
    const socket = open(() => end(() => resolve(true)))
    signal.addEventListener('abort', abort, { once: true })
    const next = (left: number): void => {
      if (left === 0) {
        end(() => resolve(false))
        return
      }
      try {
        ask(socket)
      } catch (error) {
        end(() => reject(error))
        return
      }
      timer = time.after(BETWEEN, () => next(left - 1))
    }
    next(QUESTIONS)
  })
}
