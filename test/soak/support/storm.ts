import { setTimeout as pause } from 'node:timers/promises'

/** Goes on until `isOver`, which it has to ask often. */
export type Weather = (isOver: () => boolean) => Promise<void>

/**
 * All of it at the same time, for a while; less where one fails.
 * @param time milliseconds
 * @throws what one of them has thrown, when all are over
 */
export const storm = async (time: number, all: readonly Weather[]): Promise<void> => {
  const end = performance.now() + time
  let failed = false
  const isOver = () => failed || performance.now() > end
  const settled = await Promise.allSettled(
    all.map(async (weather) => {
      try {
        await weather(isOver)
      } catch (error) {
        failed = true
        throw error
      }
    }),
  )
  for (const one of settled) if (one.status === 'rejected') throw one.reason
}

/** Waits, unless it is over before. @param time milliseconds */
export const unless = async (isOver: () => boolean, time: number): Promise<void> => {
  const end = performance.now() + time
  while (!isOver() && performance.now() < end) await pause(100)
}
