import type { Seen } from './finding.ts'

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/**
 * Looks at something, for `timeout` milliseconds at most: what does not answer must not keep the rest from being told.
 * The signal is aborted then; who does not heed it works on for nobody.
 */
export const see = async <T>(
  timeout: number,
  look: (signal: AbortSignal) => T | Promise<T>,
): Promise<Seen<T>> => {
  const controller = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const error = new Error(`no answer within ${timeout} ms`)
      controller.abort(error)
      reject(error)
    }, timeout)
  })
  try {
    const looking = (async () => look(controller.signal))()
    return { seen: true, value: await Promise.race([looking, late]) }
  } catch (error) {
    return { seen: false, why: messageOf(error) }
  } finally {
    clearTimeout(timer)
  }
}
