/** Joins equality comparisons of neighbouring header bytes, where nft does. */
import type { PayloadStep, Step } from './context.ts'

/** What one register holds. */
const REGISTER_SIZE = 16
/** Up to this many bytes of network and transport headers are compared on a fast path of the kernel. */
const FAST_SIZE = 4

const canJoin = (low: PayloadStep, high: PayloadStep): boolean => {
  const total = low.value.length + high.value.length
  if (low.base !== high.base || low.offset + low.value.length !== high.offset || total > REGISTER_SIZE)
    return false
  // The Ethernet header has no fast path, so one comparison is always better there.
  if (total <= FAST_SIZE || low.base === 'link') return true
  return low.value.length > FAST_SIZE || high.value.length > FAST_SIZE
}

const bases = { link: 0, network: 1, transport: 2 } as const

const joinRun = (run: readonly Step[]): Step[] => {
  const result: (Step | undefined)[] = [...run]
  const sorted = run
    .map((step, at) => ({ step, at }))
    .filter((entry): entry is { step: PayloadStep; at: number } => entry.step.kind === 'payload')
    .sort((a, b) => bases[a.step.base] - bases[b.step.base] || a.step.offset - b.step.offset)
  let last = sorted[0]
  for (const entry of sorted.slice(1)) {
    if (!last || !canJoin(last.step, entry.step)) {
      last = entry
      continue
    }
    const value = new Uint8Array(last.step.value.length + entry.step.value.length)
    value.set(last.step.value)
    value.set(entry.step.value, last.step.value.length)
    const joined = { ...last.step, value, key: entry.step.key }
    // Normally at the place of the lower one; but what later matches rely on stays where it is.
    const at: number = entry.step.key ? entry.at : last.at
    result[last.at] = undefined
    result[entry.at] = undefined
    result[at] = joined
    last = { step: joined, at }
  }
  return result.filter((step): step is Step => step !== undefined)
}

/** The steps, with neighbouring comparisons joined; never across a statement. */
export const joinPayloads = (steps: readonly Step[]): Step[] => {
  const result: Step[] = []
  let run: Step[] = []
  const flush = () => {
    result.push(...(run.length > 1 ? joinRun(run) : run))
    run = []
  }
  for (const step of steps) {
    if (step.kind !== 'statement') {
      run.push(step)
      continue
    }
    flush()
    result.push(step)
  }
  flush()
  return result
}
