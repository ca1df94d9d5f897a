/** ENOMEM from any call of an ADD: it fails with an error and has undone everything by itself, before any DEL. */
import { test } from 'vitest'
import { patient } from './executed.ts'
import { refuseEveryCallOfAdd } from './sweep.ts'

test('an ADD with a call that fails is undone', { timeout: 300_000 }, async () => {
  const it = await patient()
  await refuseEveryCallOfAdd({ it, least: 80, left: () => it.stateBesideBridge() })
})
