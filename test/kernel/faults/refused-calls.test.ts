import { test } from 'vitest'
import { patient } from './executed.ts'
import { refuseAdd } from './rounds.ts'

test('an ADD with a call that fails is undone', { timeout: 300_000 }, async () => {
  const it = await patient()
  await refuseAdd(it, { state: () => it.stateBesideBridge(), moreThan: 80 })
})
