import { CniError, codes } from '../cni/error.ts'

/** Runs something that SIGINT and SIGTERM stop. */
export const stoppable = async <T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> => {
  const controller = new AbortController()
  const stop = (name: NodeJS.Signals): void =>
    controller.abort(new CniError({ code: codes.internal, msg: `stopped by ${name}` }))
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  try {
    return await work(controller.signal)
  } finally {
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
  }
}
