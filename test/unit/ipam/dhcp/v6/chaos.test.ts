import fc from 'fast-check'
import { expect, test } from 'vitest'
import { anyStory, play } from './chaos.ts'

test('whatever servers, the link and callers do, a client knows what it has', async () => {
  const seen = new Set<string>()
  await fc.assert(
    fc.asyncProperty(anyStory(60), async (story) => {
      const { states } = await play(story)
      for (let i = 1; i < states.length; i++) seen.add(`${states[i - 1]} ${states[i]}`)
    }),
    { numRuns: 150 },
  )
  // The stories are about something: most of what a client does is in them.
  expect(seen.size).toBeGreaterThan(25)
}, 30_000)
