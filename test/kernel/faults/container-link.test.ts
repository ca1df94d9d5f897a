/** Plugins of one link in the container, killed and refused at every call: nothing stays that is theirs. */
import { describe, test } from 'vitest'
import { plug } from '../plugins/master.ts'
import { type Patient, patient } from './executed.ts'
import { killEveryCallOfAdd, killEveryCallOfDel, refuseEveryCallOfAdd } from './sweep.ts'

/** Addresses are probed in no time: hundreds of ADDs wait for it. */
const hurry = async (it: Patient): Promise<Patient> => {
  await it.container.must('sh', ['-c', 'echo 0 >/proc/sys/net/ipv6/conf/default/dad_transmits'])
  return it
}

const onMaster = async (): Promise<Patient> => {
  const it = await hurry(
    await patient({ conf: { type: 'macvlan', master: 'eth1', mtu: 1400, bcqueuelen: 77 } }),
  )
  // No addresses that come by themselves, sooner or later.
  await it.host.must('sh', ['-c', 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'])
  await plug(it.host, 'eth1')
  return it
}

const tap = async (): Promise<Patient> => {
  const conf = { type: 'tap', mtu: 1400, owner: 54321, group: 54321, bridge: 'br0' }
  const it = await hurry(await patient({ conf }))
  await it.container.must('sh', ['-c', 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'])
  await it.container.ip('link', 'add', 'br0', 'address', '02:00:00:00:00:01', 'type', 'bridge')
  await it.container.must('sh', ['-c', 'echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6'])
  return it
}

const signs = [/eth0.*mtu 1400.*alias linkwright:net\/cid-1\/eth0/, /networks\/net\/10\./, /default via/]

describe.each([
  ['macvlan', onMaster],
  ['tap', tap],
] as const)('%s', (_type, make) => {
  test('an ADD that is killed anywhere leaves nothing that DEL does not remove', {
    timeout: 180_000,
  }, async () => {
    await killEveryCallOfAdd({ it: await make(), least: 15 }, signs)
  })

  test('a DEL that is killed anywhere can be done again', { timeout: 120_000 }, async () => {
    await killEveryCallOfDel({ it: await make(), least: 2 })
  })

  test('an ADD with a call that fails is undone', { timeout: 240_000 }, async () => {
    await refuseEveryCallOfAdd({ it: await make(), least: 40 })
  })
})
