import { expect, test } from 'vitest'
import { Phases } from '../../../daemon/phases.ts'

type Step = 'wait' | 'begin' | 'done'

/** What is told when each step takes one more millisecond than the one before. */
const timesOf = (...steps: readonly Step[]) => {
  let now = 0
  const phases = new Phases(() => now)
  for (const [i, step] of steps.entries()) {
    now += i + 1
    phases[step]()
  }
  now += 100
  const times = phases.end()
  expect(times.queued + times.work + times.delivered).toBe(now)
  return times
}

test.each<[string, Step[], { queued: number; work: number; delivered: number }]>([
  ['an operation with its turn', ['wait', 'begin', 'done'], { queued: 3, work: 3, delivered: 100 }],
  ['what needs no turn (VERSION)', ['done'], { queued: 0, work: 1, delivered: 100 }],
  ['what is stopped before its turn', ['wait', 'done'], { queued: 3, work: 0, delivered: 100 }],
  [
    'a second end (after a delivery)',
    ['wait', 'begin', 'done', 'done'],
    { queued: 3, work: 3, delivered: 104 },
  ],
  ['what has no end of its own', ['wait', 'begin'], { queued: 3, work: 100, delivered: 0 }],
  ['what has no end and no turn', [], { queued: 0, work: 100, delivered: 0 }],
])('%s', (_, steps, times) => {
  expect(timesOf(...steps)).toEqual(times)
})
