import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Turnstile } from '../../../daemon/turnstile.ts'

test('a turnstile lets so many through in a turn of the loop, in order of arrival', async () => {
  const turnstile = new Turnstile(2)
  const through: number[] = []
  const pass = async (i: number): Promise<void> => {
    await turnstile.pass()
    through.push(i)
  }
  for (let i = 0; i < 5; i++) void pass(i)
  await Promise.resolve()
  expect(through).toEqual([0, 1])
  for (const expected of [
    [0, 1, 2, 3],
    [0, 1, 2, 3, 4],
  ]) {
    await turn()
    expect(through).toEqual(expected)
  }
  await turn()
  await turnstile.pass()
  const late = pass(9)
  await late
  expect(through.at(-1)).toBe(9)
})
