/** ptp, killed at every call that changes anything, or with a call that fails. */
import { test } from 'vitest'
import { type Patient, patient } from './executed.ts'
import { killEveryCallOfAdd, killEveryCallOfDel, refuseEveryCallOfAdd } from './sweep.ts'

const ptp = (): Promise<Patient> => patient({ conf: { type: 'ptp', macspoofchk: undefined } })

test('an ADD that is killed anywhere leaves nothing that DEL does not remove', {
  timeout: 180_000,
}, async () => {
  const it = await ptp()
  // A pair, addresses and routes of both sides, masquerade, two reservations.
  await killEveryCallOfAdd({ it, least: 20 }, [
    /veth/,
    /networks\/net\/10\./,
    /networks\/net\/fd00/,
    /ip saddr/,
    /10\.22\.0\.0\/16 via 10\.22\.0\.1/,
    /10\.22\.0\.2 dev veth.* scope host/,
  ])
})

test('a DEL that is killed anywhere can be done again', { timeout: 120_000 }, async () => {
  await killEveryCallOfDel({ it: await ptp(), least: 5 })
})

test('an ADD with a call that fails is undone', { timeout: 300_000 }, async () => {
  await refuseEveryCallOfAdd({ it: await ptp(), least: 60 })
})
