import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises'
import type { Space } from './space.ts'

/**
 * Asks again and again until `check` returns something truthy, without a fixed wait: as fast as the question can be
 * answered. What it throws last is reported when the deadline passes.
 * @param deadline milliseconds. Default 10 000
 */
export const eventually = async <T>(
  what: string,
  check: () => T | Promise<T>,
  deadline = 10_000,
): Promise<NonNullable<T>> => {
  const end = performance.now() + deadline
  let last: unknown
  for (;;) {
    const asked = performance.now()
    try {
      const answer = await check()
      if (answer) return answer
      last = undefined
    } catch (error) {
      last = error
    }
    if (performance.now() > end) throw new Error(`${what}: not so after ${deadline} ms`, { cause: last })
    // A question that is answered at once must not burn a core.
    await (performance.now() - asked > 5 ? turn() : pause(5))
  }
}

interface Address {
  readonly operstate: string
  readonly link_type: string
  readonly flags: readonly string[]
  readonly addr_info: readonly { readonly tentative?: boolean }[]
}

/** Until duplicate address detection is over and every interface that is up has learned its operational state. */
export const settled = (space: Space): Promise<boolean> =>
  eventually('the namespace has settled', async () => {
    const links = await space.ipJson<Address>('addr', 'show')
    return links.every(
      ({ flags, operstate, addr_info }) =>
        !addr_info.some(({ tentative }) => tentative) &&
        // The kernel raises LOWER_UP at once and the operational state a moment later, from a work queue.
        !(flags.includes('UP') && flags.includes('LOWER_UP') && operstate === 'DOWN'),
    )
  })
