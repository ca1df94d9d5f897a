/** bandwidth, killed at every call that changes anything, or with a call or an exchange that fails. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { privateHost } from '../../support/space.ts'
import { limits, remains, shown, wired } from '../plugins/bandwidth.ts'
import { Patient } from './executed.ts'
import { killEveryCallOfAdd, killEveryCallOfDel, refuseEveryCallOfAdd, type Sweep } from './sweep.ts'
import { type Fault, FaultyTransport } from './transport.ts'

/** A container on a wire, as some plugin before has made it. */
const patient = async (): Promise<Patient> => {
  const host = await privateHost()
  const container = await host.container()
  // No addresses that come by themselves, sooner or later.
  for (const space of [host, container])
    await space.must('sh', ['-c', 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'])
  const end = `link add veth9 up type veth peer name eth0 netns ${container.pid}`
  await host.must('sh', ['-ec', `ip ${end}`])
  await container.ip('link', 'set', 'eth0', 'up')
  const interfaces = [{ name: 'veth9' }, { name: 'eth0', sandbox: container.sandbox }]
  const prevResult = { cniVersion: '1.0.0', interfaces } as const
  return new Patient(host, container, { conf: { ...limits, ipam: undefined, prevResult } })
}

/** With what `tc` shows, and without what the kernel finds out after a while: carriers. */
const sweep = (it: Patient, least: number): Sweep => ({
  ...{ it, least },
  state: async () => [
    ...(await it.state()).map((line) => line.replace(/NO-CARRIER,| state \w+/g, '')),
    ...(await shown(it.host, 'veth9')).split('\n'),
  ],
  reset: async () => {},
})

test('an ADD that is killed anywhere leaves nothing that DEL does not remove', {
  timeout: 120_000,
}, async () => {
  await killEveryCallOfAdd(sweep(await patient(), 4), [
    /bwp\w+: .*alias linkwright:net\/cid-1\/eth0/,
    /qdisc tbf 1: dev veth9/,
    /Egress Redirect to device bwp/,
  ])
})

test('a DEL that is killed anywhere can be done again', { timeout: 120_000 }, async () => {
  await killEveryCallOfDel(sweep(await patient(), 2))
})

test('an ADD with a call that fails is undone', { timeout: 180_000 }, async () => {
  await refuseEveryCallOfAdd(sweep(await patient(), 10))
})

describe.each<[string, JsonObject]>([
  ['for everything', {}],
  ['by subnets', { shapedSubnets: ['10.0.0.0/8', 'fd00::/8'] }],
])('%s', (_title, more) => {
  test.each<Fault>(['unsent', 'unanswered', 'refused'])('an exchange of ADD that is %s', async (fault) => {
    const { it, container, prevResult } = await wired()
    const conf = { ...limits, ...more }
    let number = 1
    for (; ; number++) {
      const faulty = new FaultyTransport(fault, number)
      faulty.install()
      const error = await it.add(conf, { container, prevResult }).then(
        () => undefined,
        (failure: Error) => failure,
      )
      faulty.uninstall()
      const where = `${fault} ${number}: ${error?.message}`
      if (!faulty.struck) break
      // It can do without telling the kernel that the IFB needs no addresses.
      if (!error) {
        await it.del(conf, { container, prevResult })
        continue
      }
      expect(error.message, where).toContain('ENOMEM')
      expect(error.message, where).not.toContain('could not be undone')
      expect(await remains(it.host), where).toEqual([])
    }
    expect(number).toBeGreaterThan(5)
  })
})
